"""The reason of a failed run in TensorFlow, and whether a run is in progress.

Nothing heavy is imported here: the terminal uses it while a run may never end.
"""

from __future__ import annotations

import re
from threading import Lock

# First lines of TensorFlow's messages without a reason, and messages of too large tensors.
_PREAMBLE = (
    *("Graph execution error", "Detected at node", "<stack traces", "Node:", "2 root error"),
    "Exception encountered when calling",
)
# Keras writes its reasons in bold.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_TOO_LARGE = ("OOM when allocating", "Cannot parse tensor from proto", "std::bad_alloc")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text with a reason; its type where there is none.

    At most 200 characters, as it ends sentences.
    """
    text = _COLOURS.sub("", str(error)).strip()
    if any(sign in text for sign in _TOO_LARGE):
        return "it needs more memory than there is"
    lines = (line.strip() for line in text.splitlines())
    line = next(
        (line for line in lines if line and not line.startswith(_PREAMBLE)), type(error).__name__
    )
    return line if len(line) <= 200 else f"{line[:197]}..."


def unusable(error: Exception, model: str) -> str:
    """Return a sentence about a model whose loading or running raised any error at all.

    Args:
        error: as it came up, such as an OverflowError for a number of a damaged file.
        model: what the sentence calls it.
    """
    if isinstance(error, MemoryError):
        return f"{model} cannot be used: it needs more memory than there is; give a smaller model"
    if isinstance(error, RecursionError):
        return f"{model} cannot be used: it is nested too deeply; give another file"
    if "can't start new thread" in str(error):
        return (
            f"{model} cannot be used: the system allows no more threads; close other programs or "
            "raise the limit (ulimit -u)"
        )
    return (
        f"{model} cannot be used: its content is damaged ({first_line(error)}); give another file"
    )


class Watchdog:
    """Counts runs inside a library that signals do not interrupt.

    Attributes:
        count: runs that were started.
        inside: how many of them have not ended.
    """

    def __init__(self) -> None:
        self.count = self.inside = 0
        self._lock = Lock()  # a server has several runs at once

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.inside -= 1


watchdog = Watchdog()
"""Runs of TensorFlow in this process."""
