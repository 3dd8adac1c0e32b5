"""The installed command: what a user sees, the files it writes and moves, and the exit codes."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.report.pages import Page
from tests.support import Run, Trained, tlcli


@pytest.fixture(scope="module")
def mixed(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of photos with two houses with a pool among those without one."""
    folder = tmp_path_factory.mktemp("mixed")
    shutil.copytree(trained.photos, folder / "photos")
    for photo in sorted((folder / "photos" / "house_with_pool").glob("*.jpg"))[:2]:
        photo.rename(folder / "photos" / "house_without_pool" / f"moved_{photo.name}")
    last = sorted((folder / "photos" / "house_with_pool").glob("aerial*.jpg"))[-1]
    shutil.copy(last, last.with_name(f"same_{last.name}"))
    return folder


def check(folder: Path, trained: Trained, *options: object) -> Run:
    # The vectors of the retraining are in its cache.
    preset = ("--preset", "original")
    return tlcli(
        "check", "--image_dir", "photos", *preset, *options, cwd=folder, cache=trained.cache
    )


def test_wrong_labels_are_reported_with_the_label_they_look_like(
    mixed: Path, trained: Trained
) -> None:
    run = check(mixed, trained, "--format", "json", "--max_issues", 1)
    assert run.code == 3
    assert "--max_issues 1" in run.err
    found = run.json
    moved = [each for each in found["wrong_labels"] if "moved_" in each["path"]]
    assert {each["proposed"] for each in moved} == {"house with pool"}
    assert all(len(each["nearest"]) == 3 for each in moved)
    assert found["unreadable"] == [
        {"path": "photos/house_with_pool/broken.jpg", "reason": "empty file"}
    ]


@pytest.mark.slow
def test_text_and_csv_have_the_same_findings(mixed: Path, trained: Trained) -> None:
    text = check(mixed, trained)
    assert text.code == 0
    assert "Probably wrong labels" in text.out
    assert "Unreadable files: 1" in text.out
    run = check(mixed, trained, "--output", "findings.csv")
    assert "Written: findings.csv" in run.out
    rows = list(csv.DictReader(io.StringIO((mixed / "findings.csv").read_text())))
    wrong = [row for row in rows if row["kind"] == "wrong label"]
    assert all(row["path"] in text.out and row["reason"] in text.out for row in wrong)
    assert rows[-1]["kind"] == "unreadable"
    (copy,) = (row for row in rows if row["kind"] == "copy")
    assert "same_" in copy["path"]
    assert "same file" in copy["reason"]


@pytest.mark.slow
def test_a_page_has_the_pictures_and_nothing_from_a_network(mixed: Path, trained: Trained) -> None:
    run = check(mixed, trained, "--output", "check.html")
    assert run.code == 0
    text = (mixed / "check.html").read_text("utf-8")
    page = Page(text)
    assert "Probably wrong labels" in page.text
    assert "Near copies" in page.text
    assert "tlcli check --image_dir photos" in page.text
    images = [dict(found) for name, found in page.elements if name == "img"]
    assert images
    assert all(str(image["src"]).startswith("data:") for image in images)
    assert all(image["alt"] for image in images)
    found = re.search(r'id="check-data">(.*?)</script>', text)
    assert found is not None
    assert json.loads(found[1])["copies"][0][2] == "same file"


@pytest.mark.slow
def test_what_was_found_is_listed_and_moved(mixed: Path, trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(mixed / "photos", tmp_path / "photos")
    options = ("--output_list", "list.txt", "--move_to", "found")
    run = check(tmp_path, trained, *options)
    assert run.code == 0
    listed = (tmp_path / "list.txt").read_text().splitlines()
    assert "photos/house_with_pool/broken.jpg" in listed
    assert (tmp_path / "found" / "house_with_pool" / "broken.jpg").exists()
    assert not any((tmp_path / file).exists() for file in listed)
    journal = (tmp_path / "found" / "moved.jsonl").read_text().splitlines()
    assert sum("from" in json.loads(line) for line in journal) == len(listed)


@pytest.mark.slow
def test_files_are_moved_neither_into_the_photos_nor_out_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos.zip").write_bytes(b"")
    for source, target, message in (
        ("photos", "photos/doubtful", "would become a label"),
        ("photos.zip", "doubtful", "is an archive"),
    ):
        run = tlcli("check", "--image_dir", source, "--move_to", target, cwd=tmp_path)
        assert run.code == 2
        assert message in run.err


def test_images_are_required() -> None:
    run = tlcli("check")
    assert run.code == 2
    assert "--image_dir" in run.err
