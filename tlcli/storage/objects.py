"""Objects: listed page by page, read whole, written so that they appear whole or not at all.

Every function takes paths too. A path never loads fsspec.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tlcli.errors import OutputError, StorageError
from tlcli.storage.locations import Entry, Location, is_url, scheme_of, shown, text_of
from tlcli.system.atomic_files import atomic_path
from tlcli.system.regular_files import is_folder, read_regular

LARGEST = 1 << 30
"""Bytes that `read` takes at most by default."""


def entries(location: Location) -> Iterator[Entry]:
    """Yield everything below a folder or a prefix, in bounded memory.

    Objects come page by page, as the server lists them: in the order of their keys' UTF-8 bytes.
    Those of folders come folder by folder, the names of each sorted.

    Raises:
        StorageError: it cannot be listed, as it is absent or access is denied, for example. A
            prefix without objects is no error.
    """
    text = text_of(location)
    scheme = scheme_of(text)
    if not scheme:
        yield from _walk(text)
        return
    from tlcli.storage import remote

    yield from remote.entries(text, scheme)


def entry(location: Location) -> Entry | None:
    """Return the facts of one file or object; None where there is none.

    Raises:
        StorageError: the server cannot be asked.
    """
    text = text_of(location)
    scheme = scheme_of(text)
    if scheme:
        from tlcli.storage import remote

        return remote.entry(text, scheme)
    try:
        found = os.stat(text)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return Entry(text, found.st_size, str(found.st_mtime_ns))


def exists(location: Location) -> bool:
    """Return whether there is a file or an object, or a folder or prefix with something in it.

    Raises:
        StorageError: the server cannot be asked.
    """
    if not is_url(location):
        return os.path.lexists(location)
    if entry(location) is not None:
        return True
    return scheme_of(text_of(location)) != "http" and any(True for _ in entries(location))


def read(location: Location, limit: int = LARGEST, *, keep: bool = False) -> bytes:
    """Return the content of a file or an object, all of it.

    Throttling and broken connections are retried by the client library. What arrives is compared
    with the size that the server, or an `Entry`, gave for it.

    Args:
        location: of the file or object.
        limit: in bytes.
        keep: the same object will be read once more: its content stays in memory until then,
            where `recent` has room for it.

    Raises:
        StorageError: it cannot be read, is larger than ``limit``, or did not arrive whole.
    """
    text = text_of(location)
    scheme = scheme_of(text)
    if scheme:
        from tlcli.storage import recent, remote

        content = recent.take(text)
        if content is None:
            known = location if isinstance(location, Entry) else Entry(text)
            content = remote.read(known, scheme, limit)
        if keep:
            recent.put(text, content)
        return content
    try:
        return read_regular(Path(text), limit)
    except (OSError, ValueError) as error:
        raise _unreadable(text, error) from error


def read_end(location: Entry, count: int) -> bytes:
    """Return the last bytes of an object, at most ``count``.

    Args:
        location: a URL that can be listed, as `entries` yields it, with its size.
        count: above 0.

    Raises:
        StorageError: they cannot be read, or did not arrive whole.
    """
    from tlcli.storage import remote

    return remote.read_end(location, scheme_of(location), count)


def write(location: Location, content: bytes | Iterable[bytes]) -> None:
    """Write a file or an object so that it appears whole, or not at all.

    Args:
        location: a path, or a URL of a kind that can be written.
        content: all of it, or its parts in order. Large objects are uploaded in parts while they
            are made; an error ends the upload and leaves what was there before.

    Raises:
        OutputError: it cannot be written.
    """
    parts = (content,) if isinstance(content, bytes) else content
    text = text_of(location)
    scheme = scheme_of(text)
    if scheme == "http":
        raise OutputError(
            f"cannot write {shown(text)}: web servers are read only; give a path, s3://, gs:// or "
            "hdfs://"
        )
    if scheme:
        from tlcli.storage import remote

        remote.write(text, scheme, parts)
        return
    with atomic_path(Path(text)) as temporary, temporary.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def check_writable(folder: Location) -> None:
    """Check that objects can be written below a URL, as far as that leaves no trace there.

    Raises:
        OutputError: they cannot.
    """
    from tlcli.storage import remote

    text = text_of(folder)
    remote.check_writable(text, scheme_of(text))


def check_output(location: Location) -> None:
    """Check before the work that a file can be written, as far as that leaves no trace.

    Raises:
        OutputError: it cannot.
    """
    text = text_of(location)
    if is_url(text):
        check_writable(text.rpartition("/")[0])
        return
    path = Path(text)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; give the name of a file")
    folder = path.absolute().parent
    # Folders that are missing are made when the file is written.
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: {folder} is a file; choose another path")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write {path}: permission denied in {folder}; choose another path"
        )


def remove(location: Location) -> None:
    """Remove a file or an object; one that is absent is no error.

    Raises:
        OutputError: it cannot be removed.
    """
    text = text_of(location)
    scheme = scheme_of(text)
    if scheme:
        from tlcli.storage import remote

        remote.remove(text, scheme)
        return
    try:
        Path(text).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {text}: {error.strerror or error}") from error


def _walk(folder: str) -> Iterator[Entry]:
    try:
        with os.scandir(folder) as found:
            names = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error
    for each in names:
        if is_folder(each):
            if not each.is_symlink():  # links may lead back up
                yield from _walk(each.path)
            continue
        try:
            status = each.stat()
        except OSError:  # a link to nothing, or removed since
            continue
        yield Entry(each.path, status.st_size, str(status.st_mtime_ns))


def _unreadable(path: str, error: OSError | ValueError) -> StorageError:
    reason = getattr(error, "strerror", None) or str(error)
    reason = reason[:1].lower() + reason[1:]
    return StorageError(path, reason, is_absent=isinstance(error, FileNotFoundError))
