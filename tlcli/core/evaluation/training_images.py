"""Which images trained a graph, so that its accuracy on them is not taken for that on new ones.

A model card lists the first eight bytes of the SHA-256 of each training image: 11 bytes of text
per image. Two images of different content share them with a probability of 5e-20, so even a
million evaluated images and a million training images meet by chance in one of 20 million runs.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Images. Their part of the card is 10.7 MB then, of the 16 MB that a card may have.
LARGEST = 1_000_000
LARGEST_BY_LABEL = 200_000
"""Images up to which those of each label are listed: another 2.1 MB."""
_DIGITS = 16
_PREFIXES = "sha256_prefixes"


def to_card(contents: Collection[str | None], largest: int = LARGEST) -> dict[str, Any]:
    """Return the card's ``training_images`` part.

    Args:
        contents: SHA-256 of each training image's file, 64 hexadecimal digits; None where only
            an imported vector exists.
        largest: number of images up to which they are listed.

    Returns:
        ``count``, and ``sha256_prefixes``: the first eight bytes of each SHA-256, sorted, each
        content once, in base64. Empty where an image is not known or where there are too many.
    """
    if not contents or len(contents) > largest:
        return {}
    prefixes = set()
    for content in contents:
        if content is None:
            return {}
        prefixes.add(bytes.fromhex(content[:_DIGITS]))
    listed = base64.b64encode(b"".join(sorted(prefixes))).decode("ascii")
    return {"count": len(contents), _PREFIXES: listed}


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """The images that trained a graph.

    Attributes:
        prefixes: first eight bytes of each SHA-256, rising, big-endian uint64 [N].
    """

    prefixes: npt.NDArray[np.uint64]

    @classmethod
    def from_card(cls, values: Mapping[str, Any]) -> TrainingImages | None:
        """Return what `to_card` wrote; None where a card does not list the images."""
        listed = values.get(_PREFIXES)
        try:
            content = base64.b64decode(listed, validate=True) if isinstance(listed, str) else b""
            found = np.frombuffer(content, ">u8").astype(np.uint64)
        except (binascii.Error, ValueError):  # not base64, or a length that is no multiple of 8
            return None
        return cls(np.unique(found)) if len(found) else None

    def contain(self, contents: Sequence[str | None]) -> list[bool]:
        """Return whether each image trained the graph.

        Args:
            contents: SHA-256 of each image's file, 64 hexadecimal digits; None counts as unseen.
        """
        wanted = [0 if content is None else int(content[:_DIGITS], 16) for content in contents]
        found = np.isin(np.array(wanted, np.uint64), self.prefixes).tolist()
        return [content is not None and hit for content, hit in zip(contents, found, strict=True)]


def images_to_card(
    labels: Sequence[str],
    targets: Sequence[int],
    contents: Sequence[str | None],
    largest: int = LARGEST_BY_LABEL,
) -> dict[str, str]:
    """Return the card's ``images`` part, by which a later run finds out what was added.

    Args:
        labels: names in output order.
        targets: index of each image's label, [N], of all splits.
        contents: SHA-256 of each image's file, 64 hexadecimal digits, or None.
        largest: number of images up to which they are listed.

    Returns:
        The first eight bytes of the SHA-256 of each label's images, sorted, in base64. Empty where
        an image is not known or where there are too many.
    """
    if len(contents) > largest or None in contents:
        return {}
    found: dict[str, list[bytes]] = {label: [] for label in labels}
    for target, content in zip(targets, contents, strict=True):
        found[labels[target]].append(bytes.fromhex(str(content)[:_DIGITS]))
    return {
        label: base64.b64encode(b"".join(sorted(prefixes))).decode("ascii")
        for label, prefixes in found.items()
    }


def images_from_card(values: Mapping[str, Any]) -> dict[str, list[int]] | None:
    """Return what `images_to_card` wrote as numbers; None where a card does not list images."""
    found: dict[str, list[int]] = {}
    for label, listed in values.items():
        try:
            content = base64.b64decode(listed, validate=True) if isinstance(listed, str) else b"-"
            found[label] = np.frombuffer(content, ">u8").astype(np.uint64).tolist()
        except (binascii.Error, ValueError):  # not base64, or a length that is no multiple of 8
            return None
    return found or None
