"""Gather what a report shows: small pictures, and which test images are worth a look."""

from __future__ import annotations

import base64
import heapq
import io
import os
import urllib.parse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Array
from tlcli.storage.locations import is_url, shown

if TYPE_CHECKING:
    from PIL import Image

JPEG_QUALITY = 80
THUMBNAIL_SIDE = 160
# About 15 KB a picture with its heat map: the page stays well under a megabyte.
MISCLASSIFIED_SHOWN = 20
# With a picture, in all groups together; further ones are listed by name.
MISTAKES_SHOWN = 40
LISTED_SHOWN = 150
LISTED_OF_A_PAIR = 20
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


@dataclass(frozen=True)
class MistakeRows:
    """Images of one true label that were given one other label: how many, and which to show.

    Attributes:
        label, predicted: index of each.
        count: how many images these are.
        pictured: rows to show with a picture, the most certain mistakes first.
        listed: rows to show by name, likewise.
    """

    label: int
    predicted: int
    count: int
    pictured: list[int]
    listed: list[int]


def data_uri(image: Image.Image) -> str:
    """Return the image as a JPEG inside a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def pictures(
    source: Path | str, maps: Sequence[Array | None] = (), *, upright: bool = True
) -> tuple[str | None, list[str | None]]:
    """Return a small picture of an image, and one with each activation map over it, as data URIs.

    Args:
        source: the file; all pictures are None if it cannot be read.
        maps: [h, w] each; None gives None.
        upright: apply its EXIF orientation, as the network does.
    """
    # Imported vectors alone need nothing that decodes images.
    from tlcli.core.heat_maps.overlay import overlay
    from tlcli.core.images.thumbnails import picture

    image = picture(source, THUMBNAIL_SIDE, upright=upright)
    if image is None:
        return None, [None] * len(maps)
    return data_uri(image), [
        None if each is None else data_uri(overlay(image, each)) for each in maps
    ]


def spread(count: int, most: int) -> npt.NDArray[np.intp]:
    """Return at most ``most`` of ``count`` rows, evenly: sorted by label, each keeps its share."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(np.intp))


def file_link(file: Path | str, page: Path | str) -> str:
    """Return the address of a file as a page may link to it, percent-encoded.

    It is relative where both have a folder in common, so that the folder can be moved, else
    absolute.
    """
    if is_url(file):
        return shown(file)
    if is_url(page):
        return Path(os.path.abspath(file)).as_uri()  # noqa: PTH100
    # Not resolved: a link among the folders moves with them.
    target, start = (Path(os.path.abspath(each)) for each in (file, page))  # noqa: PTH100
    # The root, and on other systems the drive, do not move.
    if target.parts[:2] != start.parts[:2]:
        return target.as_uri()
    relative = Path(os.path.relpath(target, start.parent)).as_posix()
    return urllib.parse.quote(os.fsencode(relative))


def mistakes_shown(
    truth: npt.ArrayLike, given: npt.ArrayLike, scores: npt.ArrayLike
) -> list[MistakeRows]:
    """Group wrong predictions by pair of labels, and choose those to show.

    Half of the pictures go to the most certain mistakes, the others to each pair in turn. The
    groups with the most images come first.

    Args:
        truth: index of the true label of each image, [N].
        given: index of the label that it was given, [N].
        scores: probability of that label, [N].
    """
    right, guessed = (np.asarray(each, np.int64) for each in (truth, given))
    certain = np.argsort(-np.asarray(scores), kind="stable")
    wrong = certain[(right != guessed)[certain]]
    members: dict[tuple[int, int], list[int]] = {}
    for row in wrong.tolist():
        members.setdefault((int(right[row]), int(guessed[row])), []).append(row)
    # By size; then, since a dictionary keeps its order, by the most certain mistake.
    pairs = sorted(members, key=lambda pair: -len(members[pair]))
    pictured = set(wrong[:MISCLASSIFIED_SHOWN].tolist())
    for turn in range(max(map(len, members.values()), default=0)):
        if len(pictured) >= MISTAKES_SHOWN:
            break
        for pair in pairs:
            if turn < len(members[pair]) and len(pictured) < MISTAKES_SHOWN:
                pictured.add(members[pair][turn])
    groups, room = [], LISTED_SHOWN
    for pair in pairs:
        shown = [row for row in members[pair] if row in pictured]
        rest = [row for row in members[pair] if row not in pictured]
        listed = rest[: min(LISTED_OF_A_PAIR, room)]
        room -= len(listed)
        if shown or listed:
            groups.append(MistakeRows(*pair, len(members[pair]), shown, listed))
    return groups


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
