"""One part file: the vectors of the images of one shard, with what is known of them.

Columns: ``name`` (of the image, relative to ``root``), ``mark`` (state of the file when it was
read), ``content`` (SHA-256, 32 bytes), ``label``, ``split`` (where the data give it), ``view``
(empty for the undistorted image) and ``vector`` (D values of float32). The footer has the
`PartFacts` and the sums of the vectors. Pages have checksums, so that damage is found on reading.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Array
from tlcli.errors import CacheError
from tlcli.storage.locations import Entry, Location, is_url, shown
from tlcli.storage.objects import read, read_end, write
from tlcli.system.atomic_files import atomic_path

FORMAT = 1
SUFFIX = ".parquet"
# Row groups are read one at a time: 1.3 MB of vectors of EfficientNet-Lite0.
_ROWS_IN_GROUP = 256
_FACTS, _SUMS = b"tlcli", b"tlcli.sums"
_VALUES = "vector.list.element"
_MAGIC = b"PAR1"
# What is read of an object for its footer: that of EfficientNet-Lite0 has 80 KB.
_USUAL_FOOTER = 1 << 18

Contents = npt.NDArray[np.uint8]
"""SHA-256 of images, [N, 32]."""


class Unreadable(NamedTuple):
    """An image without a vector.

    Attributes:
        name: of the image.
        content: SHA-256 in hexadecimal; "" where the file cannot be read.
        reason: why there is no vector.
        mark: state of the file; "" where it cannot be looked at.
    """

    name: str
    content: str
    reason: str
    mark: str


@dataclass(frozen=True)
class PartFacts:
    """What the footer of a part says.

    Attributes:
        key: of the shard, see `tlcli.shards.planning`.
        fingerprint: of the backbone.
        backbone: its name.
        options: of the shard, as text.
        root: the folder in which the names begin.
        first: the least name, as text is compared.
        last: the greatest.
        rows: of the table.
        bottleneck_size: D.
        reader: the versions that found images unreadable.
        unreadable: images without a vector.
        format: of the file.
    """

    key: str
    fingerprint: str
    backbone: str
    options: str
    root: str
    first: str
    last: str
    rows: int
    bottleneck_size: int
    reader: str = ""
    unreadable: tuple[Unreadable, ...] = ()
    format: int = FORMAT


@dataclass(frozen=True)
class PartRows:
    """The rows of a part; all columns have N values.

    Attributes:
        names: of the images.
        marks: state of each file; "" where it was not reliable.
        contents: SHA-256 in hexadecimal.
        labels: of the images.
        splits: "training", "validation" or "testing" where the data give it, else "".
        views: keys of distorted views; "" for the undistorted image.
        vectors: float32 [N, D].
    """

    names: Sequence[str]
    marks: Sequence[str]
    contents: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[str]
    views: Sequence[str]
    vectors: Array


@dataclass(frozen=True)
class PartSums:
    """Sums over the undistorted rows of a part.

    Attributes:
        count: of these rows.
        values: sum of the vectors, float64 [D].
        squares: sum of their squares, float64 [D].
    """

    count: int
    values: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]


def import_pyarrow() -> Any:
    """Return the package pyarrow with its submodule ``parquet``.

    Raises:
        CacheError: it is not installed, or it does not fit the rest.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        # Newer versions refuse older NumPys, which pip does not know.
        need = "part files of vectors need the package pyarrow"
        if error.name != "pyarrow":
            need += f", and the one that is installed cannot be used ({error})"
        raise CacheError(f"{need}: pip install --upgrade 'tlcli[shards]'") from error
    return pyarrow


def write_part(path: Location, rows: PartRows, facts: PartFacts) -> None:
    """Write a part so that it appears whole; the same rows and facts give the same bytes.

    Args:
        path: a file, or an object in a bucket.
        rows: of the table.
        facts: for the footer.

    Raises:
        OutputError: it cannot be written.
    """
    pyarrow = import_pyarrow()
    table = _table(pyarrow, rows, facts)
    if is_url(path):
        sink = pyarrow.BufferOutputStream()
        _write_table(pyarrow, table, sink)
        write(path, sink.getvalue().to_pybytes())
        return
    with atomic_path(Path(path)) as temporary:
        _write_table(pyarrow, table, temporary)


def _write_table(pyarrow: Any, table: Any, sink: Any) -> None:
    pyarrow.parquet.write_table(
        table,
        sink,
        row_group_size=_ROWS_IN_GROUP,
        compression={
            **dict.fromkeys(("name", "mark", "label", "split", "view"), "ZSTD"),
            # Neither hashes nor floats become smaller.
            **dict.fromkeys(("content", _VALUES), "NONE"),
        },
        use_dictionary=["label", "split", "view"],
        write_statistics=["name"],
        write_page_checksum=True,
    )


