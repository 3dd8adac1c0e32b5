"""Manifests: a table of image paths, labels and, where given, splits, in place of folders.

CSV (commas, semicolons or tabs) and JSON lines are told apart by their content.
"""

from __future__ import annotations

import csv
import io
import json
import os
import posixpath
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlcli.core.data.image_folder import Dataset
from tlcli.core.data.image_list import ImageFile, sorted_images
from tlcli.core.data.image_objects import ObjectName
from tlcli.core.data.label_sets import SEPARATOR, join_labels, labels_in, names_in
from tlcli.core.data.split_folders import KNOWN_NAMES, split_named
from tlcli.core.data.splits import sort_key
from tlcli.core.images.formats import IMAGE_SUFFIXES
from tlcli.errors import DataError, StorageError, UsageError
from tlcli.storage.locations import below, shown, text_of
from tlcli.storage.objects import read
from tlcli.system.gc_pause import gc_paused
from tlcli.text import KNOWN_URLS, counted, has_scheme, is_readable_url, redacted, url_of_path

_LARGEST_FILE = 1 << 30
"""Bytes; ten million rows."""
_COLUMNS = {
    **dict.fromkeys(("path", "image", "image_path", "file", "file_name", "filename"), "path"),
    **dict.fromkeys(("filepath", "file_path"), "path"),
    **dict.fromkeys(("label", "class"), "label"),
    **dict.fromkeys(("split", "set", "subset"), "split"),
}
_WRITTEN_AS = (
    "write one row per image with the columns path, label and, if you like, split, or JSON lines "
    'such as {"path": "cat/1.jpg", "label": "cat"}'
)
_NOT_UTF8 = "not UTF-8 text; save the manifest as UTF-8 (in Excel: CSV UTF-8)"
# xlsx, ods and zip; xls; Parquet; gzip.
_BINARY = (b"PK\3\4", b"\xd0\xcf\x11\xe0", b"PAR1", b"\x1f\x8b")
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}

Cells = tuple[Any, Any, Any]
"""Path, label and split as they were written; None where absent."""


@gc_paused()
def read_manifest(path: Path, minimum_labels: int = 2, several: bool = False) -> Dataset:
    """Return the images that a manifest lists, without opening them.

    Paths are relative to the manifest's folder, absolute, or begin with "~". Labels are kept as
    written, without spaces at their edges. Their order is that of their names.

    Args:
        path: the manifest.
        minimum_labels: the fewest labels.
        several: an image may have several labels ("a|b", a list in JSON, or one row for each), or
            none (an empty label); see `tlcli.core.data.label_sets`.

    Raises:
        DataError: it cannot be read, or a row cannot be used; the message names its line.
        UsageError: it is no manifest but a folder, or a URL.
    """
    path = Path(path)
    text = _text(path)
    rows = _Rows(path, several)
    for line, cells in _cells(path, text):
        rows.add(line, cells)
    return rows.dataset(minimum_labels)


