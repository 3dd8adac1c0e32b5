"""What a run of a graph in TensorFlow says when it fails, and whether one is going on.

Nothing heavy is imported here: the terminal asks while a run may be without end.
"""

from __future__ import annotations

from threading import Lock

# How TensorFlow begins what it says of a run, and what it says where a tensor is too large.
_PREAMBLE = ("Graph execution error", "Detected at node", "<stack traces", "Node:", "2 root error")
_TOO_LARGE = ("OOM when allocating", "Cannot parse tensor from proto", "std::bad_alloc")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text that says why; its kind where there is none."""
    text = str(error).strip()
    if any(sign in text for sign in _TOO_LARGE):
        return "it asks for more memory than there is"
    lines = (line.strip() for line in text.splitlines())
    return next(
        (line for line in lines if line and not line.startswith(_PREAMBLE)), type(error).__name__
    )


class Watchdog:
    """What the main thread may be waiting for in a library that no signal reaches.

    Attributes:
        count: runs of a graph that were begun.
        inside: how many are not at their end.
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
"""Of TensorFlow in this process."""
