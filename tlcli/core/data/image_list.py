"""Images of a dataset, and lists of them.

The list of a bucket takes a fifth of the memory of one object per image: names and facts lie in
arrays, and an image is an object only while somebody looks at it.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import overload

from tlcli.core.data.image_objects import ObjectName, ObjectNames
from tlcli.core.data.splits import sort_key
from tlcli.storage.locations import shown


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image of a dataset; small, as there may be a million.

    Attributes:
        root: the folder that ``name`` begins in; None where only an imported vector exists.
        folder: name of the label's folder, unchanged; of a manifest: the label.
        name: "FOLDER/NAME.jpg" or "FOLDER/sub/NAME.jpg", relative, "/" on every system; in a
            bucket an `ObjectName`. It begins with the folder of the split where folders give the
            split, and may be any path, also an absolute one, where a manifest gives it.
        label: as printed and exported.
        split: "training", "validation" or "testing" where the data give it, else None.
    """

    root: str | None
    folder: str
    name: str
    label: str
    split: str | None = None

    @property
    def path(self) -> Path | None:
        """Where the file is on this machine; None where only an imported vector exists."""
        return None if self.root is None else Path(self.root, self.name)

    @property
    def file(self) -> str | None:
        """Where the file is: a path, or an `Entry`; None where only an imported vector exists."""
        if self.root is None:
            return None
        if isinstance(self.name, ObjectName):
            return self.name.entry(self.root)
        return os.path.join(self.root, self.name)  # noqa: PTH118 - a Path takes much longer

    @property
    def shown(self) -> str:
        """Where the file is, for people; without it, the name."""
        return self.name if self.file is None else shown(self.file)


def sorted_images(images: Iterable[ImageFile]) -> tuple[ImageFile, ...]:
    """Return images by name, in the form that macOS and Linux have in common."""
    found = list(images)
    if all(image.name.isascii() for image in found):
        # Most names are, and then no keys are held in memory.
        return tuple(sorted(found, key=attrgetter("name")))
    return tuple(sorted(found, key=lambda image: (sort_key(image.name), image.name)))


@dataclass(frozen=True)
class Group:
    """Images of one folder.

    Attributes:
        folder: name of the label's folder.
        label: of the images.
        names: of the images, all of which begin with ``start``.
        start: what no name of another group begins with; ends with "/".
        split: of the images, where folders give it.
    """

    folder: str
    label: str
    names: Sequence[str]
    start: str
    split: str | None = None


class ImageList(Sequence[ImageFile]):
    """The images of some groups of a bucket, sorted by name.

    Args:
        root: the URL in which the names begin.
        groups: with names that are in order.
    """

    def __init__(self, root: str, groups: Sequence[Group]) -> None:
        self._root = root
        # Names with one start follow one another, wherever that ends with the same character.
        self._groups = sorted(groups, key=lambda group: group.start)
        self._starts = [0, *accumulate(len(group.names) for group in self._groups)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[ImageFile]:
        root = self._root
        for group in self._groups:
            folder, label, split = group.folder, group.label, group.split
            for name in group.names:
                yield ImageFile(root, folder, name, label, split)

    @overload
    def __getitem__(self, index: int) -> ImageFile: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ImageFile, ...]: ...
    def __getitem__(self, index: int | slice) -> ImageFile | tuple[ImageFile, ...]:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(*index.indices(len(self))))
        number = range(len(self))[index]
        place = bisect_right(self._starts, number) - 1
        group = self._groups[place]
        name = group.names[number - self._starts[place]]
        return ImageFile(self._root, group.folder, name, group.label, group.split)


def images_of(root: str, groups: Sequence[Group]) -> Sequence[ImageFile]:
    """Return the images of all groups, sorted by name."""
    if all(isinstance(group.names, ObjectNames) and group.names.in_order for group in groups):
        return ImageList(root, groups)
    return sorted_images(
        ImageFile(root, group.folder, name, group.label, group.split)
        for group in groups
        for name in group.names
    )
