"""How much memory there is, and a bound for the memory of this process.

The memory that a model file needs may be unknown until it runs: sizes are computed in loops, in
functions, or by a library that builds the network. Without a bound the system then kills
processes, and not only this one. Within a bound the allocation fails, and becomes an error message.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path, PurePosixPath

# More memory is mapped than used: a lower bound would refuse models that fit.
LOWEST_BOUND = 4 << 30
# Of the free memory; the rest is for other processes.
_OF_AVAILABLE = 0.9
# Of all memory: other processes may use less later than now.
_OF_TOTAL = 0.5


def memory() -> dict[str, int | None]:
    """Return "total", "available" and "limit" (of a container) bytes, None where unknown.

    Free swap space counts as available.
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
    return {"total": total, "available": available, "limit": memory_limit()}


def memory_limit(root: Path = Path("/sys/fs/cgroup"), own: Path | None = None) -> int | None:
    """Return the memory limit of the control group in bytes, None without one.

    Args:
        root: where control groups are mounted.
        own: the file that names the groups of this process.
    """
    found = []
    for group in _groups(own or Path("/proc/self/cgroup")):
        for name in ("memory.max", "memory/memory.limit_in_bytes"):
            # The older interface has a tree for each resource.
            head, _, tail = name.rpartition("/")
            with contextlib.suppress(OSError, ValueError):
                limit = int((root / head / group / tail).read_text(encoding="ascii"))
                # Without a limit the older interface reports a number beyond any memory.
                if limit < 1 << 60:
                    found.append(limit)
    return min(found, default=None)


def _groups(own: Path) -> set[str]:
    """Return the control groups of this process and those that they are in, below the root."""
    groups = {"."}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in own.read_text(encoding="utf-8").splitlines():
            parts = PurePosixPath(line.split(":", 2)[2]).parts[1:]
            groups |= {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return groups


def usable_memory() -> int | None:
    """Return the bytes that this process may use now, None where that is unknown.

    It is what is free, or less: the limit of a container or of a batch system's job, or the bound
    of ``ulimit``.
    """
    known = memory()
    found = [each for each in (known["available"], known["limit"]) if each is not None]
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
            bound = resource.getrlimit(kind)[0]
            if bound != resource.RLIM_INFINITY:
                found.append(bound)
    return min(found, default=None)


def bound_memory(hidden_gpu: bool = False) -> int | None:
    """Limit this process to the memory that is free now; return the bound in bytes.

    The bound is nine tenths of the free memory, or half of all memory where that is more. Only
    Linux has such a bound. None is set, and the result is None, where there is a GPU, whose driver
    maps more than all memory, and where a lower bound is set already.

    Args:
        hidden_gpu: no library of this process sees the GPU.
    """
    if not hidden_gpu and (Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()):
        return None
    known = memory()
    total, available = known["total"], known["available"]
    if total is None or available is None:
        return None
    wanted = max(_OF_AVAILABLE * available, _OF_TOTAL * total)
    if known["limit"] is not None:
        wanted = min(wanted, _OF_AVAILABLE * known["limit"])
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
