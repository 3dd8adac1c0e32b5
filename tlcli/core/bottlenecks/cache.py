"""The bottleneck cache: one SQLite file with the content hashes of files and their vectors.

Beside it may lie part files, which shards are computed into; they are read, and never written here.
The key of a vector is (backbone fingerprint, view, SHA-256 of the image's content), so another
image, network, layer, size or preprocessing never finds it. What cannot be trusted (wrong
length, wrong checksum, damaged file) is a miss, never an error.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Array
from tlcli.core.bottlenecks.cache_database import CHUNK, StoreDatabase, select_in
from tlcli.core.bottlenecks.cache_files import file_contents
from tlcli.core.bottlenecks.cache_usage import mark_used
from tlcli.core.images.preprocessing import PREPROCESSING_VERSION
from tlcli.core.parts.part_cache import PartIndex, Parts, part_files
from tlcli.core.parts.part_copies import copies
from tlcli.errors import ImageError
from tlcli.progress import Progress
from tlcli.storage.locations import Location, is_url, shown
from tlcli.system.cache_folders import bottleneck_folder
from tlcli.system.closing import Closing
from tlcli.system.gc_pause import gc_paused
from tlcli.system.mapped_arrays import touched

_log = logging.getLogger("tlcli")
_LARGEST_VECTOR = 1 << 24


@functools.cache
def _on_this_machine(folder: Path) -> Path:
    """Return a folder for the cache: SQLite needs a file that it can lock and change in place."""
    if not is_url(folder):
        return folder
    _log.info(
        "--bottleneck_dir %s is in a bucket, where no SQLite file can be: that and copies of part "
        "files are in %s here",
        *(shown(folder), bottleneck_folder()),
    )
    return bottleneck_folder()


def reader() -> str:
    """Return the versions that decide whether a file can be decoded: tlcli's and Pillow's."""
    import PIL

    return f"{PREPROCESSING_VERSION}/pillow {PIL.__version__}"


def _checksum(fingerprint: str, view: str, content: str, vector: bytes) -> int:
    key = f"{fingerprint}|{view}|{content}|".encode()
    return zlib.crc32(vector, zlib.crc32(key))


class BottleneckStore(Closing):
    """The cache in one folder; a context manager, usable from several threads and processes.

    Args:
        folder: of the database file, made where missing; None takes the default folder. In a
            bucket it has part files alone.
        fingerprints: of the backbones whose part files are read from a bucket; None: all.

    Raises:
        CacheError: the folder or file cannot be opened or written.
        StorageError: a bucket cannot be listed or read.
    """

    def __init__(
        self, folder: Path | None = None, fingerprints: Iterable[str] | None = None
    ) -> None:
        self.folder = bottleneck_folder() if folder is None else _on_this_machine(Path(folder))
        self._database = StoreDatabase(self.folder)
        self.path = self._database.path
        self._parts: Mapping[str, Sequence[Location]] = (
            part_files(self.folder)
            if folder is None or not is_url(folder)
            else copies(Path(folder), fingerprints, self.folder)
        )
        self._index: PartIndex | None = None

    def close(self) -> None:
        """Close the database; safe to call twice."""
        self._database.close()

    # -- contents of files

    @gc_paused()
    def contents(
        self, paths: Sequence[Path | str], progress: Progress | None = None
    ) -> list[str | ImageError]:
        """Return the SHA-256 of each file's content, or why it cannot be read; in parallel.

        Files that are safely unchanged are not read again.

        Args:
            paths: any files.
            progress: called with ("hashing", done, total).
        """
        return file_contents(self._database, paths, progress, self._part_index().known)

    def _part_index(self) -> PartIndex:
        if self._index is None:
            self._index = PartIndex(chain.from_iterable(self._parts.values()))
        return self._index

    def _parts_of(self, fingerprint: str) -> Parts:
        return Parts(self._parts.get(fingerprint, ()))

    # -- vectors

    def get(self, fingerprint: str, view: str | None, contents: Iterable[str]) -> dict[str, Array]:
        """Return the stored vectors, float32 [D] each, of those contents that have one.

        The arguments are those of `fill`.
        """
        wanted = list(dict.fromkeys(contents))
        matrix = np.empty((len(wanted), self.bottleneck_size(fingerprint) or 0), np.float32)
        found = self.fill(fingerprint, view, wanted, matrix)
        return {content: matrix[row].copy() for row, content in enumerate(wanted) if found[row]}

    @gc_paused()
    def fill(
        self,
        fingerprint: str,
        view: str | None,
        contents: Sequence[str],
        matrix: Array,
        rows: Sequence[int] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """Write the stored vectors into a matrix, without another copy of them in memory.

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
            for start in range(0, len(contents), CHUNK):
                positions: dict[str, list[int]] = {}
                for index in range(start, min(start + CHUNK, len(contents))):
                    positions.setdefault(contents[index], []).append(index)
                for content, checksum, blob in select_in(
                    connection,
                    "SELECT content, checksum, vector FROM vectors "
                    "WHERE backbone = ? AND view = ? AND content",
                    [backbone[0], name],
                    list(positions),
                ):
                    if (
                        isinstance(blob, bytes)
                        and len(blob) == size
                        and checksum == _checksum(fingerprint, name, content, blob)
                    ):
                        vector = np.frombuffer(blob, "<f4")
                        for index in positions[content]:
                            matrix[index if rows is None else rows[index]] = vector
                            found[index] = True
                touched(matrix, len(positions) * size)

        self._database.run(read)
        parts = self._parts_of(fingerprint)
        if parts.files and not found.all():
            missing = np.flatnonzero(~found).tolist()
            wanted = [contents[index] for index in missing]
            places = missing if rows is None else [rows[index] for index in missing]
            found[missing] = parts.fill(name, wanted, matrix, places)
        return found

    def count(self, fingerprint: str, contents: Sequence[str]) -> int:
        """Return how many of different contents have a vector of the undistorted image.

        Faster than `fill`: no vector is read, so damaged ones count too. It is a lower bound where
        some are in the database and others in part files.
        """
        select = "SELECT count(*) FROM vectors WHERE backbone = ? AND view = '' AND content"

        def read(connection: sqlite3.Connection) -> int:
            backbone = _backbone(connection, fingerprint)
            if backbone is None:
                return 0
            return sum(n for (n,) in select_in(connection, select, [backbone[0]], contents))

        stored = self._database.run(read)
        # A content may be in both.
        parts = self._parts_of(fingerprint)
        return max(stored, int(parts.count(contents).sum())) if parts.files else stored

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
            if stored != size and not _has_vector(connection, fingerprint, number, stored):
                # No undamaged vector has that size, so the size itself is damaged.
                connection.execute(
                    "UPDATE backbones SET bottleneck_size = ? WHERE id = ?", (size, number)
                )
                stored = size
            if any(len(blob) != 4 * stored for blob in blobs.values()):
                raise self._database.error(f"it contains vectors of {stored} values, not {size}")
            connection.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)",
                [
                    (number, name, content, _checksum(fingerprint, name, content, blob), blob)
                    for content, blob in blobs.items()
                ],
            )

        self._database.write(write)

    def mark_used(self, fingerprint: str, name: str) -> None:
        """Store when a backbone was used, and its name; both are for `tlcli cache`."""
        mark_used(self._database, fingerprint, name)

    def bottleneck_size(self, fingerprint: str) -> int | None:
        """Return D of the vectors stored for a backbone, or None where there are none."""
        found = self._database.run(lambda connection: _backbone(connection, fingerprint))
        if found is None or not found[1]:
            return self._parts_of(fingerprint).bottleneck_size()
        return found[1]

    # -- images that cannot be read

    def record_failure(self, content: str, reason: str) -> None:
        """Store that this version cannot decode this content."""
        row = (content, reader(), reason)
        self._database.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", row
            )
        )

    def failures(self, contents: Iterable[str]) -> dict[str, str]:
        """Return why contents could not be decoded, for those with a stored reason."""
        select = "SELECT content, reason FROM failures WHERE reader = ? AND content"
        wanted = list(dict.fromkeys(contents))
        found = self._database.run(
            lambda connection: dict(select_in(connection, select, [reader()], wanted))
        )
        if self._parts and wanted:
            known = self._part_index().failures(reader())
            found.update({content: known[content] for content in wanted if content in known})
        return found


def _backbone(connection: sqlite3.Connection, fingerprint: str) -> tuple[int, int] | None:
    row = connection.execute(
        "SELECT id, bottleneck_size FROM backbones WHERE fingerprint = ?", (fingerprint,)
    ).fetchone()
    if row is None:
        return None
    number, size = row
    return number, size if isinstance(size, int) and 0 < size <= _LARGEST_VECTOR else 0


def _has_vector(connection: sqlite3.Connection, fingerprint: str, backbone: int, size: int) -> bool:
    """Return whether an undamaged vector of a backbone has ``size`` values."""
    rows = connection.execute(
        "SELECT view, content, checksum, vector FROM vectors "
        "WHERE backbone = ? AND length(vector) = ?",
        (backbone, 4 * size),
    )
    return any(
        isinstance(vector, bytes) and checksum == _checksum(fingerprint, view, content, vector)
        for view, content, checksum, vector in rows
    )
