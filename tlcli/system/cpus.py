"""CPUs that this process may use."""

from __future__ import annotations

import os

_most: int | None = None


def available_cpus() -> int:
    """Return how many CPUs this process may use, at least 1."""
    found = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        found = max(1, len(os.sched_getaffinity(0)))
    return found if _most is None else min(found, _most)


def use_at_most(cpus: int) -> None:
    """Let `available_cpus` return no more than ``cpus``, for a process that shares the machine."""
    global _most
    _most = max(1, cpus)
