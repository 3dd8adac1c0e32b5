"""Bars on a real terminal, lines elsewhere, and neither where the user said no."""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tlcli.progress import Bar, Lines

pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")

# A stage of 25 seconds by a clock of its own: the log line comes in its middle.
PROGRAM = """
import sys, time
from tlcli.terminal import progress_bars, set_up_logging
import logging
now = [0.0]
import tlcli.progress, tqdm.std
tqdm.std.time = lambda: now[0]
tlcli.progress.Bar.__init__.__defaults__ = (False, False, lambda: now[0])
tlcli.progress.Lines.__init__.__defaults__ = (False, lambda: now[0])
set_up_logging("INFO", "--quiet" in sys.argv)
with progress_bars("--quiet" in sys.argv) as progress:
    for done in range(0, 201):
        now[0] = done / 8
        if progress is not None:
            progress("hashing", done, 200)
        if done == 100:
            logging.getLogger("tlcli").info("a line of the log")
print("result")
"""
LOG = [
    "hashing: 80/200, 40%, 8.00/s, 00:15 left",
    "a line of the log",
    "hashing: 160/200, 80%, 8.00/s, 00:05 left",
]
COLOUR = re.compile(r"\x1b\[\d*m")


class Terminal:
    """A program under a pseudo-terminal, as a person runs it."""

    def __init__(
        self, *arguments: str, size: tuple[int, int] | None = None, **environment: str
    ) -> None:
        ours, theirs = pty.openpty()
        if size is not None:
            fcntl = pytest.importorskip("fcntl")
            termios = pytest.importorskip("termios")
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
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
        self.code = process.wait(300)
        self.raw = shown.decode()

    @property
    def screen(self) -> list[str]:
        """Return what is left on the screen, which writes over what stands there."""
        lines = []
        for line in COLOUR.sub("", self.raw).replace("\r\n", "\n").split("\n"):
            shown = ""
            for part in line.split("\r"):
                shown = part + shown[len(part) :]
            lines.append(shown.rstrip())
        return lines

    @property
    def bars(self) -> list[str]:
        """Return every bar that was drawn."""
        return [part.rstrip() for part in re.split(r"[\r\n]+", self.raw) if "hashing" in part]


def test_a_bar_with_rate_and_remaining_time_that_leaves_nothing_behind() -> None:
    seen = Terminal("-c", PROGRAM)
    assert seen.code == 0
    assert seen.screen == ["a line of the log", "result", ""]
    assert len(seen.bars) > 150
    assert max(len(COLOUR.sub("", bar)) for bar in seen.bars) < 80
    half = next(bar for bar in seen.bars if "100/200" in bar)
    assert re.fullmatch(
        "hashing:  50%\\|\x1b\\[36m(█{10,}).* +\x1b\\[0m\\| 100/200   8.00/s  00:12 left\x1b\\[0m",
        half,
    )


def test_nothing_of_tqdm_is_imported_for_what_takes_a_moment() -> None:
    program = PROGRAM.replace("import tlcli.progress, tqdm.std", "import tlcli.progress")
    program = program.replace("tqdm.std.time", "ours").replace("done / 8", "done / 600")
    for options in ({}, {"TERM": "dumb"}):
        seen = Terminal("-c", program + "print('tqdm' in sys.modules)", **options)
        assert seen.raw == "a line of the log\r\nresult\r\nFalse\r\n"


@pytest.mark.parametrize("no", [{"NO_COLOR": "1"}, {"CLICOLOR": "0"}])
def test_no_colour_where_the_user_says_so(no: dict[str, str]) -> None:
    seen = Terminal("-c", PROGRAM, **no)
    assert "|██" in seen.raw
    assert not COLOUR.search(seen.raw)


def test_ascii_where_the_encoding_knows_no_blocks() -> None:
    seen = Terminal("-c", PROGRAM, PYTHONIOENCODING="ascii", NO_COLOR="1")
    assert seen.raw.isascii()
    assert "50%|###" in seen.raw


def test_a_dumb_terminal_gets_lines() -> None:
    seen = Terminal("-c", PROGRAM, TERM="dumb")
    assert "\x1b" not in seen.raw
    assert seen.screen == [*LOG, "result", ""]


@pytest.mark.slow
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
    assert done.stderr.splitlines() == LOG
    assert done.stdout == "result\n"


def test_a_narrow_terminal_gets_no_broken_lines() -> None:
    for columns in ("24", "10"):
        bars = Terminal("-c", PROGRAM, COLUMNS=columns).bars
        assert bars
        assert max(len(COLOUR.sub("", bar)) for bar in bars) < int(columns)


