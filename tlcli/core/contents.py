"""What files hold, as SHA-256, read in parallel and only where they may have changed."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tlcli.core.engines import available_cpus
from tlcli.errors import ImageError

Progress = Callable[[str, int, int], None]

STAGE = "hashing"
# A file that was written this recently may be written again within one tick of its clock.
SETTLED_NS = 2_000_000_000
_BLOCK = 1 << 20


@dataclass(frozen=True)
class FileState:
    """What tells whether a file is still the one that was hashed.

    The change time is there because a copy may bring its old modification time along.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: str

    @classmethod
    def of(cls, found: os.stat_result) -> FileState:
        """Return the state that a stat shows."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, str(found.st_ino))


Known = tuple[FileState, str]
"""A file's state when it was hashed, and its SHA-256."""


def hash_file(path: Path) -> tuple[str, FileState | None]:
    """Return the SHA-256 of a file, and its state if that may be relied on later.

    The state is None where the file was changed while it was read or shortly before: then
    a later change could look the same.

    Raises:
        ImageError: it is no regular file or cannot be read; the reason alone.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            raise ImageError("not a regular file")
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            before = FileState.of(os.fstat(file.fileno()))
            while block := file.read(_BLOCK):
                digest.update(block)
            after = FileState.of(os.fstat(file.fileno()))
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise _unreadable(error) from error
    newest = max(after.mtime_ns, after.ctime_ns if os.name == "posix" else 0)
    settled = before == after and time.time_ns() - newest > SETTLED_NS
    return digest.hexdigest(), after if settled else None


def _unreadable(error: OSError | ValueError) -> ImageError:
    return ImageError((getattr(error, "strerror", None) or str(error)).lower())


def _find(path: Path, known: Known | None) -> tuple[str | ImageError, FileState | None]:
    try:
        if known is not None and known[0] == FileState.of(path.stat()):
            return known[1], None
    except (OSError, ValueError) as error:
        return _unreadable(error), None
    try:
        return hash_file(path)
    except ImageError as error:
        return error, None


def hash_files(
    paths: Sequence[Path],
    known: Sequence[Known | None],
    keys: Sequence[str],
    seen: dict[str, Known],
    progress: Progress | None = None,
) -> list[str | ImageError]:
    """Return the SHA-256 of each file, or why it cannot be read.

    Args:
        paths: any files.
        known: what is known of each; an unchanged file is not read again.
        keys: a name of each for ``seen``.
        seen: filled with what was hashed and may be relied on, also when interrupted.
        progress: called with ("hashing", done, total).
    """
    results: list[str | ImageError] = []
    with ThreadPoolExecutor(2 * available_cpus(), "tlcli-hash") as pool:
        try:
            for index, (result, state) in enumerate(pool.map(_find, map(Path, paths), known)):
                results.append(result)
                if state is not None and isinstance(result, str):
                    seen[keys[index]] = (state, result)
                if progress is not None:
                    progress(STAGE, index + 1, len(paths))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results
