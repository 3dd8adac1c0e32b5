"""Children that answer many requests: one at a time, replaced after a death, and never left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.runtime.test_child_process import LINUX, _is_running, _wait_for
from tests.support import ROOT
from tlcli.runtime.lasting_children import ChildPool, Limits

Start = Callable[..., ChildPool]

BODY = """
    import os, signal, sys, time
    kind = request["kind"]
    if kind == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "raise":
        raise ValueError("no")
    if kind == "wait":
        time.sleep(600)
    if kind == "flood":
        return {"flood": "x" * 1_000_000}
    if kind == "write":
        try:
            open(request["path"], "w")
        except OSError:
            return {"refused": True}
    print("loud", flush=True)
    os.write(1, b"louder")
    return {"child": os.getpid()}
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return what makes a pool; its folders are in the test's own."""
    code = f"def main(request):\n{textwrap.indent(textwrap.dedent(BODY), '    ')}\n"
    (tmp_path / "tried.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pools: list[ChildPool] = []

    def make(**limits: float) -> ChildPool:
        pools.append(ChildPool("tried:main", Limits(**limits)))  # type: ignore[arg-type]
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()
    assert list(tmp_path.glob(".tlcli-tmp-*")) == []


def child_of(pool: ChildPool, *, fresh: bool = False) -> int:
    with pool.lent(fresh) as child:
        answer = child.ask({"kind": "answer"}, 60).answer
    assert answer is not None
    return int(answer["child"])


def test_one_child_answers_until_it_is_replaced(start: Start) -> None:
    pool = start(requests=3)
    children = [child_of(pool) for _ in range(4)]
    assert children[0] == children[1] == children[2] != children[3]
    assert not _is_running(children[0])
    assert child_of(pool, fresh=True) not in children


def test_a_death_is_an_answer_and_the_next_request_gets_another_child(start: Start) -> None:
    pool = start()
    first = child_of(pool)
    reasons = {
        "die": "segmentation fault",
        "raise": "exit code 1",
        "flood": "no answer that can be read",
    }
    for kind, reason in reasons.items():
        with pool.lent() as child:
            ending = child.ask({"kind": kind}, 60)
        assert (ending.answer, ending.in_time) == (None, True)
        assert reason in ending.reason
        second = child_of(pool)
        assert second != first
        first = second


def test_one_that_does_not_answer_is_ended_with_the_block(start: Start) -> None:
    pool = start()
    with pool.lent() as child:
        ending = child.ask({"kind": "wait"}, 0.5)
    assert (ending.answer, ending.in_time) == (None, False)
    assert "within 0 seconds" in ending.reason
    assert not child.folder.exists()


def test_threads_get_children_of_their_own(start: Start) -> None:
    pool = start()
    found: list[int] = []
    both = threading.Barrier(2)

    def ask() -> None:
        with pool.lent() as child:
            both.wait(300)
            answer = child.ask({"kind": "answer"}, 60).answer
        assert answer is not None
        found.append(answer["child"])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 2
    # Linux ends a child with the thread that started it: these threads started none.
    assert child_of(pool) in found


def test_a_child_that_nobody_asks_is_ended(start: Start) -> None:
    pool = start(idle_seconds=0.2)
    child = child_of(pool)
    _wait_for(lambda: [] if _is_running(child) else ["gone"])
    assert child_of(pool) != child


@LINUX
def test_it_is_confined(start: Start, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with start().lent() as child:
        answer = child.ask({"kind": "write", "path": str(tmp_path / "mine")}, 60).answer
    if answer != {"refused": True}:
        pytest.skip("Landlock is off")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_children_of_its_own(start: Start) -> None:
    pool = start()
    child = child_of(pool)
    process = os.fork()
    if not process:
        code = 1
        try:
            code = 0 if child_of(pool) != child else 2
            pool.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert child_of(pool) == child


@LINUX
@pytest.mark.parametrize("number", [0, 2, 9, 15])
def test_a_child_does_not_outlive_its_caller(start: Start, tmp_path: Path, number: int) -> None:
    code = (
        "import signal, sys, tempfile, time\n"
        f"sys.path.insert(0, {str(tmp_path)!r}); tempfile.tempdir = {str(tmp_path)!r}\n"
        "from tlcli.runtime.lasting_children import ChildPool\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "pool = ChildPool('tried:main')\n"
        "with pool.lent() as child: print(child.ask({'kind': 'answer'}, 60).answer['child'])\n"
        "sys.stdout.flush()\n"
        "with pool.lent() as child:\n"
        f"    child.ask({{'kind': {'wait' if number else 'answer'!r}}}, 600)\n"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert caller.stdout is not None
        child = int(caller.stdout.readline())
        if number:
            time.sleep(0.2)
            caller.send_signal(number)
        caller.wait(300)
        _wait_for(lambda: [] if _is_running(child) else ["gone"])
        left = list(tmp_path.glob(".tlcli-tmp-*"))
        assert number == 9 or left == []
    finally:
        caller.kill()
        caller.wait()
        caller.stdout.close()
        for folder in tmp_path.glob(".tlcli-tmp-*"):
            shutil.rmtree(folder)
