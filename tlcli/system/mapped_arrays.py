"""Matrices in files, for those that are larger than the memory.

The system keeps as much of such a file in memory as it has room for. What a process has touched
counts as its own, so it is released after each few megabytes; it stays readable.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from tlcli.arrays import Floats
from tlcli.errors import CacheError
from tlcli.text import byte_size

# What is touched between two releases. Each costs some microseconds per megabyte.
_TOUCHED_BYTES = 128 << 20


class _File(mmap.mmap):
    """A mapped file that counts what was touched of it."""

    touched = 0


def mapped_zeros(shape: tuple[int, int], folder: Path) -> Floats:
    """Return a matrix of zeros in a file that has no name and is gone with the matrix.

    Args:
        shape: rows and columns.
        folder: on the drive that is to hold the file; made where missing.

    Returns:
        float32, to be read and written as any other.

    Raises:
        CacheError: there is no room, or the folder cannot be written.
    """
    size = 4 * shape[0] * shape[1]
    if not size:
        return np.zeros(shape, np.float32)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            _reserve(file.fileno(), size)
            mapped = _File(file.fileno(), size)
    except OSError as error:
        free = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with contextlib.suppress(OSError):
                free = f", and {byte_size(shutil.disk_usage(folder).free)} are free"
        raise CacheError(
            f"the vectors are larger than the memory and need a file of {byte_size(size)} in "
            f"{folder}{free} ({error.strerror or error}); make room, or give a --bottleneck_dir on "
            "another drive"
        ) from error
    return np.frombuffer(mapped, np.float32).reshape(shape)


def _reserve(descriptor: int, size: int) -> None:
    # Without it a full drive would end the process by a signal in the middle of a write.
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
    os.truncate(descriptor, size)


def is_mapped(array: Floats) -> bool:
    """Return whether an array is part of a mapped file."""
    return _file_of(array) is not None


def touched(array: Floats, size: int) -> None:
    """Note that ``size`` bytes of an array were read or written; nothing for one in memory.

    Once these are many, the pages of the file no longer count as memory of this process.
    """
    file = _file_of(array)
    if file is None:
        return
    file.touched += size
    if file.touched >= _TOUCHED_BYTES:
        file.touched = 0
        # Of a shared mapping, changed pages are kept and written by the system.
        if hasattr(file, "madvise"):
            file.madvise(mmap.MADV_DONTNEED)


def _file_of(array: object) -> _File | None:
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, memoryview):
        array = array.obj
    return array if isinstance(array, _File) else None
