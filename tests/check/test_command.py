"""The installed command: what a user sees of wrong labels, and the exit codes."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest

from tests.support import Run, Trained, tlcli


@pytest.fixture(scope="module")
def mixed(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of photos with two houses with a pool among those without one."""
    folder = tmp_path_factory.mktemp("mixed")
    shutil.copytree(trained.photos, folder / "photos")
    for photo in sorted((folder / "photos" / "house_with_pool").glob("*.jpg"))[:2]:
        photo.rename(folder / "photos" / "house_without_pool" / f"moved_{photo.name}")
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


def test_images_are_required() -> None:
    run = tlcli("check")
    assert run.code == 2
    assert "--image_dir" in run.err
