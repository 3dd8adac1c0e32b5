"""The bottleneck cache: one SQLite file that knows contents of files and their vectors.

A vector is found by (backbone fingerprint, view, SHA-256 of the image's content), so it can
never be met by another image, network, layer, size or preprocessing. What cannot be trusted
(wrong length, wrong checksum, damaged file) is a miss, never an error.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from tlcli.core.collection import collection_paused
from tlcli.core.contents import STAGE, FileState, Known, Progress, hash_files
from tlcli.core.images import PREPROCESSING_VERSION
from tlcli.core.locations import bottleneck_folder
from tlcli.errors import CacheError, ImageError

logger = logging.getLogger("tlcli")

Array = np.ndarray[Any, Any]
Result = TypeVar("Result")

FILE_NAME = "bottlenecks.sqlite"
# Another process may be in the middle of a long write on a slow disk.
BUSY_SECONDS = 60.0
# SQLite took at most 999 parameters before 3.32.
_CHUNK = 500
# Files looked up and hashed between two writes: a kill loses no more, and memory stays flat.
_FILES_AT_ONCE = 8000
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, inode TEXT NOT NULL, content TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS backbones (
    id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE, bottleneck_size INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS vectors (
    backbone INTEGER NOT NULL, view TEXT NOT NULL, content TEXT NOT NULL,
    checksum INTEGER NOT NULL, vector BLOB NOT NULL,
    PRIMARY KEY (backbone, view, content)
);
CREATE TABLE IF NOT EXISTS failures (
    content TEXT NOT NULL, reader TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (content, reader)
) WITHOUT ROWID;
"""


def _reader() -> str:
    """Return what decides whether a file can be decoded: our version and Pillow's."""
    import PIL

    return f"{PREPROCESSING_VERSION}/pillow {PIL.__version__}"


def _checksum(fingerprint: str, view: str, content: str, vector: bytes) -> int:
    key = f"{fingerprint}|{view}|{content}|".encode()
    return zlib.crc32(vector, zlib.crc32(key))


