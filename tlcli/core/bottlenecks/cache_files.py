"""Contents of files, known by their state: an unchanged file is not read again."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tlcli.core.bottlenecks.cache_database import StoreDatabase, chunks, insert, marks
from tlcli.core.data.content_hashes import STAGE, FileState, Known, Progress, hash_files
from tlcli.errors import ImageError

# Files looked up and hashed between two writes: a kill loses no more, and memory stays flat.
_FILES_AT_ONCE = 8000


class SeenFiles:
    """What the cache knows of files that it saw.

    Args:
        database: where that is kept.
    """

    def __init__(self, database: StoreDatabase) -> None:
        self._database = database

    def contents(
        self, paths: Sequence[Path | str], progress: Progress | None = None
    ) -> list[str | ImageError]:
        """Return what `BottleneckStore.contents` does."""
        here = str(Path.cwd())
        total = len(paths)
        results: list[str | ImageError] = []
        for start in range(0, total, _FILES_AT_ONCE):
            part = paths[start : start + _FILES_AT_ONCE]
            # Not by Path, which takes longer than looking at the file.
            keys = [os.path.join(here, path) for path in part]  # noqa: PTH118

            def report(done: int, start: int = start) -> None:
                if progress is not None:
                    progress(STAGE, start + done, total)

            seen: dict[str, Known] = {}
            try:
                results += hash_files(part, self._known(keys), keys, seen, progress and report)
            finally:  # an interrupted run keeps what it hashed
                self._remember(seen)
        return results

    def _known(self, keys: Sequence[str]) -> dict[str, Known]:
        known: dict[str, Known] = {}

        def read(connection: sqlite3.Connection) -> None:
            for chunk in chunks([key for key in keys if _is_text(key)]):
                rows = connection.execute(
                    "SELECT path, size, mtime_ns, ctime_ns, inode, content FROM files "
                    f"WHERE path IN ({marks(chunk)})",
                    chunk,
                )
                for path, size, mtime_ns, ctime_ns, inode, content in rows:
                    state = FileState(size, mtime_ns, ctime_ns, inode)
                    if content == checked_content(path, state, str(content)[:64]):
                        known[path] = (state, content[:64])

        self._database.run(read)
        return known

    def _remember(self, seen: Mapping[str, Known]) -> None:
        rows = [
            (path, *state, checked_content(path, state, content))
            for path, (state, content) in seen.items()
            if _is_text(path)
        ]
        if rows:
            self._database.write(
                lambda connection: insert(
                    connection, "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows
                )
            )


def checked_content(path: str, state: FileState, content: str) -> str:
    """Return a content with a checksum of its row: a wrong one would hide the image for ever."""
    row = f"{path}|{state}|{content}".encode("utf-8", "surrogatepass")
    return f"{content}{zlib.crc32(row):08x}"


def _is_text(path: str) -> bool:
    """Return whether SQLite can hold the path; a file name may be any bytes."""
    try:
        return path.isascii() or bool(path.encode("utf-8"))
    except UnicodeEncodeError:
        return False
