"""Reading files that others made: regular files only, and not more than was said.

A pipe with no writer would keep the run waiting for ever, and a device never ends.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import IO


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger; ``strerror`` says which.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        # A file may grow while it is read: what was allowed is the most that is taken.
        data = b"" if size > limit else file.read(size)
    if size > limit:
        raise OSError(errno.EFBIG, f"it is larger than {spell_size(limit)}", str(path))
    return data


def open_regular(path: Path | str) -> IO[bytes]:
    """Return a regular file, opened to be read.

    Raises:
        OSError: it cannot be opened or is no regular file; ``strerror`` says which.
        ValueError: its name cannot be one.
    """
    return os.fdopen(_open(path)[0], "rb")


def open_held(path: Path | str, limit: int) -> IO[bytes]:
    """Return a regular file to be read; its content alone where it has at most ``limit`` bytes.

    Raises:
        OSError: it cannot be read or is no regular file; ``strerror`` says which.
        ValueError: its name cannot be one.
    """
    descriptor, size = _open(path)
    if size > limit:
        return os.fdopen(descriptor, "rb")
    # A file object would cost as much again: each call of the system lets other threads in.
    try:
        content = os.read(descriptor, size)
        while len(content) < size and (more := os.read(descriptor, size - len(content))):
            content += more
    finally:
        os.close(descriptor)
    return io.BytesIO(content)


def _open(path: Path | str) -> tuple[int, int]:
    """Return the descriptor of a regular file and its size."""
    # Devices are looked at before they are opened: some act on being opened.
    found = os.stat(path)  # noqa: PTH116  (a Path would be made for each image)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    # Without O_NONBLOCK a pipe with no writer would keep the run waiting for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    opened = os.fstat(descriptor)
    if not stat.S_ISREG(opened.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor, opened.st_size


def spell_size(count: int) -> str:
    """Return a limit in bytes for people: "2 GB", "16 MB"."""
    return f"{count >> 30} GB" if count >= 1 << 30 else f"{count >> 20} MB"


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder; a link to itself, which cannot be told, is none.

    Whoever reads it learns why it cannot be.
    """
    try:
        return entry.is_dir()
    except OSError:
        return False
