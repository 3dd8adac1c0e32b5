"""How a list of images is cut into shards.

The list is sorted by name and cut by content-defined chunking, as backup programs cut files (A.
Muthitacharoen, B. Chen, D. Mazieres: A Low-bandwidth Network File System, SOSP 2001): after each
name whose hash falls below a bound, and where the first part of the name changes, which is the
label's folder or the prefix in a bucket. So a new folder adds shards and changes none, and a new
image in a known folder changes the one shard that it falls into. Cuts at every Nth image would move
with each new one; shards by hash of the name would all change with a hundred new ones.

A plan is streamed: one shard is in memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b, sha256
from json.encoder import encode_basestring_ascii as _text
from typing import TypeVar

from tlcli.core.data.image_list import ImageFile
from tlcli.core.parts.part_file import FORMAT

Item = TypeVar("Item")

USUAL_SIZE = 4096
"""Images of a shard on average: 21 MB of vectors of EfficientNet-Lite0, and half a minute of work
for one core. A worker that is lost costs no more than that."""
# Of the usual size. One of eight shards is cut here rather than by a hash.
_LARGEST = 2


@dataclass(frozen=True)
class Shard:
    """Some images that follow one another in the list.

    Attributes:
        number: of the shard in the plan, from 0.
        key: 32 hexadecimal digits; a function of the images, the backbone and the options.
        root: the folder in which the names begin.
        images: at least one.
    """

    number: int
    key: str
    root: str
    images: tuple[ImageFile, ...]

    @property
    def first(self) -> str:
        """The least name, as text is compared."""
        return str(min(image.name for image in self.images))

    @property
    def last(self) -> str:
        """The greatest name."""
        return str(max(image.name for image in self.images))


def plan(
    images: Iterable[ImageFile], fingerprint: str, options: str, usual_size: int = USUAL_SIZE
) -> Iterator[Shard]:
    """Yield the shards of a list of images.

    Args:
        images: sorted by name; those without a file are left out.
        fingerprint: of the backbone.
        options: all else that decides what a part contains, as text.
        usual_size: images of a shard on average; none has more than twice as many.
    """
    start = f"{FORMAT}|{fingerprint}|{options}\n"
    placed = (
        (image, (image.root, image.name[: image.name.find("/") + 1]), image.name)
        for image in images
        if image.root is not None
    )
    for number, current in enumerate(cut(placed, usual_size)):
        yield _shard(number, current, start)


def cut(
    items: Iterable[tuple[Item, object, str]], usual_size: int = USUAL_SIZE
) -> Iterator[list[Item]]:
    """Yield lists of items that follow one another.

    Args:
        items: each with its group and its name; where the group changes is a cut.
        usual_size: items of a list on average; none has more than twice as many.
    """
    # Digests are compared as bytes, the most significant first.
    bound = ((2**32 - 1) // usual_size).to_bytes(4, "big")
    largest = _LARGEST * usual_size
    # A copy takes less time than a new object with its options.
    new_hash = blake2b(digest_size=4).copy
    current: list[Item] = []
    last: object = None
    ended = False
    for item, group, name in items:
        if current and (ended or group != last or len(current) >= largest):
            yield current
            current = []
        current.append(item)
        last = group
        # Not a checksum such as CRC-32, which is regular on numbered names.
        hashed = new_hash()
        hashed.update(name.encode("utf-8", "surrogatepass"))
        ended = hashed.digest() < bound
    if current:
        yield current


def _shard(number: int, images: list[ImageFile], start: str) -> Shard:
    root = images[0].root
    assert root is not None
    key = sha256((start + _json(root, images)).encode()).hexdigest()[:32]
    return Shard(number, key, root, tuple(images))


def _json(root: str, images: Iterable[ImageFile]) -> str:
    """Return ``[root, [[name, label, split], ...]]`` as `json.dumps` does, in half the time.

    As JSON, two different lists are never the same text.
    """
    rows: list[str] = []
    label = end = ""
    split: str | None = None
    for image in images:
        # Neighbours mostly have the same label.
        if not end or image.label != label or image.split != split:
            label, split = image.label, image.split
            end = f", {_text(label)}, {json.dumps(split)}]"
        rows.append(f"[{_text(image.name)}{end}")
    return f"[{_text(root)}, [{', '.join(rows)}]]"