class BottleneckStore:
    """The cache in one folder; a context manager, usable from several threads and processes.

    Args:
        folder: where the file lies or will be made; None takes the default folder.

    Raises:
        CacheError: the folder or file cannot be opened or written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = bottleneck_folder() if folder is None else Path(folder)
        self.path = self.folder / FILE_NAME
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._connect()

    # -- opening and repairing

    def _connect(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        try:
            self._connection = self._open()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not _is_damage(error):
                raise self._error(error) from error
            self._replace_damaged()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            # Readers go on while one writes. Not possible on some network drives: the old
            # journal does there.
            _patiently(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone())
            # A power cut may cost the last seconds, never the file.
            connection.execute("PRAGMA synchronous=NORMAL")
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > _SCHEMA_VERSION:
                raise self._error("a newer version of tlcli made it")
            if version < _SCHEMA_VERSION:
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
                connection.execute("COMMIT")
            for table in ("files", "backbones", "vectors", "failures"):
                connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _replace_damaged(self) -> None:
        """Move a damaged database aside and start anew."""
        self.close()
        try:
            number = 1
            while (aside := self.path.with_name(f"{FILE_NAME}.damaged-{number}")).exists():
                number += 1
            self.path.rename(aside)
            for suffix in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self.path.with_name(FILE_NAME + suffix).unlink()
            logger.warning(
                "The bottleneck cache was damaged; it is kept as %s and started anew.", aside
            )
            self._connection = self._open()
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        except sqlite3.DatabaseError as error:
            raise self._error(error) from error

    def _error(self, reason: object) -> CacheError:
        return CacheError(
            f"the bottleneck cache in {self.folder} cannot be used: {reason}; "
            "name another folder with --bottleneck_dir or make room there"
        )

    def close(self) -> None:
        """Close the database; safe to call twice."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()

    def __enter__(self) -> BottleneckStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        """Carry out ``action``; on a damaged file once more, on a new one."""
        with self._lock:
            for attempt in range(2):
                if self._connection is None:
                    raise self._error("it is closed")
                try:
                    return action(self._connection)
                except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                    if attempt or not _is_damage(error):
                        raise self._error(error) from error
                    self._replace_damaged()
        raise AssertionError("unreachable")

    def _write(self, action: Callable[[sqlite3.Connection], None]) -> None:
        """Carry out ``action`` in one transaction."""

        def transaction(connection: sqlite3.Connection) -> None:
            # IMMEDIATE: a lock that is taken late cannot be waited for.
            connection.execute("BEGIN IMMEDIATE")
            try:
                action(connection)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

        self._run(transaction)

    # -- contents of files

    def content(self, path: Path) -> str:
        """Return the SHA-256 of a file's content, from the cache when it is safely unchanged.

        Raises:
            ImageError: the file cannot be read; the reason alone.
        """
        (found,) = self.contents([path])
        if isinstance(found, ImageError):
            raise found
        return found

    @collection_paused()
    def contents(
        self, paths: Sequence[Path | str], progress: Progress | None = None
    ) -> list[str | ImageError]:
        """Return `content` of each file, or why it cannot be read; in parallel.

        Args:
            paths: any files.
            progress: called with ("hashing", done, total).
        """
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
                results += hash_files(
                    part, self._known_files(keys), keys, seen, progress and report
                )
            finally:  # an interrupted run keeps what it hashed
                self._remember_files(seen)
        return results

    def _known_files(self, keys: Sequence[str]) -> dict[str, Known]:
        known: dict[str, Known] = {}

        def read(connection: sqlite3.Connection) -> None:
            for chunk in _chunks([key for key in keys if _is_text(key)]):
                rows = connection.execute(
                    "SELECT path, size, mtime_ns, ctime_ns, inode, content FROM files "
                    f"WHERE path IN ({_marks(chunk)})",
                    chunk,
                )
                for path, size, mtime_ns, ctime_ns, inode, content in rows:
                    if isinstance(content, str) and len(content) == 64:
                        known[path] = (FileState(size, mtime_ns, ctime_ns, inode), content)

        self._run(read)
        return known

    def _remember_files(self, seen: Mapping[str, Known]) -> None:
        rows = [
            (path, state.size, state.mtime_ns, state.ctime_ns, state.inode, content)
            for path, (state, content) in seen.items()
            if _is_text(path)
        ]
        if rows:
            self._write(
                lambda connection: _many(
                    connection, "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows
                )
            )

    # -- vectors

    def get(self, fingerprint: str, view: str | None, contents: Iterable[str]) -> dict[str, Array]:
        """Return the stored vectors, float32 [D] each, of those contents that have one.

        Args:
            fingerprint: of the backbone.
            view: name of the distorted view; None for the undistorted image.
            contents: SHA-256 of images.
        """
        wanted = list(dict.fromkeys(contents))
        matrix = np.empty((len(wanted), self.bottleneck_size(fingerprint) or 0), np.float32)
        found = self.fill(fingerprint, view, wanted, matrix)
        return {content: matrix[row].copy() for row, content in enumerate(wanted) if found[row]}

    @collection_paused()
    def fill(
        self,
        fingerprint: str,
        view: str | None,
        contents: Sequence[str],
        matrix: Array,
        rows: Sequence[int] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Write the stored vectors into a matrix; nothing else of them is kept in memory.

        Args:
            fingerprint: of the backbone.
            view: name of the distorted view; None for the undistorted image.
            contents: SHA-256 of images, [N]; the same may come more than once.
            matrix: float32 [M, D] to write into; a row without a vector may be left with
                any values.
            rows: the row of each content; None: row i for content i.

        Returns:
            Whether each content had a vector, [N].
        """
        name = view or ""
        found = np.zeros(len(contents), np.bool_)
        size = 4 * matrix.shape[1]

        def read(connection: sqlite3.Connection) -> None:
            found[:] = False
            backbone = _backbone(connection, fingerprint)
            if backbone is None or 4 * backbone[1] != size:
                return
            for start in range(0, len(contents), _CHUNK):
                places: dict[str, list[int]] = {}
                for index in range(start, min(start + _CHUNK, len(contents))):
                    places.setdefault(contents[index], []).append(index)
                chunk = list(places)
                for content, checksum, blob in connection.execute(
                    "SELECT content, checksum, vector FROM vectors WHERE backbone = ? "
                    f"AND view = ? AND content IN ({_marks(chunk)})",
                    [backbone[0], name, *chunk],
                ):
                    if (
                        isinstance(blob, bytes)
                        and len(blob) == size
                        and checksum == _checksum(fingerprint, name, content, blob)
                    ):
                        vector = np.frombuffer(blob, "<f4")
                        for index in places[content]:
                            matrix[index if rows is None else rows[index]] = vector
                            found[index] = True

        self._run(read)
        return found

    def put(self, fingerprint: str, view: str | None, vectors: Mapping[str, Array]) -> None:
        """Store vectors [D] by content, in one transaction.

        Raises:
            CacheError: the file cannot be written (disk full, read-only), or a vector has
                another length than those stored for this backbone.
        """
        if not vectors:
            return
        name = view or ""
        blobs = {
            content: np.ascontiguousarray(vector, dtype="<f4").tobytes()
            for content, vector in vectors.items()
        }

        def write(connection: sqlite3.Connection) -> None:
            size = len(next(iter(blobs.values()))) // 4
            connection.execute(
                "INSERT OR IGNORE INTO backbones (fingerprint, bottleneck_size) VALUES (?, ?)",
                (fingerprint, size),
            )
            found = _backbone(connection, fingerprint)
            assert found is not None
            number, stored = found
            if any(len(blob) != 4 * stored for blob in blobs.values()):
                raise self._error(f"it holds vectors of {stored} values, not {size}")
            _many(
                connection,
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)",
                [
                    (number, name, content, _checksum(fingerprint, name, content, blob), blob)
                    for content, blob in blobs.items()
                ],
            )

        self._write(write)

    def bottleneck_size(self, fingerprint: str) -> int | None:
        """Return D of the vectors stored for a backbone, or None where there are none."""
        found = self._run(lambda connection: _backbone(connection, fingerprint))
        return None if found is None else found[1]

    # -- images that cannot be read

    def failure(self, content: str) -> str | None:
        """Return why this content could not be decoded, if that is known."""
        row = self._run(
            lambda connection: connection.execute(
                "SELECT reason FROM failures WHERE content = ? AND reader = ?",
                (content, _reader()),
            ).fetchone()
        )
        return None if row is None else str(row[0])

    def record_failure(self, content: str, reason: str) -> None:
        """Remember that this content cannot be decoded by this version."""
        row = (content, _reader(), reason)
        self._write(
            lambda connection: _many(
                connection, "INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", [row]
            )
        )

    def failures(self, contents: Iterable[str]) -> dict[str, str]:
        """Return `failure` of those contents that have one."""
        wanted = list(dict.fromkeys(contents))
        found: dict[str, str] = {}

        def read(connection: sqlite3.Connection) -> None:
            for chunk in _chunks(wanted):
                found.update(
                    connection.execute(
                        "SELECT content, reason FROM failures WHERE reader = ? "
                        f"AND content IN ({_marks(chunk)})",
                        [_reader(), *chunk],
                    ).fetchall()
                )

        self._run(read)
        return found


def _is_damage(error: sqlite3.DatabaseError | UnicodeDecodeError) -> bool:
    """Return whether the file itself is bad (Python 3.10 has no error codes)."""
    if isinstance(error, UnicodeDecodeError):
        return True  # SQLite's own sentence quotes names out of the damaged file
    text = str(error)
    return any(
        sign in text
        for sign in (
            "malformed",
            "not a database",
            "no such table",
            "no such column",
            "has no column",
            "Could not decode",
        )
    )


def _patiently(action: Callable[[], Result]) -> Result:
    """Repeat ``action`` while another process holds the lock; not all waits are SQLite's."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _backbone(connection: sqlite3.Connection, fingerprint: str) -> tuple[int, int] | None:
    row = connection.execute(
        "SELECT id, bottleneck_size FROM backbones WHERE fingerprint = ?", (fingerprint,)
    ).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def _many(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    connection.executemany(statement, rows)


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _marks(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))


def _is_text(path: str) -> bool:
    """Return whether SQLite can hold the path; a file name may be any bytes."""
    try:
        return path.isascii() or bool(path.encode("utf-8"))
    except UnicodeEncodeError:
        return False
