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
from tlcli.core.parts.part_file import SUFFIX, Contents, DamagedPartError, Part, PartFacts
from tlcli.storage.locations import is_url

logger = logging.getLogger("tlcli")

PARTS = "parts"
# Names and marks of so many parts stay in memory: files are asked for in the order of names.
_OPEN = 8


def part_folder(folder: Path, fingerprint: str) -> Path:
    """Return where the parts of a backbone are in the folder of a cache."""
    return folder / PARTS / fingerprint


def part_path(folder: Path, fingerprint: str, key: str) -> Path:
    """Return where the part of a shard is."""
    return part_folder(folder, fingerprint) / f"{key}{SUFFIX}"


def part_files(folder: Path) -> dict[str, list[Path]]:
    """Return the part files in the folder of a cache, sorted, by the folder of their backbone."""
    found: dict[str, list[Path]] = {}
    with suppress(OSError):
        for each in sorted((folder / PARTS).iterdir()):
            if files := _files(each):
                found[each.name] = files
    return found


def _files(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found if entry.name.endswith(SUFFIX))
    except OSError:
        return []
    return [folder / name for name in names if not name.startswith(".")]


def open_parts(files: Iterable[Path]) -> Iterator[Part]:
    """Yield each part that can be read, open until the next is asked for."""
    for path in files:
        try:
            part = Part(path)
        except DamagedPartError as error:
            _warn(error)
            continue
        with closing(part):
            yield part


def _warn(error: DamagedPartError) -> None:
    logger.warning("The part %s; its vectors are computed again where they are needed", error)


class Parts:
    """Some part files of one backbone.

    Args:
        files: of the parts, in any order.
    """

    def __init__(self, files: Sequence[Path]) -> None:
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

    def __init__(self, files: Iterable[Path]) -> None:
        self.parts: list[tuple[Path, PartFacts]] = [
            (part.path, part.facts) for part in open_parts(files)
        ]
        self._of_root: dict[str, list[tuple[Path, PartFacts]]] = {}
        for path, facts in self.parts:
            self._of_root.setdefault(facts.root, []).append((path, facts))
        self._loaded: OrderedDict[Path, dict[str, tuple[str, str]]] = OrderedDict()

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

    def _rows(self, path: Path) -> Mapping[str, tuple[str, str]]:
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

    def overlapping(self, first: str, last: str) -> list[Path]:
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
