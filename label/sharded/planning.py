"""The shards of a call: which images each has, and what its part file is called."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from label.job import STANDARD_INPUT, Images
from tlcli.core.data.image_files import NoImage
from tlcli.shards.planning import cut
from tlcli.storage.locations import Entry, is_url, shown

FORMAT = 1
"""Of part files; raised when the same images and options give other bytes."""
USUAL_SIZE = 1024
"""Images of a shard on average: ten seconds of work for one core with EfficientNet-Lite0, so that
all cores end at about the same time, and 150 KB of JSON lines."""
_NAME = re.compile(r"labels-([0-9a-f]{8})-([0-9a-f]{32})(?:-(\d+)-errors)?\.(?:jsonl|parquet)")


@dataclass(frozen=True)
class LabelShard:
    """Some images that follow one another in the list.

    Attributes:
        number: of the shard in the plan, from 0.
        series: 8 hexadecimal digits; a function of the graph, the options and the argument that
            stands for the images.
        key: 32 hexadecimal digits; a function of that and of the images, with the size and time
            of each file, or the size and ETag of each object.
        images: at least one; a path, an `Entry` or a `NoImage`.
    """

    number: int
    series: str
    key: str
    images: tuple[str, ...]

    def part_name(self, errors: int, suffix: str) -> str:
        """Return the name of the part, in which so many images have an error."""
        return f"labels-{self.series}-{self.key}{f'-{errors}-errors' if errors else ''}.{suffix}"


@dataclass(frozen=True)
class PartName:
    """What the name of a part says.

    Attributes:
        series: of the shard.
        key: of the shard.
        errors: how many of its images have an error.
    """

    series: str
    key: str
    errors: int

    @classmethod
    def of(cls, name: str) -> PartName | None:
        """Return what a name says; None for that of another file."""
        found = _NAME.fullmatch(name)
        return found and cls(found[1], found[2], int(found[3] or 0))


def plan(
    arguments: Iterable[str], settings: str, usual_size: int = USUAL_SIZE
) -> Iterator[LabelShard]:
    """Yield the shards of the images that arguments stand for, in their order.

    A shard has images of one argument, so that a further argument adds shards and changes none.

    Args:
        arguments: as for `Images`.
        settings: all else that decides the content of a part, as text.
        usual_size: images of a shard on average; none has more than twice as many.

    Raises:
        DataError: a list of paths cannot be read.
    """
    number = 0
    for argument in arguments:
        start = json.dumps([FORMAT, settings, _absolute(argument)])
        series = sha256(start.encode()).hexdigest()[:8]
        for images in cut(((each, None, shown(each)) for each in Images([argument])), usual_size):
            text = json.dumps([start, [[shown(each), _mark(each)] for each in images]])
            key = sha256(text.encode()).hexdigest()[:32]
            yield LabelShard(number, series, key, tuple(images))
            number += 1


def _absolute(argument: str) -> str:
    if is_url(argument) or argument == STANDARD_INPUT:
        return shown(argument)
    sign = "@" if argument.startswith("@") and not os.path.lexists(argument) else ""
    path = argument.removeprefix(sign)
    return sign + (shown(path) if is_url(path) else os.path.abspath(path))  # noqa: PTH100


def _mark(image: str) -> str:
    """Return what changes with the content of an image, as far as that is known unread."""
    if isinstance(image, NoImage):
        return image.reason
    if isinstance(image, Entry):
        return f"{image.size}-{image.change}"
    if is_url(image):
        return ""
    try:
        found = os.stat(image)  # noqa: PTH116 - no Path is made
    except (OSError, ValueError):
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"
