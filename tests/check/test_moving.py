"""Files are moved in one step, never over another one; links stay links."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tlcli.check.journal import Journal
from tlcli.check.moving import free_path, move_file, plan
from tlcli.errors import OutputError


def photos(folder: Path) -> list[str]:
    files = [folder / "photos" / label / "1.jpg" for label in ("a", "b")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text(file.parent.name)
    return list(map(str, files))


def test_files_keep_their_folder_and_the_journal_says_where_they_were(tmp_path: Path) -> None:
    files, target = photos(tmp_path), tmp_path / "found"
    journal = Journal(target)
    journal.move_all(plan(files, tmp_path / "photos", target))
    assert (target / "a" / "1.jpg").read_text() == "a"
    assert not any(Path(file).exists() for file in files)
    lines = [json.loads(line) for line in (target / "moved.jsonl").read_text().splitlines()]
    moves = [line for line in lines if "from" in line]
    assert [line["from"] for line in moves] == files
    assert [Path(line["to"]).read_text() for line in moves] == ["a", "b"]


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
    assert target == Path("found", *tmp_path.parts[1:], "photos", "a", "1.jpg").absolute()


def test_a_file_in_a_bucket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not on this machine"):
        plan(["s3://bucket/a/1.jpg"], tmp_path, tmp_path / "found")


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    files, target = photos(tmp_path), tmp_path / "found"
    moves = plan(files, tmp_path / "photos", target)
    (target / "a").mkdir(parents=True)
    (target / "a" / "1.jpg").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        Journal(target).move_all(moves)
    assert (target / "a" / "1.jpg").read_text() == "mine"
    assert Path(files[0]).exists()


def test_a_relative_link_still_leads_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "real.jpg").write_text("real")
    link, target = tmp_path / "photos" / "a" / "1.jpg", tmp_path / "found" / "deep" / "a" / "1.jpg"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../real.jpg")
    move_file(link, target)
    assert target.is_symlink()
    assert target.read_text() == "real"
    move_file(target, link)
    assert str(link.readlink()) == "../../real.jpg"
    assert (tmp_path / "real.jpg").read_text() == "real"


def test_what_cannot_be_moved_stays_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for source in ("folder", "absent"):
        with pytest.raises(OSError, match="file"):
            move_file(tmp_path / source, tmp_path / "found" / "1.jpg")
    assert not list((tmp_path / "found").glob("*"))


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    for name in ("1.jpg", "1-2.jpg"):
        (tmp_path / name).touch()
    assert free_path(tmp_path / "1.jpg").name == "1-3.jpg"
    assert free_path(tmp_path / "2.jpg").name == "2.jpg"
