"""Files are moved with a journal, and never over another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tlcli.check.moving import JOURNAL, move, plan
from tlcli.errors import OutputError


def photos(folder: Path) -> list[str]:
    files = [folder / "photos" / label / "1.jpg" for label in ("a", "b")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text(file.parent.name)
    return list(map(str, files))


def test_files_keep_their_folder_and_the_journal_says_where_they_were(tmp_path: Path) -> None:
    files, target = photos(tmp_path), tmp_path / "found"
    journal = move(plan(files, tmp_path / "photos", target), target)
    assert (target / "a" / "1.jpg").read_text() == "a"
    assert not any(Path(file).exists() for file in files)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert journal == target / JOURNAL
    assert [line["from"] for line in lines] == files
    assert [Path(line["to"]).read_text() for line in lines] == ["a", "b"]


def test_nothing_is_moved_where_one_file_would_be_overwritten(tmp_path: Path) -> None:
    files, target = photos(tmp_path), tmp_path / "found"
    (target / "b").mkdir(parents=True)
    (target / "b" / "1.jpg").write_text("mine")
    with pytest.raises(OutputError, match="would overwrite"):
        plan(files, tmp_path / "photos", target)
    assert all(Path(file).exists() for file in files)


def test_a_file_of_another_folder_is_moved_by_its_whole_path(tmp_path: Path) -> None:
    files = photos(tmp_path)
    ((_, target),) = plan(files[:1], tmp_path / "elsewhere", Path("found"))
    assert target == Path("found", *tmp_path.parts[1:], "photos", "a", "1.jpg")


def test_a_file_in_a_bucket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not on this machine"):
        plan(["s3://bucket/a/1.jpg"], tmp_path, tmp_path / "found")


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    files, target = photos(tmp_path), tmp_path / "found"
    moves = plan(files, tmp_path / "photos", target)
    (target / "a").mkdir(parents=True)
    (target / "a" / "1.jpg").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        move(moves, target)
    assert (target / "a" / "1.jpg").read_text() == "mine"
    assert Path(files[0]).exists()
