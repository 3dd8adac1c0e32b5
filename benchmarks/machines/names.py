"""Made-up images: names, contents and vectors of any number of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

PER_LABEL = 10_000
ROOT = "s3://bucket/photos"


def name_of(number: int) -> str:
    """Return the name of an image; sorted as the numbers are."""
    return f"label {number // PER_LABEL:05}/{number:08}.jpg"


def content_of(number: int) -> str:
    """Return the SHA-256 of an image."""
    return hashlib.sha256(b"%d" % number).hexdigest()


def mark_of(number: int) -> str:
    """Return the mark of the state of an object."""
    return f"{100_000 + number % 1000}-0-0-{number:032x}"


def images(count: int, root: str = ROOT) -> Iterator[Any]:
    """Yield `ImageFile` objects as a listing gives them, in the order of names."""
    from tlcli.core.data.image_list import ImageFile

    for number in range(count):
        name = name_of(number)
        label = name.partition("/")[0]
        yield ImageFile(root, label, name, label)
