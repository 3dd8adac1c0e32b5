"""Gather what a report shows: small pictures, and which test images are worth a look."""

from __future__ import annotations

import base64
import heapq
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

JPEG_QUALITY = 80
THUMBNAIL_SIDE = 160
# About 15 KB a picture with its heat map: the page stays well under a megabyte.
MISCLASSIFIED_SHOWN = 20
# Each of the most and of the least confident ones.
CONFIDENT_SHOWN = 6
COMPARISONS_SHOWN = 6


@dataclass(frozen=True)
class Picks:
    """Rows of the test set that a report shows, best to look at first."""

    misclassified: list[int]
    most_confident: list[int]
    least_confident: list[int]
    comparisons: list[int]


def data_uri(image: Image.Image) -> str:
    """Return the image as a JPEG inside a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def thumbnail(source: Path | str) -> str | None:
    """Return a small picture as a data URI, or None if the file cannot be read."""
    from tlcli.core.images.thumbnails import picture

    image = picture(source, THUMBNAIL_SIDE)
    return None if image is None else data_uri(image)


def spread(count: int, most: int) -> npt.NDArray[np.intp]:
    """Return at most ``most`` of ``count`` rows, evenly: sorted by label, each keeps its share."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(np.intp))


def pick(given: npt.ArrayLike, scores: npt.ArrayLike, truth: npt.ArrayLike) -> Picks:
    """Choose the test images that a report shows: comparisons are the first of each label in turn.

    Args:
        given: index of the label that each image was given, [N].
        scores: probability of that label, [N].
        truth: index of its true label, [N].
    """
    right = np.asarray(truth, dtype=np.int64)
    order = np.argsort(-np.asarray(scores), kind="stable")
    wrong = order[(np.asarray(given) != right)[order]].tolist()
    half = min(CONFIDENT_SHOWN, len(order) // 2)
    turns: Counter[int] = Counter()
    in_turn = []
    for row, label in enumerate(right.tolist()):
        in_turn.append((turns[label], label, row))
        turns[label] += 1
    return Picks(
        misclassified=wrong[:MISCLASSIFIED_SHOWN],
        most_confident=order[:half].tolist(),
        least_confident=order[::-1][:half].tolist(),
        comparisons=[row for _, _, row in heapq.nsmallest(COMPARISONS_SHOWN, in_turn)],
    )
