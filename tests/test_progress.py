"""Bars on a real terminal, lines elsewhere, and neither where the user said no."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tlcli.progress import Bar, Lines, duration

pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")

# A stage of two seconds by a clock of its own: the log line comes in its middle.
PROGRAM = """
import sys, time
from tlcli.terminal import progress_bars, set_up_logging
import logging
now = [0.0]
time.monotonic = lambda: now[0]
import tlcli.progress
tlcli.progress.Bar.__init__.__defaults__ = (False, False, lambda: now[0])
tlcli.progress.Lines.__init__.__defaults__ = (False, lambda: now[0])
set_up_logging("INFO", "--quiet" in sys.argv)
with progress_bars("--quiet" in sys.argv) as progress:
    for done in range(0, 201):
        now[0] = done / 10
        if progress is not None:
            progress("hashing", done, 200)
        if done == 100:
            logging.getLogger("tlcli").info("a line of the log")
print("result")
"""


class Terminal:
    """A program under a pseudo-terminal, as a person runs it."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        ours, theirs = pty.openpty()
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NO_COLOR", "CLICOLOR", "TERM")
        }
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        settings = {"TERM": "xterm", "COLUMNS": "80", "PYTHONPATH": path, **environment}
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=theirs, stdout=theirs, stderr=theirs, env={**inherited, **settings},
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 1 << 16):
                shown += block
        except OSError:  # Linux says so when the last writer is gone
            pass
        os.close(ours)
        self.code = process.wait(60)
        self.raw = shown.decode()

    @property
    def screen(self) -> list[str]:
        """Return what is left on the screen: of each line what was written after it was erased."""
        lines = self.raw.replace("\r\n", "\n").split("\n")
        return [re.sub(r"\x1b\[\d*m", "", line.split("\x1b[2K")[-1]) for line in lines]


def test_a_bar_with_rate_and_remaining_time_that_leaves_nothing_behind() -> None:
    seen = Terminal("-c", PROGRAM)
    assert seen.code == 0
    assert seen.screen == ["a line of the log", "result", ""]
    bars = [part for part in re.split(r"\r\x1b\[2K", seen.raw) if part.startswith("hashing")]
    assert len(bars) > 10
    (half,) = [bar for bar in bars if "  100/200  50%  10/s  0:10 left" in bar and "\n" not in bar][
        :1
    ]
    assert "\x1b[36m" + "━" * 15 + "\x1b[39m" + "╌" * 15 in half
    assert max(len(re.sub(r"\x1b\[\d*m", "", bar)) for bar in bars if "\n" not in bar) < 80


@pytest.mark.parametrize("no", [{"NO_COLOR": "1"}, {"CLICOLOR": "0"}])
def test_no_colour_where_the_user_says_so(no: dict[str, str]) -> None:
    seen = Terminal("-c", PROGRAM, **no)
    assert "hashing  ━" in seen.raw
    assert not re.search(r"\x1b\[[\d;]*m", seen.raw)


def test_a_dumb_terminal_gets_lines() -> None:
    seen = Terminal("-c", PROGRAM, TERM="dumb")
    assert "\x1b" not in seen.raw
    assert "━" not in seen.raw
    assert seen.screen == [
        "hashing: 100/200, 50%, 10/s, 0:10 left",
        "a line of the log",
        "result",
        "",
    ]


