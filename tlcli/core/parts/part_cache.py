"""Many part files read as one cache: vectors by content, contents by file.

Parts lie in ``FOLDER/parts/FINGERPRINT/``. They are streamed: a part that nobody asks for costs
the reading of its contents, and only the groups of vectors that are needed are read. A damaged
part is a miss.
"""

from __future__ import annotations

import logging
import os
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Array
from tlcli.core.parts.part_file import (
    SUFFIX,
    Contents,
    DamagedPartError,
    Part,
    PartFacts,
    part_facts,
)
from tlcli.errors import StorageError
from tlcli.storage.locations import Location, below, is_url, name_of
from tlcli.storage.objects import entries
from tlcli.system.mapped_arrays import touched

logger = logging.getLogger("tlcli")

PARTS = "parts"
# Names and marks of so many parts stay in memory: files are asked for in the order of names.
_OPEN = 8


def part_path(folder: Path, fingerprint: str, key: str) -> Path:
    """Return where the part of a shard is; the folder may be in a bucket."""
    return folder / PARTS / fingerprint / f"{key}{SUFFIX}"


def key_of(path: Location) -> str:
    """Return the key of the shard that a part file is named after."""
    return name_of(path).removesuffix(SUFFIX)


def part_files(folder: Path, fingerprint: str | None = None) -> dict[str, list[Location]]:
    """Return the part files in the folder of a cache, sorted, by the fingerprint of their backbone.

    Args:
        folder: of the cache, also in a bucket, where parts are objects with the facts of a listing.
        fingerprint: of the only backbone that is asked for.

    Raises:
        StorageError: the bucket cannot be listed.
    """
    if is_url(folder):
        return _objects(below(folder, PARTS), fingerprint)
    found: dict[str, list[Location]] = {}
    with suppress(OSError):
        for each in sorted((folder / PARTS).iterdir()):
            if fingerprint in (None, each.name) and (files := _files(each)):
                found[each.name] = files
    return found


def _objects(prefix: str, fingerprint: str | None) -> dict[str, list[Location]]:
    found: dict[str, list[Location]] = {}
    for each in entries(prefix if fingerprint is None else below(prefix, fingerprint)):
        own, _, name = each[len(prefix) + 1 :].partition("/")
        if name.endswith(SUFFIX) and "/" not in name:
            found.setdefault(own, []).append(each)
    return found


def _files(folder: Path) -> list[Location]:
    try:
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found if entry.name.endswith(SUFFIX))
    except OSError:
        return []
    return [folder / name for name in names if not name.startswith(".")]


def open_parts(files: Iterable[Location]) -> Iterator[Part]:
    """Yield each part that can be read, open until the next is asked for.

    Raises:
        StorageError: a server gives none at this time. An object that is absent is left out.
    """
    for path in files:
        try:
            part = Part(path)
        except DamagedPartError as error:
            _warn(error)
            continue
        except StorageError as error:
            if error.is_passing:
                raise
            if not error.is_absent:
                _warn(error)
            continue
        with closing(part):
            yield part


def all_facts(files: Iterable[Location]) -> Iterator[tuple[Location, PartFacts]]:
    """Yield the facts of each part that can be read; see `open_parts`."""
    for path in files:
        try:
            yield path, part_facts(path)
        except DamagedPartError as error:
            _warn(error)
        except StorageError as error:
            if error.is_passing:
                raise
            _warn(error)


def _warn(error: DamagedPartError | StorageError) -> None:
    logger.warning("The part %s; its vectors are computed again where they are needed", error)


