"""How many threads NumPy's matrix products use, where the OpenBLAS of its wheels computes them.

Threads of OpenBLAS wait for each other by spinning, which a busy machine answers with products that
take a hundred times as long, and the bits of a product depend on their number. Threads of our own,
which take one part after another and compute each in one thread, do neither.

The package threadpoolctl does this for every library of a process, also MKL and BLIS. pip installs
NumPy with OpenBLAS alone, for which it would be one more package to install, to import and to keep
up with, and it examines the hundreds of libraries that TensorFlow loads.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tlcli.system.cpus import available_cpus

Item = TypeVar("Item")

# The wheels of NumPy name their OpenBLAS's functions so, older ones without the "scipy_".
_NAMES = tuple(
    (f"{before}openblas_get_num_threads{end}", f"{before}openblas_set_num_threads{end}")
    for before in ("scipy_", "")
    for end in ("64_", "")
)


# As a power of two, in ticks: a tenth of a millisecond. Products that follow one another find the
# threads awake.
_SPINNING = "18"


def let_idle_threads_sleep() -> None:
    """Make the threads of an OpenBLAS that is loaded later sleep as soon as they have no work.

    By default each spins for a tenth of a second after every product, and after its start, on a
    processor that other threads need. A setting of the user's own stays.
    """
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", _SPINNING)


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Compute what follows in one thread, where that can be asked for; else as ever.

    For many small systems, whose threads wait for each other longer than they work, and on a busy
    machine a hundred times as long.
    """
    found = _functions()
    if found is None:
        yield
        return
    _lower(*found)
    try:
        yield
    finally:
        _restore(found[1])


def in_parallel(work: Callable[[Item], object], items: Sequence[Item]) -> None:
    """Call ``work`` with each item, on all processors, products within it in one thread.

    Where NumPy's threads cannot be limited, one item follows the other.

    Args:
        work: may write to arrays, each call to a part of its own.
        items: any number; those that take longest should come first.

    Raises:
        Exception: the first that ``work`` raised; what had begun is finished.
    """
    if len(items) < 2:
        for item in items:
            work(item)
        return
    workers = 1 if _functions() is None else min(available_cpus(), len(items))
    # A list's iterator gives each item to one thread only.
    following = iter(list(items))
    failed: list[BaseException] = []
    settings = _error_settings()

    def run() -> None:
        try:
            with settings():
                for item in following:
                    if failed:
                        return
                    work(item)
        except BaseException as error:  # raised again below
            failed.append(error)

    with one_blas_thread():
        threads = [threading.Thread(target=run, name="tlcli-blas") for _ in range(workers - 1)]
        for thread in threads:
            thread.start()
        run()
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]


def _error_settings() -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """Return what gives another thread the caller's rules for overflows: each has its own."""
    import numpy as np

    rules = np.geterr()
    return lambda: np.errstate(**rules)


_lock = threading.Lock()
_lowered = 0
_before = 1


def _lower(get: Callable[[], int], put: Callable[[int], Any]) -> None:
    """Ask for one thread; the first of several that ask at once notes how many there were."""
    global _lowered, _before
    with _lock:
        if not _lowered:
            _before = get()
            put(1)
        _lowered += 1


def _restore(put: Callable[[int], Any]) -> None:
    """Ask for as many threads as before, once the last is done that asked for one."""
    global _lowered
    with _lock:
        _lowered -= 1
        if not _lowered:
            put(_before)


@functools.cache
def _functions() -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    """Return the functions that get and set the number of threads; None where there are none."""
    import numpy as np

    package = Path(np.__file__).parent
    for folder in (package.with_name("numpy.libs"), package / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")):
            with contextlib.suppress(OSError):
                library = ctypes.CDLL(str(path))
                for get, put in _NAMES:
                    if hasattr(library, get) and hasattr(library, put):
                        return getattr(library, get), getattr(library, put)
    return None
