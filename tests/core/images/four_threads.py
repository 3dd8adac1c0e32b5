"""The same work in four threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable


def in_four_threads(work: Callable[[int], None]) -> None:
    """Call ``work`` with 0 to 3, each in a thread of its own, and wait for all."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
