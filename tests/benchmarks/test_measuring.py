"""The benchmark's own arithmetic; nothing here depends on how fast the machine is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.measuring import Contender, ContenderError, alternate, run
from benchmarks.peers.extraction import photos, steady_rate

ROOT = Path(__file__).resolve().parents[2]


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_run_gives_its_last_line_and_its_own_memory() -> None:
    done = run(python("b = b'x' * 60_000_000; print('talk'); print('{\"rate\": 2}')"))
    assert done.answer == {"rate": 2}
    assert done.memory > 60_000_000
    assert done.wall > 0


def test_memory_is_of_one_process() -> None:
    # From a small parent: a child's peak starts at what its parent held.
    program = (
        "import json, sys; from benchmarks.measuring import run\n"
        "run([sys.executable, '-c', 'b = bytes(200_000_000).upper()'])\n"
        "print(json.dumps({'memory': run([sys.executable, '-c', 'pass']).memory}))"
    )
    assert run(python(program), cwd=ROOT).answer["memory"] < 150_000_000


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit('what went wrong')", "exit code 1: what went wrong"),
        ("import sys; print('not here', file=sys.stderr); sys.exit(3)", "not here"),
        ("import os; os.abort()", "exit code -6: no message"),
    ],
)
def test_a_failure_says_why(program: str, reason: str) -> None:
    with pytest.raises(ContenderError, match=f"^{reason}$"):
        run(python(program))


def test_a_program_that_is_absent() -> None:
    with pytest.raises(ContenderError, match="cannot be started"):
        run(["/no/such/program"])


def test_a_process_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ContenderError, match="took longer than 0 s"):
        run(python("import time; time.sleep(60)"), timeout=0.2)


def test_a_failed_contender_is_named_and_the_others_go_on() -> None:
    good = Contender("good", python('print(\'{"rate": 5, "batch": 8}\')'), "rate", keep=("batch",))
    bad = Contender("bad", python("raise SystemExit('broken')"))
    silent = Contender("silent", python("pass"), "rate")
    assert alternate([bad, good, silent], repeats=3, seconds=60) == 3
    assert bad.entry() == {"name": "bad", "own": False, "failed": "exit code 1: broken"}
    assert silent.entry()["failed"] == "gave no rate"
    entry = good.entry()
    assert entry["values"] == [5, 5, 5]
    assert entry["batch"] == 8


def test_no_round_starts_beyond_the_time_that_is_left() -> None:
    slow = Contender("slow", python("import time; time.sleep(0.2)"))
    once = Contender("once", python("pass"), once=True)
    assert alternate([slow, once], repeats=50, seconds=0.01) == 1
    assert len(slow.runs) == 1
    assert alternate([once], repeats=2, seconds=60) == 2
    assert len(once.runs) == 1


def test_the_rate_leaves_the_start_out() -> None:
    # 8 images at 9 s (imports), then 10 images a second.
    marks = [(8, 9.0, 5.0), (16, 9.8, 6.6), (48, 13.0, 13.0), (80, 16.2, 19.4)]
    assert steady_rate(marks) == pytest.approx({"rate": 10, "busy_rate": 5})


def test_photos_come_from_all_labels_in_turn(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in photos(str(tmp_path), 3)]
    assert found == ["a/1.jpg", "b/1.jpg", "a/2.jpg"]