class _Rows:
    """The images of the rows that were read so far."""

    def __init__(self, path: Path, several: bool) -> None:
        self._path, self._several = path, several
        self._is_url = is_readable_url(str(path))
        self._root = text_of(path.parent)
        # With this in front, an absolute path is below the manifest's folder.
        self._prefix = below(path.parent if self._is_url else path.parent.resolve(), "")
        self._images: list[ImageFile] = []
        self._rows: dict[str, int] = {}  # name -> its index in the list
        self._lines = array("q")  # of each image
        self._labels: dict[str, str] = {}  # as written -> without spaces, one object for each
        self._splits: dict[str, str] = {}

    def add(self, line: int, cells: Cells) -> None:
        """Add a row.

        Raises:
            DataError: it cannot be used.
        """
        path, label, split = cells
        given = self._splits.get(split) if isinstance(split, str) else None
        known = self._labels.get(label) if isinstance(label, str) else None
        read = self._label_set if self._several else self._label
        label = known or read(line, label)
        split = given or self._split(line, split)
        name = self._name(line, path)
        count = len(self._images)
        # Addresses may differ in their queries, which names lack.
        row = self._rows.setdefault(getattr(name, "location", "") or name, count)
        if row == count:
            self._lines.append(line)
            self._images.append(ImageFile(self._root, label, name, label, split))
            return
        first, earlier = self._lines[row], self._images[row]
        if self._several:
            label = join_labels(labels_in(label) + labels_in(earlier.label))
            self._images[row] = earlier = replace(earlier, label=label, folder=label)
        for what, one, other in (("label", label, earlier.label), ("split", split, earlier.split)):
            if one != other:
                raise self._error(
                    line,
                    f"{path} has the {what} {one or 'no split'!r}, but {other or 'no split'!r} in "
                    f"line {first}; remove one of the two rows",
                )

    def dataset(self, minimum_labels: int) -> Dataset:
        """Return all images.

        Raises:
            DataError: they have too few labels.
        """
        names = names_in(image.label for image in self._images)
        labels = tuple(sorted(names, key=lambda name: (sort_key(name), name)))
        if len(labels) < minimum_labels:
            only = f"only the label {labels[0]!r}" if labels else "no rows"
            raise DataError(
                f"{self._path} has {only}; a classifier needs at least two labels: list images of "
                "each"
            )
        self._rows.clear()
        has_splits = any(image.split for image in self._images)
        dataset = Dataset(
            sorted_images(self._images),
            labels,
            (),
            shown(self._path),
            "manifest" if has_splits else "names",
        )
        if has_splits and minimum_labels > 1:
            self._check_splits(dataset)
        return dataset

    def _check_splits(self, dataset: Dataset) -> None:
        """Raise DataError for a label without images that could be for training."""
        trained = names_in(
            each.label for each in dataset.images if each.split in (None, "training")
        )
        for label in dataset.labels:
            if label not in trained:
                raise DataError(
                    f"{self._path} has no training images of the label {label!r}; add some, or "
                    "remove its rows"
                )

    def _name(self, line: int, path: Any) -> str:
        """Return the path as images are named: relative to the manifest where it can be."""
        if not isinstance(path, str) or not path.strip():
            raise self._error(line, "the path is empty; each row needs the path of an image")
        name = path.strip()
        if "\0" in name:
            raise self._error(line, "the path has a null character, which no file name has")
        if ":" in name and has_scheme(name):
            return self._object(line, name)
        if self._is_url:
            return ObjectName(posixpath.normpath(name.lstrip("/")))
        if name.startswith("~"):
            name = os.path.expanduser(name)  # noqa: PTH111 - leaves the rest unchanged
        if "\\" in name:
            name = self._with_slashes(name)
        if name.startswith(self._prefix):
            name = name[len(self._prefix) :]
        if "//" in name or "./" in name:  # also within "../"
            name = os.path.normpath(name).replace(os.sep, "/")
        return name

    def _object(self, line: int, url: str) -> str:
        if not is_readable_url(url):
            raise self._error(line, f"{url} is a URL of an unknown kind; known are {KNOWN_URLS}")
        # The query of a signed URL is no part of a name, and names are written to reports.
        name = redacted(url).removesuffix("?...")
        if name.startswith(self._prefix):
            name = name[len(self._prefix) :]
        return ObjectName(name, location=url)

    def _with_slashes(self, name: str) -> str:
        """Return a path that was written on Windows as this system writes it."""
        if os.name != "nt" and os.path.lexists(os.path.join(self._root, name)):  # noqa: PTH118
            return name
        return name.replace("\\", "/")

    def _label_set(self, line: int, label: Any) -> str:
        """Return the labels of a row as one text; "" for none."""
        parts = label
        if label is None or (isinstance(label, str) and not label.strip()):
            return ""
        if not isinstance(label, list):
            parts = label.split(SEPARATOR) if isinstance(label, str) else [label]
        text = join_labels([self._label(line, part) for part in parts])
        if isinstance(label, str):
            self._labels[label] = text
        return text

    def _label(self, line: int, label: Any) -> str:
        if isinstance(label, list):
            raise self._too_many(line, "|".join(map(str, label)))
        if isinstance(label, (int, float)) and not isinstance(label, bool):
            label = str(label)
        plain = label.strip() if isinstance(label, str) else ""
        if not plain:
            raise self._error(
                line,
                "the label is empty; each row needs a label, unless you train with --multi_label",
            )
        if SEPARATOR in plain:
            raise self._too_many(line, plain)
        # A label is one line of a UTF-8 file.
        if len(plain.splitlines()) > 1 or any("\ud800" <= char <= "\udfff" for char in plain):
            raise self._error(
                line, f"the label {plain!r} is not one line of UTF-8 text; write it as such"
            )
        if isinstance(label, str):
            self._labels[label] = plain
        return plain

    def _too_many(self, line: int, label: str) -> DataError:
        return self._error(
            line,
            f"{label} are several labels, and each image has one here; give the one that it shows, "
            "or train with --multi_label",
        )

    def _split(self, line: int, split: Any) -> str | None:
        if split is None or (isinstance(split, str) and not split.strip()):
            return None
        named = split_named(split) if isinstance(split, str) else None
        if named is None:
            raise self._error(
                line, f"the split {split!r} is unknown; known names are {KNOWN_NAMES}"
            )
        self._splits[split] = named
        return named

    def _error(self, line: int, reason: str) -> DataError:
        return _error(self._path, line, reason)


def _error(path: Path, line: int, reason: str) -> DataError:
    return DataError(f"{path}, line {line}: {reason}")


