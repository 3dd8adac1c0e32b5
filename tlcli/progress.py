"""How far a long stage is: a bar on a terminal, now and then a line elsewhere.

Nothing is shown of a stage that takes less than a moment, so a run that finds all in the cache
stays quiet.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

from tlcli.core.text_table import display_width

Progress = Callable[[str, int, int], None]
Clock = Callable[[], float]

# Before that, a stage is no wait.
FIRST_SECONDS = 0.4
DRAW_SECONDS = 0.1
LINE_SECONDS = 10.0
# The rate is that of the last half minute: what was slow at the start is forgotten.
WINDOW_SECONDS = 30.0
_WIDEST_BAR = 30
_NARROWEST_BAR = 8
_ERASE = "\r\x1b[2K"
_CYAN, _PLAIN = "\x1b[36m", "\x1b[39m"


class Pace:
    """Done, rate and remaining time of one stage."""

    def __init__(self, stage: str, done: int, now: float, in_bytes: bool) -> None:
        self.stage = stage
        self.started = now
        self._in_bytes = in_bytes
        # What was done before the stage began (found in a cache) says nothing of its rate.
        self._seen: deque[tuple[float, int]] = deque([(now, done)])
        self.done = done
        self.total = 0

    def update(self, done: int, total: int, now: float) -> None:
        """Take in a new count."""
        self.done, self.total = done, total
        # A few samples a second are enough, whatever the calls are.
        if now - self._seen[-1][0] >= DRAW_SECONDS:
            self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > WINDOW_SECONDS:
            self._seen.popleft()

    def rate(self, now: float) -> float:
        """Return how many a second."""
        since, before = self._seen[0]
        return (self.done - before) / (now - since) if now > since else 0.0

    def parts(self, now: float) -> list[str]:
        """Return what is to be said: counts, share, rate, remaining time."""
        rate = self.rate(now)
        parts = [f"{self._spelled(self.done)}/{self._spelled(self.total)}"]
        if not self.total:
            parts = [self._spelled(self.done)]
        if self._in_bytes:
            parts[0] += " MB"
        if self.total:
            parts.append(f"{100 * self.done // self.total}%")
        if rate > 0:
            parts.append(_rate(rate / 1e6, " MB/s") if self._in_bytes else _rate(rate, "/s"))
            if self.total:
                parts.append(f"{duration((self.total - self.done) / rate)} left")
        return parts

    def _spelled(self, count: int) -> str:
        return f"{count / 1e6:.1f}" if self._in_bytes else str(count)


def _rate(rate: float, unit: str) -> str:
    return f"{rate:.0f}{unit}" if rate >= 10 else f"{rate:.1f}{unit}"


def duration(seconds: float) -> str:
    """Spell a time as "0:08", "12:30" or "1:05:00"."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Bar:
    """One bar on the last line of a terminal; lines written meanwhile go above it.

    Args:
        stream: the terminal.
        colour: draw what is done in colour.
        in_bytes: counts are bytes.
        clock: seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        colour: bool = False,
        in_bytes: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self._stream = stream
        self._colour = colour
        self._in_bytes = in_bytes
        self._clock = clock
        self._pace: Pace | None = None
        self._drawn_at = -DRAW_SECONDS
        self._shown = False
        self._bar = ""
        # Stages may report, and others log, from several threads.
        self._lock = threading.Lock()
        self._full, self._empty = _blocks(stream)

    def show(self, stage: str, done: int, total: int) -> None:
        """Take in how far a stage is; drawn at most ten times a second."""
        now = self._clock()
        with self._lock:
            if self._pace is None or self._pace.stage != stage:
                self._erase()
                self._pace = Pace(stage, done, now, self._in_bytes)
            self._pace.update(done, total, now)
            if total and done >= total:
                self._erase()
            elif now - self._pace.started >= FIRST_SECONDS and now - self._drawn_at >= DRAW_SECONDS:
                self._bar = self._line(now)
                self._write(_ERASE * self._shown + self._bar)
                self._shown, self._drawn_at = True, now

    def write_line(self, text: str) -> None:
        """Write a line above the bar."""
        with self._lock:
            if self._shown:
                # In one piece, or the bar would flicker.
                self._write(f"{_ERASE}{text}\n{self._bar}")
            else:
                self._write(text + "\n")

    def close(self) -> None:
        """Leave the screen to the lines that matter."""
        with self._lock:
            self._erase()
            self._pace = None

    def _erase(self) -> None:
        if self._shown:
            self._write(_ERASE)
            self._shown = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # A terminal that was closed must not end the work.
            self._shown = False

    def _line(self, now: float) -> str:
        assert self._pace is not None
        columns = shutil.get_terminal_size().columns - 1
        stage, parts = self._pace.stage, self._pace.parts(now)
        said = "  ".join(parts)
        room = columns - display_width(stage) - len(said) - 4
        if not self._pace.total or room < _NARROWEST_BAR:
            return f"{stage}  {said}"[:columns]
        width = min(room, _WIDEST_BAR)
        full = width * self._pace.done // self._pace.total
        done = self._full * full
        if self._colour:
            done = f"{_CYAN}{done}{_PLAIN}"
        return f"{stage}  {done}{self._empty * (width - full)}  {said}"


def _blocks(stream: TextIO) -> tuple[str, str]:
    try:
        "━╌".encode(stream.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return "#", "-"
    return "━", "╌"


class Lines:
    """A line each ten seconds, for logs of CI and for dumb terminals.

    Args:
        logger: where they go.
        in_bytes: counts are bytes.
        clock: seconds.
    """

    def __init__(
        self, logger: logging.Logger, in_bytes: bool = False, clock: Clock = time.monotonic
    ) -> None:
        self._logger = logger
        self._in_bytes = in_bytes
        self._clock = clock
        self._pace: Pace | None = None
        self._said_at = 0.0

    def show(self, stage: str, done: int, total: int) -> None:
        """Take in how far a stage is."""
        now = self._clock()
        if self._pace is None or self._pace.stage != stage:
            self._pace = Pace(stage, done, now, self._in_bytes)
            self._said_at = now
        self._pace.update(done, total, now)
        if now - self._said_at >= LINE_SECONDS and not (total and done >= total):
            self._said_at = now
            self._logger.info("%s: %s", stage, ", ".join(self._pace.parts(now)))
