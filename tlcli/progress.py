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

Progress = Callable[[str, int, int], None]
Clock = Callable[[], float]

# Before that, a stage is no wait.
FIRST_SECONDS = 0.4
LINE_SECONDS = 10.0
# What was slow at the start is forgotten after some dozens of looks.
_SMOOTHING = 0.1
_COUNTS = "{n_fmt}/{total_fmt}"
_BAR = "{desc}: {percentage:3.0f}%|{bar}| " + _COUNTS + "  {rate_noinv_fmt}  {remaining} left"
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
        self._bar: Any = None
        # Formatted again for each of a thousand log lines, it would cost more than the fit.
        self._drawn = ""
        # Stages may report, and others log, from several threads.
        self._lock = threading.RLock()

    def show(self, stage: str, done: int, total: int) -> None:
        """Take in how far a stage is; drawn at most ten times a second."""
        with self._lock:
            now = self._clock()
            if stage != self._stage:
                self.close()
                self._stage, self._started, self._before = stage, now, done
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
            self._stream.write(text + "\n")
            if self._bar is not None:
                self._bar.display(self._drawn)
            else:
                self._stream.flush()

    def close(self) -> None:
        """Leave the screen to the lines that matter."""
        with self._lock:
            self._stage = None
            if self._bar is not None:
                with contextlib.suppress(OSError, ValueError):
                    self._bar.close()
                self._bar = None

    def _draw(self, done: int, total: int, now: float) -> None:
        bar = self._bar
        if bar is None:
            bar = self._bar = self._new(now)
        bar.total, bar.bar_format = (total, _BAR) if total else (None, _NO_TOTAL)
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