def test_labels_are_coloured_on_a_terminal_only(shared: Path) -> None:
    plates = shared / "legacy" / "plates_128"
    photos = [str(plates / "photos" / f"{name}Test1.jpg") for name in ("newyork", "indiana")]
    arguments = ["-m", "label", "--graph", str(plates / "graph.tflite"), "--top_k", "2", *photos]
    piped = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert piped.stderr == ""
    assert "\x1b" not in piped.stdout
    seen = Terminal(*arguments)
    assert "\x1b[32mnewyork (score=1.00000)\x1b[0m" in seen.raw
    plain = Terminal(*arguments, NO_COLOR="1").raw.replace("\r\n", "\n")
    assert plain == re.sub(r"\x1b\[\d+m", "", seen.raw).replace("\r\n", "\n")
    # What follows the results is talk: how many of each label there were.
    results, talk = plain[: len(piped.stdout)], plain[len(piped.stdout) :]
    assert results == piped.stdout
    assert talk == "\nlabel    images\nnewyork       1\nindiana       1\n"
    assert Terminal(*arguments, "--quiet", TERM="dumb").raw.replace("\r\n", "\n") == piped.stdout


def test_a_page_is_not_written_to_a_terminal(tmp_path: Path) -> None:
    seen = Terminal("-m", "tlcli", "evaluate", "--image_dir", str(tmp_path), "--format", "html")
    assert seen.code == 2
    assert "--output evaluation.html" in seen.raw


def test_quiet_is_quiet() -> None:
    assert Terminal("-c", PROGRAM, "--quiet").raw == "result\r\n"


def test_a_pipe_gets_a_line_each_ten_seconds() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr == "hashing: 100/200, 50%, 10/s, 0:10 left\na line of the log\n"
    assert done.stdout == "result\n"


def test_a_narrow_terminal_gets_no_broken_lines() -> None:
    for columns in ("24", "10"):
        seen = Terminal("-c", PROGRAM, COLUMNS=columns)
        parts = [part for part in seen.raw.split("\r\x1b[2K") if "\n" not in part]
        assert parts
        assert all(len(part) < int(columns) for part in parts)


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_takes_a_moment_shows_nothing() -> None:
    clock, stream = _Clock(), io.StringIO()
    bar = Bar(stream, clock=clock)
    for done in range(4):
        clock.now += 0.1
        bar.show("hashing", done, 3)
    bar.close()
    assert stream.getvalue() == ""


def test_the_rate_forgets_a_slow_start_and_what_the_cache_had() -> None:
    clock, stream = _Clock(), io.StringIO()
    bar = Bar(stream, clock=clock)
    bar.show("bottlenecks", 900, 2000)
    clock.now = 100.0  # the backbone was loaded
    bar.show("bottlenecks", 901, 2000)
    for step in range(400):
        clock.now += 0.1
        bar.show("bottlenecks", 901 + step, 2000)
    last = stream.getvalue().split("\r\x1b[2K")[-1]
    assert "1300/2000  65%  10/s  1:10 left" in last


def test_bytes_are_megabytes_and_an_unknown_total_has_no_end() -> None:
    clock, stream = _Clock(), io.StringIO()
    bar = Bar(stream, in_bytes=True, clock=clock)
    bar.show("weights", 0, 0)
    clock.now = 1.0
    bar.show("weights", 2_500_000, 0)
    assert stream.getvalue() == "weights  2.5 MB  2.5 MB/s"


def test_a_terminal_that_was_closed_ends_nothing() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    clock = _Clock()
    bar = Bar(Closed(), clock=clock)
    for done in range(9):
        clock.now += 1
        bar.show("hashing", done, 10)
    bar.close()


def test_lines_are_rare(caplog: pytest.LogCaptureFixture) -> None:
    clock = _Clock()
    logger = logging.getLogger("tests.progress")
    lines = Lines(logger, clock=clock)
    with caplog.at_level(logging.INFO, logger="tests.progress"):
        for done in range(1001):
            clock.now += 0.0625
            lines.show("labelling", done, 0)
    assert [record.getMessage() for record in caplog.records] == [
        f"labelling: {count}, 16/s" for count in (160, 320, 480, 640, 800, 960)
    ]


@pytest.mark.parametrize(
    ("seconds", "spelled"), [(0, "0:00"), (8.4, "0:08"), (750, "12:30"), (3900, "1:05:00")]
)
def test_times(seconds: float, spelled: str) -> None:
    assert duration(seconds) == spelled
