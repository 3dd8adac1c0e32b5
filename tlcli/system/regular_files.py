"""Reading files of unknown origin: regular files only, and of bounded size.

A pipe without a writer would block the run for ever, and a device never ends.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import IO

GIT_LFS_ADVICE = "a Git LFS pointer, not the file itself: run git lfs pull"
"""What a file is in whose place Git left a few lines of text, and the remedy."""


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger; ``strerror`` is the reason.
    """
    descriptor, size = _open(path)
    with os.fdopen(descriptor, "rb") as file:
        if size <= limit:
            # A file may grow while it is read: no more than its checked size is read.
            return file.read(size)
    most = f"{limit >> 30} GB" if limit >= 1 << 30 else f"{limit >> 20} MB"
    raise OSError(errno.EFBIG, f"it is larger than {most}", str(path))


def open_regular(path: Path | str) -> IO[bytes]:
    """Open a regular file for reading.

    Raises:
        OSError: it cannot be opened or is no regular file; ``strerror`` is the reason.
        ValueError: it is no valid file name.
    """
    return os.fdopen(_open(path)[0], "rb")


def open_buffered(path: Path | str, limit: int) -> IO[bytes]:
    """Open a regular file for reading, in memory where it has at most ``limit`` bytes.

    Raises:
        OSError: it cannot be read or is no regular file; ``strerror`` is the reason.
        ValueError: it is no valid file name.
    """
    descriptor, size = _open(path)
    if size > limit:
        return os.fdopen(descriptor, "rb")
    # A file object would double the cost: each system call gives way to other threads.
    try:
        content = os.read(descriptor, size)
        while len(content) < size and (more := os.read(descriptor, size - len(content))):
            content += more
    finally:
        os.close(descriptor)
    return io.BytesIO(content)


def _open(path: Path | str) -> tuple[int, int]:
    """Return the descriptor of a regular file and its size."""
    # Checked before opening: some devices react to being opened.
    found = os.stat(path)  # noqa: PTH116  (a Path would be made for each image)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    # Without O_NONBLOCK, opening a pipe without a writer would block for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    opened = os.fstat(descriptor)
    if not stat.S_ISREG(opened.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor, opened.st_size


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder; False for a link to itself, which fails on reading."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_git_lfs_pointer(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` stands for one that Git LFS has not fetched.

    Source: the specification of Git LFS, ``docs/spec.md``.
    """
    return head.startswith(b"version https://git-lfs.github.com/spec/")
