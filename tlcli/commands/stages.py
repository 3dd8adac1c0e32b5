"""The stages of a job on a terminal: one live line for each, left behind as one finished line.

What a log has instead, such as the original's lines of each step, is written to pipes, and with
``--logging_verbosity DEBUG``.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tlcli.progress import Bar, Progress, Watcher
from tlcli.terminal import bar_below_log, is_debugging, is_plain, progress_bars, takes_colour
from tlcli.text import printable

# Titles of the stages have this many columns.
_TITLE = 13
_BOLD, _NORMAL = "\x1b[1m", "\x1b[0m"
_LINK, _LINK_END = "\x1b]8;;", "\x1b\\"


class Stages(Watcher):
    """Passes the progress of a run on, and counts what an interrupt leaves in the caches.

    Attributes:
        vectors: how many are in the cache, of how many; (0, 0) before they are looked up.
        steps: how many the fit has taken.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        super().__init__(progress)
        self.vectors, self.steps = (0, 0), 0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take in how far a stage is."""
        if stage == "bottlenecks":
            self.vectors = (done, total)
        elif stage == "fit":
            self.steps = done
        super().__call__(stage, done, total)

    def kept(self, bottlenecks: Path, checkpoint: Path | None) -> str:
        """Return what an interrupted run leaves in a sentence; "" where that is nothing.

        Args:
            bottlenecks: folder of the cache.
            checkpoint: where the fit is kept; None: nowhere.
        """
        done, total = self.vectors
        kept = []
        if done:
            which = "All vectors" if done == total else f"The vectors of {done} of {total} images"
            kept.append(f"{which} are kept in {bottlenecks}")
        if self.steps and checkpoint is not None:
            kept.append(f"{self.steps} steps of the fit at {checkpoint}")
        if not kept:
            return ""
        return f"{' and '.join(kept)}; the same command goes on from there."


class _Lines(Stages):
    """Stages on the last lines of a terminal.

    Args:
        bar: draws the live line.
        leaves: whether a finished line is left for each stage.
    """

    def __init__(self, bar: Bar, *, leaves: bool) -> None:
        super().__init__()
        self._bar, self._leaves = bar, leaves
        self._bold = takes_colour(sys.stderr)
        self._title = self._note = self._found = ""
        self._begun = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        super().__call__(stage, done, total)
        if stage == "bottlenecks" and self._title and not self._found:
            # The first call is of those in the cache.
            self._found = f"{self._title}, {done} cached"
            if 0 < done < total:
                self._bar.announce(self._found, f"{self._found} ...")
        self._bar.show(self._found or self._title or stage, done, total, self._note)

    def begin(self, stage: str, text: str = "") -> None:
        self._title, self._begun = stage.capitalize(), time.monotonic()
        self._note = self._found = ""
        self._bar.announce(self._title, f"{self._title:<{_TITLE}}{printable(text)} ...")

    def note(self, text: str) -> None:
        self._note = text

    def end(self, text: str) -> None:
        seconds = _duration(time.monotonic() - self._begun)
        self._bar.close()
        if self._leaves:
            title = f"{self._title:<{_TITLE}}"
            title = f"{_BOLD}{title}{_NORMAL}" if self._bold else title
            self._bar.write_line(f"{title}{printable(text)}, {seconds}")
        self._title = self._found = ""


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def watching(quiet: bool, replaced: Sequence[str]) -> Iterator[Stages]:
    """Yield what shows the stages of a run: lines on a terminal, a bar or log lines elsewhere.

    Args:
        quiet: show nothing.
        replaced: names of the loggers whose lines these stages replace on a terminal.
    """
    if quiet or is_plain(sys.stderr) or is_debugging():
        with progress_bars(quiet) as progress:
            yield Stages(progress)
        return
    with ExitStack() as stack:
        for name in replaced:
            stack.enter_context(_silenced(logging.getLogger(name)))
        bar = stack.enter_context(bar_below_log())
        yield _Lines(bar, leaves=logging.getLogger("tlcli").isEnabledFor(logging.INFO))


@contextmanager
def _silenced(logger: logging.Logger) -> Iterator[None]:
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def shows_summary(output_format: str) -> bool:
    """Return whether a summary on standard output is read by a person at a terminal."""
    return output_format == "text" and not is_plain(sys.stdout) and not is_debugging()


def link(path: Path) -> str:
    """Return the address of a file, as a hyperlink where the terminal is not known to print it."""
    address = path.resolve().as_uri()
    if os.environ.get("TERM") == "linux":
        return address
    return f"{_LINK}{address}{_LINK_END}{address}{_LINK}{_LINK_END}"
