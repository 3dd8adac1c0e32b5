"""Python's garbage collector, kept from walking over a million objects that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def gc_paused() -> Iterator[None]:
    """Let no garbage collection run inside the block (or the decorated function).

    For code that makes many objects, all of which stay, in no cycles: each collection would
    walk over all of them again, so that the millionth image costs twice what the first did.
    Objects are still freed as soon as nothing refers to them.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
