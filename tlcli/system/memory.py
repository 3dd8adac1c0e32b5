"""How much memory there is, and keeping one process within it.

A model file may ask for memory in ways that only running it tells: sizes computed in a loop, in
functions, or by a library while it builds the network. The system then ends processes, and not
only the one that asked. Within a bound the request fails instead, and becomes a sentence.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# What is mapped is more than what is used: a bound below this would refuse what would do.
LOWEST_BOUND = 4 << 30
# Of what is free now: the rest is for the others.
_SHARE = 0.9
# Of all there is: others may take less later than they do now.
_SHARE_OF_ALL = 0.5


def memory() -> dict[str, int | None]:
    """Return "total", "available" and "limit" (of a container) bytes, None where unknown.

    What is free on a swap disk counts as available.
    """
    total = available = None
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(":")
            if key == "MemTotal":
                total = int(value.split()[0]) * 1024
            elif key == "MemAvailable":
                available = int(value.split()[0]) * 1024
            elif key == "SwapFree" and available is not None:
                available += int(value.split()[0]) * 1024
    if total is None and hasattr(os, "sysconf"):
        with contextlib.suppress(OSError, ValueError):
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"total": total, "available": available, "limit": _memory_limit()}


def _memory_limit() -> int | None:
    """Return what a container may use, None without a limit."""
    for place in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limit = int(Path("/sys/fs/cgroup", place).read_text(encoding="ascii"))
            # Without a limit the older interface says a number beyond any memory.
            return limit if limit < 1 << 60 else None
    return None


def bound_memory() -> int | None:
    """Let this process take little more memory than is free now; return the bound in bytes.

    It is nine tenths of what is free, or half of all where that is more. Linux alone has such
    a bound. It is left out where there is a graphics card, whose driver maps more than there
    is, and where a lower one is set already: then the result is None.
    """
    if Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists():
        return None
    known = memory()
    total, available = known["total"], known["available"]
    if total is None or available is None:
        return None
    wanted = max(_SHARE * available, _SHARE_OF_ALL * total)
    if known["limit"] is not None:
        wanted = min(wanted, _SHARE * known["limit"])
    try:
        import resource

        lowest, highest = resource.getrlimit(resource.RLIMIT_DATA)
        bound = max(LOWEST_BOUND, int(wanted))
        unlimited = resource.RLIM_INFINITY
        if any(limit != unlimited and limit <= bound for limit in (lowest, highest)):
            return None
        resource.setrlimit(resource.RLIMIT_DATA, (bound, highest))
    except (ImportError, OSError, ValueError):
        return None
    return bound
