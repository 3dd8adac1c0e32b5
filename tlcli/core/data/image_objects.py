"""Images in a bucket: their names as those of a folder, and the facts of each from one listing."""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from operator import add, le
from pathlib import PurePath
from typing import NamedTuple, overload

from tlcli.core.images.formats import IMAGE_SUFFIXES, TABLE_SUFFIXES
from tlcli.errors import DataError, UsageError
from tlcli.storage.locations import Entry, below, shown, text_of
from tlcli.storage.objects import entries

# Objects that lie in one text. A key has a kilobyte at most.
_BLOCK = 1024


class ObjectName(str):
    """The name of an image that is an object, relative to its root, with what is known of it.

    Attributes:
        size: in bytes; None where no listing gave it.
        change: what changes with the content, such as an ETag; "" where it is unknown.
        location: of the object, where that is not the name below the root.
    """

    __slots__ = ("change", "location", "size")
    size: int | None
    change: str
    location: str

    def __new__(
        cls, name: str, size: int | None = None, change: str = "", location: str = ""
    ) -> ObjectName:
        """Return the name with its facts."""
        made = str.__new__(cls, name)  # quicker than by super()
        made.size, made.change, made.location = size, change, location
        return made

    def __getnewargs__(self) -> tuple[str, int | None, str, str]:  # type: ignore[override]
        return str(self), self.size, self.change, self.location

    def entry(self, root: str) -> Entry:
        """Return where the object is, with its facts."""
        return Entry(self.location or below(root, self), self.size, self.change)


class _Block(NamedTuple):
    """Some objects: the name and then the mark of each, where both and the name end, its size."""

    text: str
    ends: array[int]
    lengths: array[int]
    sizes: array[int]  # -1 where it is unknown


class ObjectNames(Sequence[str]):
    """Names of objects, each with its facts, as `ObjectName`; 20 bytes each and their text."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        # Name, size and mark of those that fill no block yet.
        self._waiting: list[tuple[str, int | None, str]] = []
        self._last = ""
        self._in_order = True

    @property
    def in_order(self) -> bool:
        """Whether the names are in the order of `tlcli.core.data.image_list.sorted_images`."""
        return self._in_order and self._are_in_order([each[0] for each in self._waiting])

    def append(self, name: str, size: int | None, change: str) -> None:
        """Add an object; the arguments are the attributes of `ObjectName`."""
        self._waiting.append((name, size, change))
        if len(self._waiting) == _BLOCK:
            self._pack()

    def _pack(self) -> None:
        names, sizes, changes = zip(*self._waiting, strict=True)
        self._waiting = []
        self._in_order = self._in_order and self._are_in_order(names)
        self._last = names[-1]
        lengths = array("I", map(len, names))
        self._blocks.append(
            _Block(
                "".join(chain.from_iterable(zip(names, changes, strict=True))),
                array("I", accumulate(map(add, lengths, map(len, changes)))),
                lengths,
                array("q", [-1 if size is None else size for size in sizes]),
            )
        )

    def _are_in_order(self, names: Sequence[str]) -> bool:
        return all(map(le, chain([self._last], names), names)) and all(
            name.isascii() or unicodedata.is_normalized("NFC", name) for name in names
        )

    def __len__(self) -> int:
        return len(self._blocks) * _BLOCK + len(self._waiting)

    def __iter__(self) -> Iterator[ObjectName]:
        for text, ends, lengths, sizes in self._blocks:
            start = 0
            for end, length, size in zip(ends, lengths, sizes, strict=True):
                middle = start + length
                known = None if size < 0 else size
                yield ObjectName(text[start:middle], known, text[middle:end])
                start = end
        for each in self._waiting:
            yield ObjectName(*each)

    @overload
    def __getitem__(self, index: int) -> ObjectName: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ObjectName]: ...
    def __getitem__(self, index: int | slice) -> ObjectName | Sequence[ObjectName]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        place, number = divmod(range(len(self))[index], _BLOCK)
        if place == len(self._blocks):
            return ObjectName(*self._waiting[number])
        text, ends, lengths, sizes = self._blocks[place]
        start = ends[number - 1] if number else 0
        middle = start + lengths[number]
        known = None if sizes[number] < 0 else sizes[number]
        return ObjectName(text[start:middle], known, text[middle : ends[number]])


def list_objects(
    image_dir: PurePath, is_ignored: Callable[[str], bool]
) -> tuple[dict[str, ObjectNames], list[str]]:
    """Return the images of ``image_dir/LABEL/...``, and those directly in it.

    Args:
        image_dir: the URL of a prefix.
        is_ignored: whether a name of a folder or an object is left out, with all below it.

    Returns:
        For each folder the names of all objects below it; names of images
        without a folder.

    Raises:
        DataError: it cannot be listed, or there is nothing.
        UsageError: an object in place of a folder.
    """
    root = text_of(image_dir)
    start = len(root.rstrip("/")) + 1
    files: dict[str, ObjectNames] = {}
    beside: list[str] = []
    ignored: dict[str, bool] = {}
    for found in entries(root):
        name = found.location[start:]
        folder, _, own = name.rpartition("/")
        if folder not in ignored:
            ignored[folder] = any(is_ignored(part) for part in folder.split("/") if folder)
        if ignored[folder] or is_ignored(own):
            continue
        if folder:
            label = folder.partition("/")[0]
            if label not in files:
                files[label] = ObjectNames()
            files[label].append(name, found.size, found.change)
        elif own.lower().endswith(IMAGE_SUFFIXES):
            beside.append(own)
    if not files and not beside:
        raise _nothing(root)
    return dict(sorted(files.items())), beside


def _nothing(root: str) -> DataError | UsageError:
    lower = root.lower()
    if lower.endswith(TABLE_SUFFIXES):
        return UsageError(
            f"--image_dir {shown(root)} is a file; a table of images and labels is given as "
            f"--manifest {shown(root)}"
        )
    return DataError(
        f"there is nothing in {shown(root)}; check --image_dir, which is a folder with one folder "
        "of images per label"
    )
