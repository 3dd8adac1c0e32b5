"""Folders of the cache that hold a bounded number of bytes: what was used longest ago goes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tlcli.system.atomic_files import sweep_temporary

LARGEST_FOLDER = 1 << 30
"""Bytes that all files of such a folder may take together."""


def mark_used(*files: Path) -> None:
    """Write down by the files' times that they were used now, where that can be done."""
    for file in files:
        with contextlib.suppress(OSError):
            os.utime(file)


def make_room(folder: Path, largest: int) -> None:
    """Remove what was used longest ago until the rest takes ``largest`` bytes or fewer.

    Files whose names differ in their endings alone belong together and go together. What
    killed runs left behind is removed as well.

    Raises:
        OSError: the folder cannot be read, or a file in it not be removed.
    """
    sweep_temporary(folder)
    sizes: dict[str, int] = {}
    used: dict[str, int] = {}
    files: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process makes room too
            found = path.stat()
            sizes[path.stem] = sizes.get(path.stem, 0) + found.st_size
            used[path.stem] = max(used.get(path.stem, 0), found.st_mtime_ns)
            files.setdefault(path.stem, []).append(path)
    total = sum(sizes.values())
    for stem in sorted(files, key=lambda each: (used[each], each)):
        if total <= largest:
            break
        total -= sizes[stem]
        for path in files[stem]:
            path.unlink(missing_ok=True)
