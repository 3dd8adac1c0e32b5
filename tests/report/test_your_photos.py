"""The page of a check: every kind of finding, and names that mean harm as text."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from tests.report import samples
from tests.report.pages import Page
from tlcli.core.photos.findings import Findings
from tlcli.report.check_page import render
from tlcli.report.your_photos import your_photos


def test_every_kind_is_on_the_page_and_names_are_text() -> None:
    text = render(samples.findings(), samples.QUOTED, "tlcli check", Path("check.html"))
    page = Page(text)
    for kind in ("Probably wrong labels", "Near copies", "Odd photos", "Labels", "film"):
        assert kind in page.text
    assert "is in two splits" in page.text
    assert samples.QUOTED in page.text
    scripts = [dict(found) for name, found in page.elements if name == "script"]
    assert [each["type"] for each in scripts] == ["application/json"]
    assert json.loads(page.json) == samples.findings().to_dict()


def test_a_folder_without_findings_says_so() -> None:
    page = Page(render(Findings(10, 2), "photos", "tlcli check", None))
    assert "Nothing found" in page.text


def test_pictures_and_links_are_those_of_the_files(tmp_path: Path) -> None:
    photo = tmp_path / "roses" / "black.jpg"
    photo.parent.mkdir()
    Image.new("RGB", (80, 60)).save(photo)
    found = samples.findings()
    (odd,) = found.odd
    changed = Findings(1, 1, odd=(type(odd)(str(photo), "roses", "almost black"),))
    (shown,) = your_photos(changed, tmp_path / "check.html", 5, 2).odd
    assert shown.photos[0].link == "roses/black.jpg"
    assert str(shown.photos[0].thumbnail).startswith("data:image/jpeg")
    assert your_photos(found, None, 1, 1).wrong_labels[0].photos[0].link is None
    assert len(your_photos(found, None, 1, 1).wrong_labels[0].photos) == 2
