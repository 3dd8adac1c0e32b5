"""Gather what a report shows: small pictures, and which test images are worth a look."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

JPEG_QUALITY = 80
THUMBNAIL_SIDE = 160


@dataclass(frozen=True)
class Picks:
    """Rows of the test set that a report shows, best to look at first."""

    misclassified: list[int]
    most_confident: list[int]
    least_confident: list[int]
    comparisons: list[int]


def data_uri(image: Image.Image, quality: int = JPEG_QUALITY) -> str:
    """Return the image as a JPEG inside a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def thumbnail(source: Path | str | bytes, side: int = THUMBNAIL_SIDE) -> str | None:
    """Return a small picture as a data URI, or None if the file cannot be read."""
    from tlcli.core.images.thumbnails import picture

    image = picture(source, side)
    return None if image is None else data_uri(image)


def pick(
    given: npt.ArrayLike,
    scores: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    misclassified: int | None = None,
    confident: int = 6,
    comparisons: int = 6,
) -> Picks:
    """Choose the test images that a report shows.

    Args:
        given: index of the label that each image was given, [N].
        scores: probability of that label, [N].
        truth: index of its true label, [N].
        misclassified: how many at most; None for all.
        confident: how many most and how many least confident ones.
        comparisons: how many to show before and after; each label in turn gives its first.
    """
    right = np.asarray(truth, dtype=np.int64)
    if not len(right):
        return Picks([], [], [], [])
    order = np.argsort(-np.asarray(scores), kind="stable")
    wrong = order[(np.asarray(given) != right)[order]].tolist()
    half = min(confident, len(order) // 2)
    by_label: dict[int, list[int]] = {}
    for row, label in enumerate(right.tolist()):
        by_label.setdefault(label, []).append(row)
    turns = max(len(rows) for rows in by_label.values())
    in_turn = [
        rows[turn]
        for turn in range(turns)
        for _, rows in sorted(by_label.items())
        if turn < len(rows)
    ]
    return Picks(
        misclassified=wrong if misclassified is None else wrong[:misclassified],
        most_confident=[int(row) for row in order[:half]],
        least_confident=[int(row) for row in order[::-1][:half]],
        comparisons=in_turn[:comparisons],
    )
