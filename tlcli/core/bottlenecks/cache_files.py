"""Content hashes of files, cached by file state: an unchanged file is not read again."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tlcli.core.bottlenecks.cache_database import StoreDatabase, select_in
from tlcli.core.data.content_hashes import STAGE, FileState, HashedFile, hash_files
from tlcli.errors import ImageError
from tlcli.progress import Progress
from tlcli.storage.locations import is_url, shown


def file_contents(
    database: StoreDatabase,
    paths: Sequence[Path | str],
    progress: Progress | None = None,
    elsewhere: Callable[[Iterable[str]], Mapping[str, tuple[str, str]]] | None = None,
    files_at_once: int = 8000,
) -> list[str | ImageError]:
    """Return what `BottleneckStore.contents` does.

    ``files_at_once`` are looked up and hashed between two writes: a killed run loses no more,
    and memory stays flat. ``elsewhere`` returns the mark, see `FileState.mark`, and the content of
    files that the database does not have.
    """
    here = str(Path.cwd())
    total = len(paths)
    results: list[str | ImageError] = []
    for start in range(0, total, files_at_once):
        part = paths[start : start + files_at_once]
        # Not by Path, which takes longer than looking at the file.
        keys = [
            shown(path) if is_url(path) else os.path.join(here, path)  # noqa: PTH118
            for path in part
        ]

        def report(done: int, start: int = start) -> None:
            if progress is not None:
                progress(STAGE, start + done, total)

        hashed: dict[str, HashedFile] = {}
        try:
            known = _known(database, keys)
            if elsewhere is not None:
                others = elsewhere([key for key in keys if key not in known])
                known |= {
                    key: (FileState.of_mark(mark), content)
                    for key, (mark, content) in others.items()
                }
            results += hash_files(part, known, keys, hashed, progress and report)
        finally:  # also after an interrupt
            _store(database, hashed)
    return results


def _known(database: StoreDatabase, keys: Sequence[str]) -> dict[str, HashedFile]:
    known: dict[str, HashedFile] = {}

    def read(connection: sqlite3.Connection) -> None:
        select = "SELECT path, content, size, mtime_ns, ctime_ns, inode FROM files WHERE path"
        wanted = [key for key in keys if _is_text(key)]
        for path, content, *facts in select_in(connection, select, [], wanted):
            state = FileState(*facts)
            if content == checked_content(path, state, str(content)[:64]):
                known[path] = (state, content[:64])

    database.run(read)
    return known


def _store(database: StoreDatabase, hashed: Mapping[str, HashedFile]) -> None:
    rows = [
        (path, *state, checked_content(path, state, content))
        for path, (state, content) in hashed.items()
        if _is_text(path)
    ]
    if rows:
        statement = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)"
        database.write(lambda connection: connection.executemany(statement, rows))


def checked_content(path: str, state: FileState, content: str) -> str:
    """Return a content hash with a checksum of its row, so that a damaged row is a miss."""
    row = f"{path}|{state}|{content}".encode("utf-8", "surrogatepass")
    return f"{content}{zlib.crc32(row):08x}"


def _is_text(path: str) -> bool:
    """Return whether SQLite can store the path; a file name may be any bytes."""
    try:
        return path.isascii() or bool(path.encode("utf-8"))
    except UnicodeEncodeError:
        return False
