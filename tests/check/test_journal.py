"""The journal of moves: undo, kills at every point, several processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tlcli.check.journal import Journal
from tlcli.errors import OutputError

# Ends the process the hardest way just before or just after a move, or in the middle of it.
KILLED = """
import os, signal, sys
from pathlib import Path
from tlcli.check.journal import Journal
from tlcli.check.moving import move_file

def die(source, target):
    if {when} == "after":
        move_file(source, target)
    if {when} == "placed":
        target.parent.mkdir(parents=True)
        target.touch()
    os.kill(os.getpid(), signal.SIGKILL)

Journal(Path("found"), die).move(Path("photo.jpg").absolute(), lambda: Path("new/1.jpg").absolute())
"""


def photo(folder: Path) -> Path:
    found = folder / "photo.jpg"
    found.write_text("photo")
    return found


def to(path: Path) -> Callable[[], Path]:
    return lambda: path


def test_moves_are_undone_in_any_session_the_last_of_a_file_first(tmp_path: Path) -> None:
    source, first, second = photo(tmp_path), tmp_path / "a" / "1.jpg", tmp_path / "b" / "1.jpg"
    journal = Journal(tmp_path / "found")
    assert journal.changes() == []
    assert not (tmp_path / "found").exists()
    journal.move(source, to(first))
    journal.move(first, to(second))
    again = Journal(tmp_path / "found")
    one, two = again.changes()
    assert (one.source, one.target, two.target) == (source, first, second)
    with pytest.raises(OutputError, match="undo that first"):
        again.undo(one.number)
    again.undo(two.number)
    again.undo(one.number)
    assert source.read_text() == "photo"
    assert Journal(tmp_path / "found").changes() == []
    with pytest.raises(OutputError, match="undone already"):
        again.undo(one.number)
    # The other one has not looked meanwhile.
    with pytest.raises(OutputError, match="undone already"):
        journal.undo(one.number)


def test_what_is_kept_is_remembered_until_it_is_undone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.keep(("odd", "é\udc80.jpg"))
    (change,) = Journal(tmp_path).changes()
    assert change.kept == ("odd", "é\udc80.jpg")
    journal.undo(change.number)
    assert Journal(tmp_path).changes() == []


@pytest.mark.parametrize("when", ["before", "placed", "after"])
def test_a_killed_move_is_finished_at_the_next_start(tmp_path: Path, when: str) -> None:
    source = photo(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(when=repr(when))], cwd=tmp_path, check=False
    )
    assert done.returncode == -9
    journal = Journal(tmp_path / "found")
    (change,) = journal.changes()
    assert (tmp_path / "new" / "1.jpg").read_text() == "photo"
    assert not source.exists()
    journal.undo(change.number)
    assert source.read_text() == "photo"
    assert not (tmp_path / "new" / "1.jpg").exists()


def test_a_killed_move_whose_place_was_taken_is_given_up(tmp_path: Path) -> None:
    source = photo(tmp_path)
    subprocess.run([sys.executable, "-c", KILLED.format(when="''")], cwd=tmp_path, check=False)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "1.jpg").write_text("another")
    assert Journal(tmp_path / "found").changes() == []
    assert source.read_text() == "photo"
    assert (tmp_path / "new" / "1.jpg").read_text() == "another"
    # Only once: what a person does later is not touched.
    (tmp_path / "new" / "1.jpg").unlink()
    assert Journal(tmp_path / "found").changes() == []
    assert source.exists()


def test_a_line_that_was_cut_short_moved_nothing(tmp_path: Path) -> None:
    source, target = photo(tmp_path), tmp_path / "a" / "1.jpg"
    journal = Journal(tmp_path / "found")
    journal.move(source, to(target))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + b'{"id": 2, "from": "/x')
    again = Journal(tmp_path / "found")
    assert journal.path.read_bytes() == whole
    again.undo(again.changes()[0].number)
    assert source.exists()


def test_a_move_back_that_fails_leaves_the_move(tmp_path: Path) -> None:
    source, target = photo(tmp_path), tmp_path / "a" / "1.jpg"
    journal = Journal(tmp_path / "found")
    journal.move(source, to(target))
    source.write_text("a new one")
    for each in (journal, Journal(tmp_path / "found")):
        (change,) = each.changes()
        with pytest.raises(OutputError, match="exists"):
            each.undo(change.number)
    assert source.read_text() == "a new one"
    assert target.read_text() == "photo"


def test_lines_without_a_number_are_history(tmp_path: Path) -> None:
    source = photo(tmp_path)
    line = {"from": str(source), "to": str(tmp_path / "a.jpg")}
    (tmp_path / "moved.jsonl").write_text(f"{json.dumps(line)}\nnonsense\n[1]\n")
    assert Journal(tmp_path).changes() == []
    assert source.exists()


def test_processes_wait_for_one_another(tmp_path: Path) -> None:
    """Four processes move the same twenty files to one name each that they all want."""
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_text(str(number))
    script = """
from pathlib import Path
from tlcli.check.journal import Journal
from tlcli.check.moving import free_path
from tlcli.errors import OutputError
journal = Journal(Path("found"))
for number in range(20):
    try:
        source, wanted = Path(f"{number}.jpg").absolute(), Path("new/a.jpg").absolute()
        journal.move(source, lambda: free_path(wanted))
    except OutputError:
        pass
"""
    running = [subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path) for _ in range(4)]
    assert [each.wait() for each in running] == [0] * 4
    texts = sorted(int(path.read_text()) for path in (tmp_path / "new").iterdir())
    assert texts == list(range(20))
    changes = Journal(tmp_path / "found").changes()
    assert len(changes) == 20
    assert len({change.number for change in changes}) == 20
