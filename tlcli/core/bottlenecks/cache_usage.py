"""What the bottleneck cache holds for each backbone, and how it is made smaller.

Rows are deleted in transactions and the file stays where it is: a process that has it open goes on
with what it read, and computes again what it does not find.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tlcli.core.bottlenecks.cache_database import FILE_NAME, StoreDatabase
from tlcli.errors import CacheError

MAPS = "/places"
"""Ends the fingerprint of feature maps that a report stores; it begins with the backbone's."""

_USES = (
    "CREATE TABLE IF NOT EXISTS uses "
    "(fingerprint TEXT PRIMARY KEY, name TEXT NOT NULL, used REAL NOT NULL) WITHOUT ROWID"
)
# Rows deleted in one transaction: another process waits no longer than for these.
_ROWS_AT_ONCE = 20_000


@dataclass(frozen=True)
class StoredVectors:
    """The vectors of one backbone.

    Attributes:
        fingerprint: of the backbone.
        name: of the backbone; "" where an older version stored them.
        count: vectors.
        size: bytes of the file that they take, in proportion.
        used: time of the last use, seconds since the epoch; 0.0 where it is not known.
    """

    fingerprint: str
    name: str
    count: int
    size: int
    used: float

    @property
    def is_maps(self) -> bool:
        """Whether these are feature maps, of which heat maps are made."""
        return self.fingerprint.endswith(MAPS)


def mark_used(database: StoreDatabase, fingerprint: str, name: str) -> None:
    """Store when and by what name a backbone was used; a cache that cannot be written stays."""

    def write(connection: sqlite3.Connection) -> None:
        connection.execute(_USES)
        connection.execute(
            "INSERT OR REPLACE INTO uses VALUES (?, ?, ?)", (fingerprint, name, time.time())
        )

    with contextlib.suppress(CacheError):
        database.write(write)


def stored_vectors(folder: Path) -> list[StoredVectors]:
    """Return what the cache in a folder holds, the largest first; empty where there is none.

    Raises:
        CacheError: it cannot be read.
    """
    if not (folder / FILE_NAME).is_file():
        return []
    database = StoreDatabase(folder)
    try:
        return database.run(lambda connection: _stored(connection, _file_size(folder)))
    finally:
        database.close()


def _file_size(folder: Path) -> int:
    total = 0
    for suffix in ("", "-wal"):
        with contextlib.suppress(OSError):
            total += (folder / f"{FILE_NAME}{suffix}").stat().st_size
    return total


def _stored(connection: sqlite3.Connection, size: int) -> list[StoredVectors]:
    has_uses = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'uses'").fetchone()
    uses = connection.execute("SELECT fingerprint, name, used FROM uses") if has_uses else ()
    known = {fingerprint: (name, used) for fingerprint, name, used in uses}
    rows = connection.execute(
        "SELECT fingerprint, count(*), sum(length(vector)) FROM vectors "
        "JOIN backbones ON backbones.id = vectors.backbone GROUP BY fingerprint"
    ).fetchall()
    total = sum(length or 0 for _, _, length in rows) or 1
    found = [
        StoredVectors(
            fingerprint,
            *_named(
                known.get(fingerprint.removesuffix(MAPS)), count, size * (length or 0) // total
            ),
        )
        for fingerprint, count, length in rows
    ]
    return sorted(found, key=lambda each: -each.size)


def _named(known: tuple[str, float] | None, count: int, size: int) -> tuple[str, int, int, float]:
    name, used = known or ("", 0.0)
    return name, count, size, used


def remove_vectors(
    folder: Path, fingerprints: Collection[str] | None = None, *, keep: int = 0
) -> int:
    """Remove vectors, those stored first before others, and return the bytes that are freed.

    Args:
        folder: of the cache.
        fingerprints: of the backbones; None: all, and what is known of files.
        keep: vectors of each backbone that stay.

    Raises:
        CacheError: the cache cannot be written.
    """
    if not (folder / FILE_NAME).is_file():
        return 0
    before = _file_size(folder)
    database = StoreDatabase(folder)
    try:
        stored = database.run(lambda connection: _stored(connection, before))
        for each in stored:
            if fingerprints is None or each.fingerprint in fingerprints:
                _delete(database, each.fingerprint, each.count - keep)
        if fingerprints is None:
            database.write(_forget_files)
        # Where another process has the file open, its pages are free for later vectors.
        with contextlib.suppress(CacheError):
            database.run(lambda connection: connection.execute("VACUUM").fetchall())
        with contextlib.suppress(CacheError):
            database.run(
                lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            )
    finally:
        database.close()
    return max(0, before - _file_size(folder))


def _forget_files(connection: sqlite3.Connection) -> None:
    for table in ("files", "failures"):
        connection.execute(f"DELETE FROM {table}")


def _delete(database: StoreDatabase, fingerprint: str, count: int) -> None:
    statement = (
        "DELETE FROM vectors WHERE rowid IN (SELECT vectors.rowid FROM vectors "
        "JOIN backbones ON backbones.id = vectors.backbone WHERE fingerprint = ? "
        "ORDER BY vectors.rowid LIMIT ?)"
    )
    for start in range(0, count, _ROWS_AT_ONCE):
        parameters = (fingerprint, min(count - start, _ROWS_AT_ONCE))

        def some(connection: sqlite3.Connection, parameters: tuple[str, int] = parameters) -> None:
            connection.execute(statement, parameters)

        database.write(some)
