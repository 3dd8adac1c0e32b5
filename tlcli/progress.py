"""How far a long stage is: a bar on a terminal, now and then a line elsewhere.

Both are tqdm's, which is imported when there is something to show. Of a stage that takes less
than a moment nothing is shown, so a run that finds all in the cache stays quiet.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from tlcli.text import display_width, fitted_to

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total) while long stages run; total is 0 where it is unknown."""


class Watcher:
    """What a job of several stages reports to: a caller's callback, or nobody.

    It is a `Progress` itself. Stages follow one another and do not overlap.

    Args:
        progress: called with (stage, done, total).
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take in how far a stage is."""
        if self._progress is not None:
            self._progress(stage, done, total)

    def begin(self, stage: str, text: str = "") -> None:
        """Take in that a stage begins; ``text`` is what it works on."""

    def note(self, text: str) -> None:
        """Take in what the stage has reached so far."""

    def end(self, text: str) -> None:
        """Take in that the stage is done; ``text`` is what came out of it."""


def watcher_of(progress: Progress | None) -> Watcher:
    """Return a callback as a watcher; one that is a watcher stays as it is."""
    return progress if isinstance(progress, Watcher) else Watcher(progress)


Clock = Callable[[], float]

# Before that, a stage is no wait.
FIRST_SECONDS = 0.4
LINE_SECONDS = 10.0
# What was slow at the start is forgotten after some dozens of looks.
_SMOOTHING = 0.1
_COUNTS = "{n_fmt}/{total_fmt}"
_BAR = "{desc}: {percentage:3.0f}%|{bar}| " + _COUNTS + "  {rate_noinv_fmt}  {remaining} left"
_NOTED_BAR = "{desc}: {percentage:3.0f}%|{bar}| " + _COUNTS + "{postfix}"
_LINE = "{desc}: " + _COUNTS + ", {percentage:.0f}%, {rate_noinv_fmt}, {remaining} left"
_NO_TOTAL = "{desc}: {n_fmt}, {rate_noinv_fmt}"


def _unit(in_bytes: bool) -> dict[str, Any]:
    return {"unit": "B" if in_bytes else "", "unit_scale": in_bytes}


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
        self._colour = "cyan" if colour else None
        self._unit = _unit(in_bytes)
        self._clock = clock
        self._stage: str | None = None
        self._started = 0.0
        # What was done before the stage began (found in a cache) says nothing of its rate.
        self._before = 0
        self._note = ""
        self._bar: Any = None
        # Formatted again for each of a thousand log lines, it would cost more than the fit.
        self._drawn = ""
        # What stands on the last line while there is no bar.
        self._announced = ""
        # Stages may report, and others log, from several threads.
        self._lock = threading.RLock()

    def announce(self, stage: str, text: str) -> None:
        """Show that a stage has begun, until its bar is drawn or the line is closed."""
        with self._lock:
            self.close()
            self._stage, self._started, self._before = stage, self._clock(), -1
            self._announced = fitted_to(text, _columns(self._stream))
            self._put(self._announced)

    def show(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Take in how far a stage is; drawn at most ten times a second.

        Args:
            stage: what the bar is called.
            done: 0 to ``total``.
            total: 0 where it is unknown.
            note: shown in place of the rate.
        """
        with self._lock:
            now = self._clock()
            self._note = note
            if stage != self._stage:
                self.close()
                self._stage, self._started, self._before = stage, now, done
            elif self._before < 0:
                self._before = done
            if total and done >= total:
                self.close()
            elif self._bar is not None or now - self._started >= FIRST_SECONDS:
                self._draw(done, total, now)

    def write_line(self, text: str) -> None:
        """Write a line above the bar."""
        # A terminal that was closed must not end the work; nor may writing to it.
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._bar is not None:
                self._bar.clear(nolock=True)
            self._wipe()
            self._stream.write(text + "\n")
            if self._bar is not None:
                self._bar.display(self._drawn)
            else:
                self._put(self._announced)

    def close(self) -> None:
        """Leave the screen to the lines that matter."""
        with self._lock:
            self._stage = None
            with contextlib.suppress(OSError, ValueError):
                if self._bar is not None:
                    self._bar.close()
                self._wipe()
                self._stream.flush()
            self._bar, self._announced = None, ""

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()

    def _wipe(self) -> None:
        if self._announced:
            self._stream.write("\r" + " " * display_width(self._announced) + "\r")

    def _draw(self, done: int, total: int, now: float) -> None:
        bar = self._bar
        if bar is None:
            with contextlib.suppress(OSError, ValueError):
                self._wipe()
            self._announced = ""
            bar = self._bar = self._new(now)
        shape = _NOTED_BAR if self._note else _BAR
        bar.total, bar.bar_format = (total, shape) if total else (None, _NO_TOTAL)
        bar.postfix = self._note
        bar.ncols = _columns(self._stream)
        with contextlib.suppress(OSError, ValueError):
            if bar.update(done - bar.n):
                self._drawn = str(bar)

    def _new(self, now: float) -> Any:
        from tqdm import tqdm

        # Neither a thread that watches over the bar nor a lock between processes is needed.
        tqdm.monitor_interval = 0
        tqdm.set_lock(self._lock)
        bar = tqdm(
            desc=self._stage,
            initial=self._before,
            file=self._stream,
            leave=False,
            miniters=1,
            position=0,
            nrows=20,  # a terminal that does not know its size has none, which hides the bar
            smoothing=_SMOOTHING,
            colour=self._colour,
            # Its first look is the next update, not its making.
            delay=FIRST_SECONDS,
            **self._unit,
        )
        # The stage is older than its bar.
        bar.start_t -= now - self._started
        bar.last_print_t = bar.start_t
        return bar


def _columns(stream: TextIO) -> int:
    """Return how wide a line may be; the last column makes some terminals wrap."""
    columns = 0
    with contextlib.suppress(OSError, ValueError, AttributeError):
        columns = os.get_terminal_size(stream.fileno()).columns
    return (columns or shutil.get_terminal_size().columns) - 1


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
        self._unit = _unit(in_bytes)
        self._clock = clock
        self._stage: str | None = None
        self._said_at, self._said = 0.0, 0

    def show(self, stage: str, done: int, total: int) -> None:
        """Take in how far a stage is."""
        now = self._clock()
        if stage != self._stage:
            self._stage, self._said_at, self._said = stage, now, done
        since = now - self._said_at
        if total and done >= total:
            self._stage = None
        elif since >= LINE_SECONDS:
            from tqdm import tqdm

            line = tqdm.format_meter(
                done,
                total or None,
                since,
                prefix=stage,
                initial=self._said,
                bar_format=_LINE if total else _NO_TOTAL,
                **self._unit,
            )
            self._said_at, self._said = now, done
            # tqdm pads small rates, which a line of a log needs not.
            self._logger.info("%s", " ".join(line.split()))