def _text(path: Path) -> str:
    """Return the text of a manifest without a byte order mark.

    Raises:
        DataError: it cannot be read, or is no text.
        UsageError: a folder, or a URL.
    """
    if has_scheme(str(path)) and not is_readable_url(str(path)) and not path.exists():
        raise UsageError(
            f"--manifest {url_of_path(path)} is a URL of an unknown kind; known are {KNOWN_URLS}"
        )
    if path.is_dir():
        raise UsageError(
            f"--manifest {path} is a folder; give it as --image_dir, or name a file in it"
        )
    try:
        content = read(path, _LARGEST_FILE)
    except StorageError as error:
        raise DataError(
            f"the manifest {path} cannot be read: {error.reason}; check --manifest"
        ) from error
    if content.startswith(_BINARY):
        raise DataError(
            f"{path} is no text but a spreadsheet or an archive; save it as CSV (in Excel: CSV "
            "UTF-8)"
        )
    marks = (name for mark, name in _MARKS.items() if content.startswith(mark))
    try:
        text = content.decode(next(marks, "utf-8"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _error(path, line, _NOT_UTF8) from None
    if "\0" in text[:4096]:
        raise DataError(f"{path} is no text; {_WRITTEN_AS}")
    return text


def _cells(path: Path, text: str) -> Iterator[tuple[int, Cells]]:
    """Yield the number of each row's line and its cells.

    Raises:
        DataError: it is neither a table nor JSON lines.
    """
    first = text.lstrip()[:1]
    if not first:
        raise DataError(f"{path} is empty; {_WRITTEN_AS}")
    if first == "{":
        return _json_cells(path, text)
    if first == "[":
        raise DataError(f"{path} is a JSON list; {_WRITTEN_AS}")
    return _table_cells(path, text)


def _json_cells(path: Path, text: str) -> Iterator[tuple[int, Cells]]:
    columns: dict[str, tuple[Any, Any, Any]] = {}
    for number, line in enumerate(io.StringIO(text), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            raise _error(path, number, "not JSON; write one JSON object per line") from None
        if not isinstance(found, dict):
            raise _error(path, number, "no JSON object; write one JSON object per line")
        keys = ",".join(found)
        if keys not in columns:
            named = {_COLUMNS.get(key.lower()): key for key in reversed(found)}
            columns[keys] = named.get("path"), named.get("label"), named.get("split")
        one, two, three = columns[keys]
        yield number, (found.get(one), found.get(two), found.get(three))


def _table_cells(path: Path, text: str) -> Iterator[tuple[int, Cells]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    rows = _numbered(path, reader)
    number, head = next(rows)
    width, columns = len(head), [_COLUMNS.get(cell.strip().lower()) for cell in head]
    if "path" in columns and "label" in columns:
        one, two = columns.index("path"), columns.index("label")
        three = columns.index("split") if "split" in columns else None
    else:
        _check_no_header(path, number, head, columns)
        one, two, three = 0, 1, 2 if len(head) == 3 else None
        yield number, (head[0], head[1], head[2] if len(head) == 3 else None)
    for number, row in rows:
        if len(row) != width:
            if not any(cell.strip() for cell in row[width:]) and len(row) > max(one, two):
                row += [""] * (width - len(row))
            else:
                raise _error(
                    path,
                    number,
                    f"{counted(len(row), 'column')}, but {width} in line 1; a cell with a comma, "
                    "semicolon or tab needs quotes",
                )
        yield number, (row[one], row[two], None if three is None else row[three])


def _delimiter(text: str) -> str:
    first = text.lstrip().partition("\n")[0]
    return next((each for each in ("\t", ",", ";") if each in first), ",")


def _numbered(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty with the number of their first line."""
    start = 1
    try:
        for row in reader:
            if row and (row[0] or any(row)):
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise _error(path, start, f"no valid CSV ({error}); check its quotes") from None


def _check_no_header(
    path: Path, line: int, head: Sequence[str], columns: Sequence[str | None]
) -> None:
    """Check that a first row without the names of columns can be one of an image.

    Raises:
        DataError: it cannot be.
    """
    named = next((name for name in ("path", "label") if name in columns), None)
    if named is not None:
        missing = "label" if named == "path" else "path"
        raise _error(path, line, f"no column is named {missing} ({', '.join(head)}); {_WRITTEN_AS}")
    if len(head) not in (2, 3):
        raise _error(
            path,
            line,
            f"{counted(len(head), 'column')} and no header that names path and label; "
            f"{_WRITTEN_AS}",
        )
    first = head[0].strip()
    is_image = first.lower().endswith(IMAGE_SUFFIXES) or (path.parent / first).is_file()
    if not is_image and not has_scheme(first):
        message = f"{first!r} is neither the name of a column nor an image; {_WRITTEN_AS}"
        raise _error(path, line, message)
