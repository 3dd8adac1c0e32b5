"""`tlcli check --multi_label`: labels that photos have wrongly, or lack, in every format."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.report.pages import Page
from tests.support import Run, tlcli

COLOURS = {"red": "#c01010", "green": "#10a010", "blue": "#1010d0"}


def draw_fields(folder: Path, count: int = 48) -> list[dict[str, str]]:
    """Draw photos with a field of each of their colours, and return path and labels of each."""
    rows = []
    for number in range(count):
        labels = [name for place, name in enumerate(COLOURS) if number >> place & 1]
        image = Image.new("RGB", (96, 96), (200 + number % 7 * 5, 200, 190 + number % 5 * 9))
        for place, name in enumerate(labels):
            left, top = 4 + number % 6 * 4 + 30 * place, 10 + number % 5 * 8
            ImageDraw.Draw(image).rectangle((left, top, left + 26, top + 40), fill=COLOURS[name])
        image.save(folder / f"{number:03}.png")
        rows.append({"path": f"{number:03}.png", "label": "|".join(labels)})
    return rows


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a list in which photo 17 has green wrongly and photo 30 lacks it."""
    folder = tmp_path_factory.mktemp("fields")
    rows = draw_fields(folder)
    assert (rows[17]["label"], rows[30]["label"]) == ("red", "green|blue")
    rows[17]["label"], rows[30]["label"] = "red|green", "blue"
    shutil.copy(folder / "012.png", folder / "same.png")
    rows.append({"path": "same.png", "label": ""})
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "label"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def check(folder: Path, *options: object) -> Run:
    return tlcli(
        "check", "--manifest", "labels.csv", "--multi_label", *options,
        cwd=folder, cache=folder / "cache",
    )  # fmt: skip


@pytest.mark.slow
def test_each_doubted_label_has_what_the_photo_should_have(fields: Path) -> None:
    run = check(fields, "--format", "json")
    assert run.code == 0, run.err
    found = run.json
    wrong = {Path(each["path"]).name: each for each in found["wrong_labels"]}
    # The three ways to a finding: a label too many, one that is missed, none at all.
    assert wrong["017.png"]["doubted"] == "green"
    assert wrong["017.png"]["has"]
    assert wrong["017.png"]["proposed"] == "red"
    assert (wrong["030.png"]["doubted"], wrong["030.png"]["has"]) == ("green", False)
    assert wrong["030.png"]["proposed"] == "blue|green"
    assert found["doubted"]["green"]["lacks"] >= 1
    assert (found["photos"], found["labels"]) == (49, 3)
    (copy,) = (each for each in found["copies"] if each[2] == "same file")
    assert [Path(path).name for path in copy[:2]] == ["012.png", "same.png"]


@pytest.mark.slow
def test_text_csv_and_page_have_the_same_findings(fields: Path) -> None:
    text = check(fields)
    assert "green is doubted: " in text.out
    assert "probably without it" in text.out
    assert check(fields, "--output", "check.html", "--output_list", "list.txt").code == 0
    assert "030.png" in (fields / "list.txt").read_text()
    content = (fields / "check.html").read_text("utf-8")
    page = Page(content)
    assert "green is missed: " in page.text
    found = re.search(r'id="check-data">(.*?)</script>', content)
    assert found is not None
    wrong = json.loads(found[1])["wrong_labels"]
    rows = csv.DictReader(io.StringIO(check(fields, "--format", "csv").out))
    listed = [row for row in rows if row["kind"] == "wrong label"]
    assert [(row["path"], row["proposed"]) for row in listed] == [
        (each["path"], each["proposed"]) for each in wrong
    ]


@pytest.mark.slow
def test_images_in_several_folders_have_all_their_labels(fields: Path, tmp_path: Path) -> None:
    for row in csv.DictReader((fields / "labels.csv").read_text("utf-8").splitlines()):
        for label in filter(None, row["label"].split("|")):
            (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(fields / row["path"], tmp_path / "photos" / label)
    options = ("--image_dir", "photos", "--multi_label", "--format", "json")
    run = tlcli("check", *options, cwd=tmp_path, cache=fields / "cache")
    assert run.code == 0, run.err
    wrong = {Path(each["path"]).name: each for each in run.json["wrong_labels"]}
    assert wrong["017.png"]["label"] == "green|red"
    # The copies in other folders are the image itself.
    assert not any(each[2] == "same file" for each in run.json["copies"])
    refused = tlcli("check", *options[:3], "--move_to", "found", cwd=tmp_path)
    assert refused.code == 2
    assert "--output_list" in refused.err
    several = tlcli("check", "--manifest", fields / "labels.csv", cwd=tmp_path)
    assert several.code == 1
    assert "--multi_label" in several.err
