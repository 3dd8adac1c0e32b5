"""A few images of each label, the same in every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tlcli.core.data.image_list import ImageFile
from tlcli.core.data.splits import sort_key
from tlcli.core.final_layer.sampling import philox

MOST_IMAGES = 200
"""More took longer and hardly changed which backbone was best."""
MOST_LABELS = 40
"""Of more, some are drawn, so that each has five images or more."""
_Item = TypeVar("_Item")
_IMAGES_STREAM, _LABELS_STREAM = 7, 8


def draw(
    images: Sequence[ImageFile], seed: int = 0, most: int = MOST_IMAGES
) -> tuple[ImageFile, ...]:
    """Return at most ``most`` images, equally many of each label as far as they have them.

    They depend on the names of the images and on the seed, not on their order or folder.
    """
    by_label: dict[str, list[ImageFile]] = {}
    for image in sorted(images, key=lambda each: (sort_key(each.name), each.name)):
        by_label.setdefault(image.label, []).append(image)
    labels = sorted(by_label)
    chosen = sorted(_shuffled(labels, seed, _LABELS_STREAM, 0)[:MOST_LABELS])
    mixed = [
        _shuffled(by_label[label], seed, _IMAGES_STREAM, labels.index(label)) for label in chosen
    ]
    drawn: list[ImageFile] = []
    for turn in range(max(map(len, mixed), default=0)):
        drawn += [own[turn] for own in mixed if turn < len(own)]
    return tuple(drawn[:most])


def _shuffled(items: Sequence[_Item], seed: int, stream: int, index: int) -> list[_Item]:
    words = philox(seed, stream, index).random_raw(len(items))
    return [items[place] for place in sorted(range(len(items)), key=words.__getitem__)]
