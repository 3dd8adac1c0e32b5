"""The SQLite file of the bottleneck cache: opened, shared, repaired when it is damaged.

Processes of one machine share the file through SQLite's write-ahead log. On a network drive,
where that would corrupt it, the older rollback journal and its locks are used: slower, and safe
for several machines. A drive without file locks is refused with an error: no way of writing is
safe there, and silently doing without the cache would cost more than it saves.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tlcli.errors import CacheError
from tlcli.system.atomic_files import write_reason
from tlcli.system.drives import is_network_drive, supports_locks

logger = logging.getLogger("tlcli")

Result = TypeVar("Result")

FILE_NAME = "bottlenecks.sqlite"
# Another process may be in the middle of a long write on a slow disk.
BUSY_SECONDS = 60.0
# SQLite took at most 999 parameters before 3.32.
CHUNK = 500
# SQLite's messages about a damaged file contain one of these.
_DAMAGE = (
    *("malformed", "not a database", "no such table", "no such column", "has no column"),
    *("Could not decode", "unsupported file format"),
)
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


class StoreDatabase:
    """The file in one folder, usable from several threads and processes.

    Args:
        folder: of the file, made where missing.

    Raises:
        CacheError: the folder or file cannot be opened or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self.error(write_reason(error)) from error
        if not supports_locks(folder):
            raise CacheError(
                f"the bottleneck cache in {folder} cannot be used: its drive has no file "
                "locks, and two runs at once would corrupt it; name a folder of a local drive with "
                "--bottleneck_dir, or for all caches in TLCLI_CACHE_DIR"
            )
        try:
            self._connection = self._open()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not _is_damage(error):
                raise self.error(error) from error
            self._replace_damaged()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            # In WAL mode readers continue while one process writes, through shared memory.
            # Machines share none: on a network drive the rollback journal uses locks alone.
            shared = is_network_drive(self.folder)
            mode = "DELETE" if shared else "WAL"
            _retry_while_locked(
                lambda: connection.execute(f"PRAGMA journal_mode={mode}").fetchone()
            )
            # A power cut may cost the last seconds, never the file.
            connection.execute(f"PRAGMA synchronous={'FULL' if shared else 'NORMAL'}")
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > _SCHEMA_VERSION:
                raise self.error("a newer version of tlcli made it")
            if version < _SCHEMA_VERSION:
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    for statement in _SCHEMA.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
            for table in ("files", "backbones", "vectors", "failures"):
                connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _replace_damaged(self) -> None:
        """Move a damaged database aside and create an empty one."""
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
                "The bottleneck cache was damaged; it was moved to %s, and a new one was started.",
                aside,
            )
            self._connection = self._open()
        except OSError as error:
            raise self.error(error.strerror or str(error)) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self.error(error) from error

    def error(self, reason: object) -> CacheError:
        """Return the error with the reason why the cache cannot be used."""
        existing = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        if existing.is_dir() and not os.access(existing, os.W_OK | os.X_OK):
            # SQLite reports only "unable to open database file".
            return CacheError(
                f"the bottleneck cache in {self.folder} cannot be used: nothing can be written "
                "there; name a folder that can be written with --bottleneck_dir, or for all caches "
                "in TLCLI_CACHE_DIR"
            )
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

    def run(self, action: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run ``action``; where the file is damaged, once more on a new one.

        Raises:
            CacheError: the file cannot be read, or is closed.
        """
        with self._lock:
            for attempt in range(2):
                if self._connection is None:
                    raise self.error("it is closed")
                try:
                    return action(self._connection)
                except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                    if attempt or not _is_damage(error):
                        raise self.error(error) from error
                    self._replace_damaged()
        raise AssertionError("unreachable")

    def write(self, action: Callable[[sqlite3.Connection], object]) -> None:
        """Run ``action`` in one transaction.

        Raises:
            CacheError: the file cannot be written, or is closed.
        """

        def transaction(connection: sqlite3.Connection) -> None:
            with connection:
                # IMMEDIATE: SQLite does not wait for a lock that a transaction takes late.
                connection.execute("BEGIN IMMEDIATE")
                action(connection)

        self.run(transaction)


def _is_damage(error: Exception) -> bool:
    """Return whether the file itself is bad (Python 3.10 has no error codes)."""
    # Text of the schema, or of an error, may be damaged too.
    return isinstance(error, UnicodeDecodeError) or any(sign in str(error) for sign in _DAMAGE)


def _retry_while_locked(action: Callable[[], Result]) -> Result:
    """Repeat ``action`` while another process has the lock; SQLite itself does not always wait."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def select_in(
    connection: sqlite3.Connection, select: str, parameters: Sequence[Any], values: Sequence[str]
) -> Iterator[Any]:
    """Yield the rows of ``select`` IN ``values``, as many values at a time as a statement takes.

    Args:
        connection: to the database.
        select: a statement up to the column that is one of the values.
        parameters: of the statement so far.
        values: any number of them.
    """
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK]
        marks = ",".join("?" * len(chunk))
        yield from connection.execute(f"{select} IN ({marks})", [*parameters, *chunk])