def test_the_terminals_own_size_counts() -> None:
    seen = Terminal("-c", PROGRAM, size=(24, 100))
    assert max(len(COLOUR.sub("", bar)) for bar in seen.bars) == 99


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """Return the clock of bars, which is tqdm's as well."""
    found = _Clock()
    monkeypatch.setattr("tqdm.std.time", found)
    return found


def test_what_takes_a_moment_shows_nothing(clock: _Clock) -> None:
    stream = io.StringIO()
    bar = Bar(stream, clock=clock)
    for done in range(4):
        clock.now += 0.1
        bar.show("hashing", done, 3)
    bar.close()
    assert stream.getvalue() == ""


def test_the_rate_forgets_a_slow_start_and_what_the_cache_had(clock: _Clock) -> None:
    stream = io.StringIO()
    bar = Bar(stream, clock=clock)
    bar.show("bottlenecks", 900, 2000)
    clock.now = 100.0  # the backbone was loaded
    bar.show("bottlenecks", 901, 2000)
    assert "0.01/s" in stream.getvalue()
    for step in range(400):
        clock.now += 0.125
        bar.show("bottlenecks", 901 + step, 2000)
    last = stream.getvalue().split("\r")[-1]
    assert re.search(r"65%\|.*\| 1300/2000 +8\.00/s  01:27 left$", last)
    bar.close()


def test_a_stage_that_comes_again_begins_anew(clock: _Clock) -> None:
    stream = io.StringIO()
    bar = Bar(stream, clock=clock)
    for _ in range(2):
        for done in range(11):
            clock.now += 0.25
            bar.show("images", done, 10)
        assert stream.getvalue().split("\r")[-1] == ""
    assert stream.getvalue().count(" 3/10 ") == 2
    assert "4.00/s" in stream.getvalue().split(" 3/10 ")[2]


def test_a_thousand_log_lines_spell_the_bar_once(
    clock: _Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tqdm import tqdm

    spelled = []
    meter = tqdm.format_meter

    def counted(**options: Any) -> str:
        spelled.append(options["n"])
        return meter(**options)

    monkeypatch.setattr(tqdm, "format_meter", staticmethod(counted))
    stream = io.StringIO()
    bar = Bar(stream, clock=clock)
    bar.show("fit", 0, 4000)
    clock.now += 1
    for step in range(1200):
        bar.show("fit", step + 1, 4000)
        bar.write_line(f"Step {step}")
    bar.close()
    assert spelled == [1, 1]  # drawn, and kept
    lines = [line.rpartition("\r")[2] for line in stream.getvalue().split("\n")]
    assert lines == [*(f"Step {step}" for step in range(1200)), ""]
    assert all("| 1/4000" in line for line in stream.getvalue().split("\n")[1:])


def test_bytes_have_units_and_an_unknown_total_has_no_end(clock: _Clock) -> None:
    stream = io.StringIO()
    bar = Bar(stream, in_bytes=True, clock=clock)
    bar.show("weights", 0, 0)
    clock.now = 1.0
    bar.show("weights", 2_500_000, 0)
    assert stream.getvalue().strip() == "weights: 2.50M, 2.50MB/s"
    clock.now = 2.0
    bar.show("weights", 5_000_000, 10_000_000)
    assert stream.getvalue().endswith("| 5.00M/10.0M  2.50MB/s  00:01 left")
    bar.close()


def test_a_terminal_that_was_closed_ends_nothing(clock: _Clock) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    bar = Bar(Closed(), clock=clock)
    for done in range(9):
        clock.now += 1
        bar.show("hashing", done, 10)
        bar.write_line("a line of the log")
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
        f"labelling: {count}, 16.00/s" for count in (160, 320, 480, 640, 800, 960)
    ]


def test_a_stage_that_has_begun_is_shown_at_once_and_log_lines_go_above_it(clock: _Clock) -> None:
    stream = io.StringIO()
    bar = Bar(stream, clock=clock)
    bar.announce("Reading", "Reading      photos ...")
    assert stream.getvalue() == "Reading      photos ..."
    bar.write_line("a warning")
    assert stream.getvalue().endswith(" \ra warning\nReading      photos ...")
    bar.show("Reading", 1, 10)
    assert "%" not in stream.getvalue()
    clock.now = 1.0
    bar.show("Reading", 5, 10, "validation 90%")
    assert stream.getvalue().rpartition("\r")[2].endswith("| 5/10, validation 90%")
    bar.close()
    assert stream.getvalue().endswith("\r")


def test_an_announcement_is_cut_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    Bar(stream).announce("Reading", "Reading      " + "\N{HANGUL SYLLABLE HAN}" * 80)
    assert stream.getvalue() == "Reading      " + "\N{HANGUL SYLLABLE HAN}" + "..."
