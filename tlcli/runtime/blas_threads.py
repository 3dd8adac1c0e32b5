"""How many threads NumPy's matrix products use, where the OpenBLAS of its wheels computes them.

The package threadpoolctl does this for every library of a process, also MKL and BLIS. pip installs
NumPy with OpenBLAS alone, for which it would be one more package to install, to import and to keep
up with, and it examines the hundreds of libraries that TensorFlow loads.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# The wheels of NumPy name their OpenBLAS's functions so, older ones without the "scipy_".
_NAMES = tuple(
    (f"{before}openblas_get_num_threads{end}", f"{before}openblas_set_num_threads{end}")
    for before in ("scipy_", "")
    for end in ("64_", "")
)


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
    get, put = found
    before = get()
    put(1)
    try:
        yield
    finally:
        put(before)


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