def _table(pyarrow: Any, rows: PartRows, facts: PartFacts) -> Any:
    vectors = np.ascontiguousarray(rows.vectors, dtype=np.float32)
    plain = np.array([not view for view in rows.views], np.bool_)
    exact = vectors[plain].astype(np.float64)
    sums = np.concatenate([[len(exact)], exact.sum(0), (exact * exact).sum(0)])
    text = pyarrow.string()
    # Without nulls it is read twice as fast.
    vector = pyarrow.list_(
        pyarrow.field("element", pyarrow.float32(), nullable=False), facts.bottleneck_size
    )
    columns = {
        "name": pyarrow.array(list(map(str, rows.names)), text),
        "mark": pyarrow.array(rows.marks, text),
        "content": pyarrow.array(
            [bytes.fromhex(content) for content in rows.contents], pyarrow.binary(32)
        ),
        "label": pyarrow.array(rows.labels, text),
        "split": pyarrow.array(rows.splits, text),
        "view": pyarrow.array(rows.views, text),
        "vector": pyarrow.FixedSizeListArray.from_arrays(
            pyarrow.array(vectors.reshape(-1)), type=vector
        ),
    }
    fields = [pyarrow.field(name, each.type, nullable=False) for name, each in columns.items()]
    metadata = {
        _FACTS: json.dumps(asdict(facts)),
        _SUMS: base64.b64encode(sums.astype("<f8").tobytes()),
    }
    return pyarrow.table(list(columns.values()), schema=pyarrow.schema(fields, metadata))


class Part:
    """An opened part file; its columns are read when they are asked for.

    Args:
        path: of the file, or of an object in a bucket, which is read whole.

    Raises:
        DamagedPartError: it is no part, of another format or damaged.
        StorageError: the object cannot be read.
        CacheError: pyarrow is missing.
    """

    def __init__(self, path: Location) -> None:
        pyarrow = import_pyarrow()
        self.path = path
        source = pyarrow.BufferReader(read(path)) if is_url(path) else path
        with _damage(path):
            self._file = pyarrow.parquet.ParquetFile(
                source, memory_map=source is path, page_checksum_verification=True
            )
            self.facts, self._sums = _footer(self._file.schema_arrow)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def sums(self) -> PartSums:
        """The sums in the footer."""
        values = np.frombuffer(base64.b64decode(self._sums), "<f8")
        size = self.facts.bottleneck_size
        return PartSums(int(values[0]), values[1 : 1 + size], values[1 + size :])

    def texts(self, name: str) -> list[str]:
        """Return a column of text, [N]."""
        with _damage(self.path):
            values: list[str] = self._file.read([name]).column(0).to_pylist()
            return values

    def contents(self) -> Contents:
        """Return the column of contents, [N, 32]."""
        with _damage(self.path):
            column = self._file.read(["content"]).column(0)
            parts = [np.frombuffer(_values(chunk, 32), np.uint8) for chunk in column.chunks]
        return np.concatenate(parts).reshape(-1, 32) if parts else np.zeros((0, 32), np.uint8)

    def vectors(self, rows: npt.NDArray[np.int64]) -> Iterator[tuple[slice, Array]]:
        """Yield the vectors of some rows, group by group of the file.

        Args:
            rows: rising numbers.

        Yields:
            The place within ``rows``, and its vectors, float32 [n, D].
        """
        start = 0
        with _damage(self.path):
            for group in range(self._file.num_row_groups):
                count = self._file.metadata.row_group(group).num_rows
                low, high = np.searchsorted(rows, [start, start + count])
                if high > low:
                    column = self._file.read_row_group(group, columns=["vector"]).column(0)
                    values = column.combine_chunks().flatten().to_numpy()
                    matrix = values.reshape(count, self.facts.bottleneck_size)
                    yield slice(int(low), int(high)), matrix[rows[low:high] - start]
                start += count


def part_facts(path: Location) -> PartFacts:
    """Return what the footer of a part says; of an object only the footer is read.

    Raises:
        DamagedPartError: it is no part, of another format or damaged.
        StorageError: the object cannot be read.
        CacheError: pyarrow is missing.
    """
    pyarrow = import_pyarrow()
    if not isinstance(path, Entry) or not path.size:
        part = Part(path)
        part.close()
        return part.facts
    # The end of a file of Parquet: metadata, their length and four letters.
    count = _USUAL_FOOTER
    end = read_end(path, count)
    with _damage(path):
        length = int.from_bytes(end[-8:-4], "little") + 8
        if len(end) < length <= path.size:
            end = read_end(path, length)
        source = pyarrow.BufferReader(_MAGIC + end[-length:])
        return _footer(pyarrow.parquet.ParquetFile(source).schema_arrow)[0]


def _footer(schema: Any) -> tuple[PartFacts, bytes]:
    """Return the facts and the sums in a schema."""
    metadata = schema.metadata or {}
    known = json.loads(metadata.get(_FACTS, b"{}"))
    if known.get("format") != FORMAT:
        raise ValueError("another format")
    known["unreadable"] = tuple(Unreadable(*each) for each in known["unreadable"])
    return PartFacts(**known), metadata[_SUMS]


class DamagedPartError(CacheError):
    """A part file that cannot be used; its vectors are computed again."""


class _damage:
    """Turn what pyarrow raises on a damaged file into `DamagedPartError`."""

    def __init__(self, path: Location) -> None:
        self._path = shown(path)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Errors of pyarrow are of these types.
        if isinstance(error, (ValueError, KeyError, TypeError, OSError, NotImplementedError)):
            raise DamagedPartError(f"{self._path} cannot be read: {error}") from error


def _values(chunk: Any, width: int) -> memoryview:
    buffer = memoryview(chunk.buffers()[1])
    start = chunk.offset * width
    return buffer[start : start + len(chunk) * width]
