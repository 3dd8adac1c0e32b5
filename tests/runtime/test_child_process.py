"""Children that run what nobody has checked: how they end, and what they may do."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tlcli.runtime.child_process import ChildProcess, Ending

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux confines processes")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what runs the body of a function ``main(request)`` in a child."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def run(body: str, seconds: float = 60) -> Ending:
        code = f"def main(request):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        (tmp_path / "tried.py").write_text(code)
        with ChildProcess("tried:main", {"number": 3}, seconds) as child:
            ending = child.wait()
        assert list(tmp_path.glob(".tlcli-tmp-*")) == []
        return ending

    return run


def test_a_child_answers(module: Any) -> None:
    assert module("return {'twice': 2 * request['number']}") == Ending({"twice": 6})


def test_what_a_child_prints_is_no_answer(module: Any) -> None:
    body = "import os; os.write(1, b'{}'); print('loud', flush=True); return {'quiet': True}"
    assert module(body).answer == {"quiet": True}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "segmentation fault"),
        ("import os; os.abort()", "aborted"),
        ("import os; os._exit(7)", "exit code 7"),
        ("import sys; sys.exit(4)", "exit code 4"),
        ("raise ValueError('no')", "exit code 1"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed, perhaps"),
    ],
)
def test_a_child_that_dies_has_a_reason(module: Any, body: str, reason: str) -> None:
    ending = module(body)
    assert ending.answer is None
    assert ending.in_time
    assert reason in ending.reason


@pytest.mark.slow
def test_a_child_that_never_ends_is_stopped(module: Any) -> None:
    start = time.monotonic()
    ending = module("while True: pass", seconds=2)
    assert (ending.answer, ending.in_time) == (None, False)
    assert "2 seconds" in ending.reason
    assert time.monotonic() - start < 60


def test_a_flood_is_no_answer(module: Any) -> None:
    ending = module("return {'flood': 'x' * 1_000_000}")
    assert ending.answer is None
    assert "more than" in ending.reason


@LINUX
def test_a_child_reaches_nothing_but_its_folder(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "word")
    (tmp_path / "mine").write_text("mine")
    attempts = {
        "write": f"open({str(tmp_path / 'mine')!r}, 'w')",
        "remove": f"os.remove({str(tmp_path / 'mine')!r})",
        "create": f"open({str(tmp_path / 'new')!r}, 'w')",
        "socket": "socket.socket()",
        "datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "start": "subprocess.run(['true'], check=True)",
        "signal": "os.kill(os.getppid(), 0)",
        "own": "tempfile.TemporaryFile().write(b'x')",
        "null": "open(os.devnull, 'w').write('x')",
        "environment": "os.environ['SECRET']",
    }
    ending = module(f"""
        import os, socket, subprocess, tempfile
        done = []
        for name, attempt in {attempts!r}.items():
            try:
                eval(attempt)
            except (OSError, KeyError, subprocess.SubprocessError):
                continue
            done.append(name)
        return {{"done": done}}
    """)
    assert ending.answer is not None, ending
    done = set(ending.answer["done"])
    assert not done & {"socket", "datagram", "start", "environment"}
    if "write" in done:
        pytest.skip("Landlock is off, or older than Linux 6.12")
    assert done == {"own", "null"}


@LINUX
@pytest.mark.parametrize("number", [9, 15])
def test_a_child_does_not_outlive_its_caller(tmp_path: Path, number: int) -> None:
    (tmp_path / "tried.py").write_text(
        "import os, sys, time\n"
        "def main(request):\n"
        "    print(os.getpid(), file=sys.stderr, flush=True)\n"
        "    time.sleep(600)\n"
    )
    code = (
        "import signal, sys, tempfile\n"
        f"sys.path.insert(0, {str(tmp_path)!r}); tempfile.tempdir = {str(tmp_path)!r}\n"
        "from tlcli.runtime.child_process import ChildProcess\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "with ChildProcess('tried:main', {}, 600) as child: child.wait()\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        started = _wait_for(lambda: [t.read_text() for t in tmp_path.glob(".tlcli-tmp-*/talk")])
        child = int(started)
        caller.send_signal(number)
        caller.wait(300)
        _wait_for(lambda: [] if _is_running(child) else ["gone"])
        assert number == 9 or list(tmp_path.glob(".tlcli-tmp-*")) == []
    finally:
        caller.kill()
        caller.wait()


def _wait_for(look: Any) -> str:
    for _ in range(2400):  # two minutes, on a machine that is busy
        found = [text for text in look() if text.strip()]
        if found:
            return str(found[0])
        time.sleep(0.05)
    raise AssertionError("nothing came")


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2]
    except OSError:  # gone since
        return False
    return state.split()[0] != "Z"
