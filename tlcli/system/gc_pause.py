"""A pause of Python's garbage collector, for code that makes a million lasting objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection inside the block (or the decorated function).

    For code that makes many lasting objects without cycles: each collection would visit all of
    them again, so that the millionth image costs twice what the first did. Objects are still
    freed as soon as nothing refers to them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