class Parts:
    """Some part files of one backbone.

    Args:
        files: of the parts, in any order.
    """

    def __init__(self, files: Sequence[Location]) -> None:
        self.files = files

    def fill(
        self, view: str, contents: Sequence[str], matrix: Array, rows: Sequence[int] | None = None
    ) -> npt.NDArray[np.bool_]:
        """Write vectors into a matrix, as `BottleneckStore.fill` does.

        Args:
            view: key of the distorted view; "" for the undistorted image.
            contents: SHA-256 of images, [N].
            matrix: float32 [M, D] to write into.
            rows: the row of each content; None: row i for content i.

        Returns:
            Whether each content had a vector, [N].
        """
        places = np.arange(len(contents)) if rows is None else np.asarray(rows, np.int64)
        wanted = _Wanted(contents)
        for part in open_parts(self.files if len(contents) else ()):
            if part.facts.bottleneck_size != matrix.shape[1]:
                continue
            try:
                numbers, owners = _matches(part, view, wanted)
                for place, vectors in part.vectors(numbers):
                    matrix[places[owners[place]]] = vectors
                    wanted.found[owners[place]] = True
                    touched(matrix, vectors.nbytes)
            except DamagedPartError as error:
                _warn(error)
            if wanted.found.all():
                break
        return wanted.found

    def count(self, contents: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return whether each content has a vector of the undistorted image, [N]."""
        wanted = _Wanted(contents)
        for part in open_parts(self.files if len(contents) else ()):
            try:
                wanted.found[_matches(part, "", wanted)[1]] = True
            except DamagedPartError as error:
                _warn(error)
        return wanted.found

    def bottleneck_size(self) -> int | None:
        """Return D of the first part that has vectors."""
        facts = (part.facts for part in open_parts(self.files))
        return next((each.bottleneck_size for each in facts if each.rows), None)


class _Wanted:
    """Contents that are looked for, sorted by their first eight bytes."""

    def __init__(self, contents: Sequence[str]) -> None:
        self.found = np.zeros(len(contents), np.bool_)
        self.bytes: Contents = np.frombuffer(bytes.fromhex("".join(contents)), np.uint8)
        self.bytes = self.bytes.reshape(-1, 32)
        keys = _keys(self.bytes)
        self.order = np.argsort(keys, kind="stable")
        self.keys = keys[self.order]


def _keys(contents: Contents) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(contents[:, :8]).view(np.uint64).reshape(-1)


def _matches(
    part: Part, view: str, wanted: _Wanted
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows of a part, rising, and the wanted content that each belongs to."""
    contents = part.contents()
    keys = _keys(contents)
    low = np.searchsorted(wanted.keys, keys, "left")
    counts = np.searchsorted(wanted.keys, keys, "right") - low
    numbers = np.repeat(np.arange(len(keys)), counts)
    if not len(numbers):
        return numbers, numbers
    ends = np.cumsum(counts)
    within = np.arange(len(numbers)) - np.repeat(ends - counts, counts)
    owners = wanted.order[np.repeat(low, counts) + within]
    right = (contents[numbers] == wanted.bytes[owners]).all(1) & ~wanted.found[owners]
    views = np.array([each == view for each in part.texts("view")], np.bool_)
    right &= views[numbers]
    return numbers[right], owners[right]


class PartIndex:
    """The footers of the parts in the folder of a cache, read once.

    Args:
        files: of the parts.
    """

    def __init__(self, files: Iterable[Location]) -> None:
        self.parts = list(all_facts(files))
        self._of_root: dict[str, list[tuple[Location, PartFacts]]] = {}
        for path, facts in self.parts:
            self._of_root.setdefault(facts.root, []).append((path, facts))
        self._loaded: OrderedDict[Location, dict[str, tuple[str, str]]] = OrderedDict()

    def known(self, paths: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return the mark and the content of those files that some part has.

        Args:
            paths: absolute, or URLs; quickest in the order of names.
        """
        found: dict[str, tuple[str, str]] = {}
        missing = {_usual(path): path for path in paths} if self.parts else {}
        for root, parts in self._of_root.items():
            below = _below(root, missing)
            names = sorted(below)
            for path, facts in parts:
                # There may be thousands of parts: few have any of these names.
                low, high = bisect_left(names, facts.first), bisect_right(names, facts.last)
                wanted = [name for name in names[low:high] if below[name] in missing]
                rows = self._rows(path) if wanted else {}
                for name in wanted:
                    if name in rows:
                        found[missing.pop(below[name])] = rows[name]
        return found

    def _rows(self, path: Location) -> Mapping[str, tuple[str, str]]:
        if path in self._loaded:
            self._loaded.move_to_end(path)
            return self._loaded[path]
        rows: dict[str, tuple[str, str]] = {}
        for part in open_parts([path]):
            try:
                columns = part.texts("name"), part.texts("mark"), part.contents()
            except DamagedPartError as error:
                _warn(error)
                continue
            for name, mark, content in zip(*columns, strict=True):
                if mark:
                    rows[name] = (mark, content.tobytes().hex())
        self._loaded[path] = rows
        if len(self._loaded) > _OPEN:
            self._loaded.popitem(last=False)
        return rows

    def overlapping(self, first: str, last: str) -> list[Location]:
        """Return the parts that have names between two, both included."""
        return [path for path, facts in self.parts if facts.first <= last and first <= facts.last]

    def failures(self, reader: str) -> dict[str, str]:
        """Return why contents could not be decoded by these versions."""
        return {
            each.content: each.reason
            for _, facts in self.parts
            if facts.reader == reader
            for each in facts.unreadable
            if each.content
        }


def _usual(path: str) -> str:
    return path if is_url(path) else os.path.normpath(path)


def _below(root: str, paths: Iterable[str]) -> dict[str, str]:
    """Return the paths by the names that they have below a root."""
    end = "/" if is_url(root) else os.sep
    start = root.removesuffix(end) + end
    cut = len(start)
    # A manifest may name files elsewhere by absolute paths.
    return {path[cut:] if path.startswith(start) else path: path for path in paths}
