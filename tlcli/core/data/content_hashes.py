"""SHA-256 of files, computed in parallel and only where a file may have changed.

Checking an unchanged file costs one ``stat`` in the calling thread: handing it to another
thread would cost ten times as much.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tlcli.errors import ImageError, StorageError
from tlcli.storage.ahead import READERS
from tlcli.storage.locations import Entry, is_url, text_of
from tlcli.storage.objects import entry, read
from tlcli.system.cpus import available_cpus
from tlcli.system.digests import add_file, sha256_bytes

STAGE = "hashing"
# A file that was written this recently may be written again within one tick of its clock.
SETTLED_NS = 2_000_000_000


class FileState(NamedTuple):
    """Facts by which a file is recognised as the one that was hashed.

    The change time is included because copying can preserve the modification time.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: str

    @classmethod
    def of(cls, found: os.stat_result) -> FileState:
        """Return the state in the result of a ``stat``."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, str(found.st_ino))

    @property
    def mark(self) -> str:
        """The state as text without spaces."""
        return f"{self.size}-{self.mtime_ns}-{self.ctime_ns}-{self.inode}"

    @classmethod
    def of_mark(cls, mark: str) -> FileState:
        """Return the state that a mark stands for; one of no file where it is no mark."""
        size, mtime, ctime, inode = ([*mark.split("-", 3), "", "", "", ""])[:4]
        if not (size.isdigit() and mtime.isdigit() and ctime.isdigit()):
            return cls(-1, 0, 0, "")
        return cls(int(size), int(mtime), int(ctime), inode)


HashedFile = tuple[FileState, str]
"""A file's state when it was hashed, and its SHA-256."""


def hash_file(path: Path) -> tuple[str, FileState | None]:
    """Return the SHA-256 of a file, and its state if that is reliable.

    The state is None where the file was changed while it was read or shortly before: a later
    change might then leave the same state.

    Raises:
        ImageError: it is no regular file or cannot be read; the reason alone.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            raise ImageError("not a regular file")
        with path.open("rb", buffering=0) as file:
            before = FileState.of(os.fstat(file.fileno()))
            digest = add_file(hashlib.sha256(), file)
            after = FileState.of(os.fstat(file.fileno()))
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise _unreadable(error) from error
    newest = max(after.mtime_ns, after.ctime_ns if os.name == "posix" else 0)
    settled = before == after and time.time_ns() - newest > SETTLED_NS
    return digest.hexdigest(), after if settled else None


def hash_object(location: str, known: HashedFile | None) -> tuple[str, FileState | None]:
    """Return the SHA-256 of an object, and its state if the server gives a mark of changes.

    Args:
        location: an `Entry` with its facts saves a request.
        known: from an earlier time; an object in that state is not read.

    Raises:
        ImageError: it cannot be read; the reason alone.
        StorageError: nothing can be read at this time.
    """
    try:
        if object_state(location) is None:
            location = entry(location) or location
        state = object_state(location)
        if state is not None and known is not None and known[0] == state:
            return known[1], None
        return sha256_bytes(read(location, keep=True)), state
    except StorageError as error:
        if error.is_passing:
            raise
        raise ImageError(error.reason) from error


def object_state(location: Path | str) -> FileState | None:
    """Return the state of an object by what is known of it; None where that is too little."""
    if isinstance(location, Entry) and location.change and location.size is not None:
        return FileState(location.size, 0, 0, location.change)
    return None


def _unreadable(error: OSError | ValueError) -> ImageError:
    return ImageError((getattr(error, "strerror", None) or str(error)).lower())


def hash_files(
    paths: Sequence[Path | str],
    known: Mapping[str, HashedFile],
    keys: Sequence[str],
    hashed: dict[str, HashedFile],
    progress: Callable[[int], None] | None = None,
) -> list[str | ImageError]:
    """Return the SHA-256 of each file, or why it cannot be read.

    Args:
        paths: any files.
        known: files hashed earlier, by key; an unchanged file is not read again.
        keys: the key of each file in ``known`` and ``hashed``.
        hashed: filled with newly hashed files whose state is reliable, also when interrupted.
        progress: called with the number of files done.
    """
    results: list[str | ImageError] = []
    # Objects wait for the network, not for a processor.
    threads = READERS if any(map(is_url, paths)) else 2 * available_cpus()
    pool = ThreadPoolExecutor(threads, "tlcli-hash")
    try:
        # Every file to read is submitted before the first result is awaited.
        found = list(_submit_changed(paths, known, keys, pool))
        for key, result in zip(keys, found, strict=True):
            if isinstance(result, Future):
                try:
                    result, state = result.result()
                    if state is not None:
                        hashed[key] = (state, result)
                except ImageError as error:
                    result = error
            results.append(result)
            if progress is not None:
                progress(len(results))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return results


def _submit_changed(
    paths: Sequence[Path | str],
    known: Mapping[str, HashedFile],
    keys: Sequence[str],
    pool: ThreadPoolExecutor,
) -> Iterator[str | ImageError | Future[tuple[str, FileState | None]]]:
    """Yield the known hash of each unchanged file and a future for each of the others."""
    for path, key in zip(paths, keys, strict=True):
        if is_url(path):
            before = known.get(key)
            if before is not None and before[0] == object_state(path):
                yield before[1]
            else:
                yield pool.submit(hash_object, text_of(path), before)
            continue
        if key in known:
            state, content = known[key]
            try:
                if state == FileState.of(os.stat(path)):  # noqa: PTH116 - no Path is made
                    yield content
                    continue
            except (OSError, ValueError) as error:
                yield _unreadable(error)
                continue
        yield pool.submit(hash_file, Path(path))
