"""The training, validation and testing splits: a function of image names, never of the machine.

The rule is retrain.py's: the SHA-1 of the name, as a percentage. Two things are added: copies
of one image share a split, so that none is in training and testing, and a label with enough
images has at least one in every requested split.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain

from tlcli.errors import DataError, UsageError
from tlcli.system.gc_pause import gc_paused
from tlcli.text import counted

SPLITS = ("training", "validation", "testing")
Labels = Sequence[str | Set[str]]
"""The label of each image, or the set of its labels, which may be empty."""
# The original's constant; its hashes lie in 0 .. 2^27 - 1.
_LARGEST_HASH = 2**27 - 1
_GROUP_MARK = "_nohash_"


def sort_key(name: str) -> str:
    """Return the name in the Unicode form that macOS and Linux copies have in common (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def hash_percentage(name: str) -> float:
    """Return the hash of a name as a percentage, 0 to 100, by the original's rule.

    ``name`` is "FOLDER/NAME.jpg"; everything from ``_nohash_`` on is ignored, so that names can
    put several pictures of one object into one split.
    """
    hashed = _group_name(name).encode("utf-8", "surrogatepass")
    # Not for security: SHA-1 gives the splits of the original.
    digest = hashlib.sha1(hashed, usedforsecurity=False).digest()
    # The lowest 27 bits of the number are in its last four bytes.
    return (int.from_bytes(digest[-4:], "big") & _LARGEST_HASH) * (100.0 / _LARGEST_HASH)


def split_of(percentage: float, testing_percentage: float, validation_percentage: float) -> str:
    """Return the split that a `hash_percentage` falls into."""
    if percentage < validation_percentage:
        return "validation"
    if percentage < testing_percentage + validation_percentage:
        return "testing"
    return "training"


def check_percentages(testing_percentage: float, validation_percentage: float) -> None:
    """Refuse percentages that leave nothing to train on.

    Raises:
        UsageError: one is outside 0..100, or the sum is 100 or more.
    """
    for option, value in (
        ("--testing_percentage", testing_percentage),
        ("--validation_percentage", validation_percentage),
    ):
        if not 0 <= value <= 100:
            raise UsageError(f"{option} is {value:g}; give a number from 0 to 99")
    if testing_percentage + validation_percentage >= 100:
        raise UsageError(
            f"--testing_percentage {testing_percentage:g} and --validation_percentage "
            f"{validation_percentage:g} leave nothing to train on; their sum must be below 100"
        )


@dataclass(slots=True)
class _Group:
    """Images that share a split: copies, and names of one label equal up to ``_nohash_``."""

    rows: list[int]
    name: str
    percentage: float
    split: str
    labels: set[str]


@gc_paused()
def assign_splits(
    names: Sequence[str],
    labels: Labels,
    contents: Sequence[str | None],
    testing_percentage: float,
    validation_percentage: float,
) -> list[str]:
    """Return the split of each image, in the order given.

    Images form a group where their contents (SHA-256; None: unknown) are equal, or their labels
    and their names up to ``_nohash_``; the first name in sort order decides the group's split.
    Where a split would have no image of a label, the group whose hash is nearest to that split's
    range moves there from a split that has more than one (of each label of the group). Of images
    with sets of labels, equal names up to ``_nohash_`` form a group whatever the labels are.

    Adding an image moves no other, except in a label where that minimum was or becomes
    necessary, or when the image joins a group and is its new first name.

    Raises:
        UsageError: invalid percentages, see `check_percentages`.
        DataError: a label has fewer distinct images than there are splits, or none to train on.
    """
    check_percentages(testing_percentage, validation_percentage)
    groups = _groups_of(names, labels, contents)
    images = Counter(chain.from_iterable(map(_set_of, labels)))
    by_label: dict[str, list[_Group]] = {label: [] for label in images}
    counts = {label: dict.fromkeys(SPLITS, 0) for label in images}
    for group in groups:
        group.split = split_of(group.percentage, testing_percentage, validation_percentage)
        for label in group.labels:
            by_label[label].append(group)
            counts[label][group.split] += 1
    validation_end = float(validation_percentage)
    testing_end = validation_percentage + testing_percentage
    ranges = {
        "validation": (0.0, validation_end),
        "testing": (validation_end, testing_end),
        "training": (testing_end, 100.0),
    }
    # Sorted, so that the order in which the images were given has no effect.
    for label in sorted(images, key=lambda label: (sort_key(label), label)):
        _fill_empty_splits(label, images[label], by_label[label], counts, ranges)
    result = [""] * len(names)
    for group in groups:
        for row in group.rows:
            result[row] = group.split
    return result


def drawn_splits(given: Sequence[str | None]) -> tuple[str, ...]:
    """Return which of validation and testing are to be drawn where the data give some splits.

    Args:
        given: of each image; None: without one.
    """
    present = set(given)
    if None in present:
        return ("validation", "testing")
    return tuple(split for split in ("validation", "testing") if split not in present)


def complete_splits(
    names: Sequence[str],
    labels: Labels,
    contents: Sequence[str | None],
    given: Sequence[str | None],
    percentages: Mapping[str, float],
) -> list[str]:
    """Return the split of each image where the data give at least some.

    Given splits stay, except that training images with the content of a validation or testing
    image get "": they are left out, and what is measured stays as it was published. Images
    without a split get one by the usual rule; where all have one, a missing validation or testing
    split is drawn from the training images by that rule.

    Args:
        names: as for `assign_splits`.
        labels: as for `assign_splits`.
        contents: SHA-256, None where unknown.
        given: "training", "validation", "testing" or None.
        percentages: of "validation" and "testing" among the images that are divided; see
            `drawn_splits`.

    Raises:
        UsageError: invalid percentages.
        DataError: a label has too few images to divide, or no training images of its own.
    """
    free = [row for row, split in enumerate(given) if split is None]
    rows = free or [row for row, split in enumerate(given) if split == "training"]
    drawn = drawn_splits(given)
    testing, validation = (
        percentages[split] if split in drawn else 0 for split in ("testing", "validation")
    )
    result = [split or "" for split in given]
    chosen = (
        [names[row] for row in rows],
        [labels[row] for row in rows],
        [contents[row] for row in rows],
    )
    if free:  # beside given ones, a label needs none of its own in every split
        check_percentages(testing, validation)
        for group in _groups_of(*chosen):
            for row in group.rows:
                result[rows[row]] = split_of(group.percentage, testing, validation)
    else:
        for row, split in zip(rows, assign_splits(*chosen, testing, validation), strict=True):
            result[row] = split
    measured = {
        content
        for content, split in zip(contents, result, strict=True)
        if content is not None and split != "training"
    }
    result = [
        "" if split == "training" and content in measured else split
        for content, split in zip(contents, result, strict=True)
    ]
    _check_training(labels, result)
    return result


def _check_training(labels: Labels, splits: Sequence[str]) -> None:
    pairs = list(zip(labels, splits, strict=True))
    trained = _union(label for label, split in pairs if split == "training")
    left_out = _union(label for label, split in pairs if not split)
    for label in sorted(_union(labels) - trained):
        if label in left_out:
            raise DataError(
                f"all training images of the label {label!r} are copies of its validation or "
                "testing images; add other images of it, or remove the copies"
            )
        raise DataError(
            f"the label {label!r} has no training images; add some, or remove its other images"
        )


def cross_label_duplicates(
    names: Sequence[str], labels: Sequence[str], contents: Sequence[str | None]
) -> list[tuple[str, ...]]:
    """Return the names of images whose content has more than one label, group by group."""
    first_label: dict[str, str] = {}
    groups: dict[str, list[int]] = {}
    for content, label in zip(contents, labels, strict=True):
        if content is not None and first_label.setdefault(content, label) != label:
            groups[content] = []
    if not groups:
        return []
    for row, content in enumerate(contents):
        if content in groups:
            groups[content].append(row)
    return sorted(tuple(sorted(names[row] for row in rows)) for rows in groups.values())


def _set_of(label: str | Set[str]) -> Set[str]:
    return {label} if isinstance(label, str) else label


def _union(labels: Iterable[str | Set[str]]) -> set[str]:
    return set(chain.from_iterable(map(_set_of, labels)))


def _group_name(name: str) -> str:
    return sort_key(name).partition(_GROUP_MARK)[0]


def _groups_of(
    names: Sequence[str], labels: Labels, contents: Sequence[str | None]
) -> list[_Group]:
    """Group images with equal content, or equal label and equal name up to ``_nohash_``."""
    # Images are positions in sort order: the lowest position is the first name of a group.
    order = sorted(range(len(names)), key=lambda row: (sort_key(names[row]), names[row]))
    joined: dict[int, int] = {}  # position -> an earlier one of the same group

    def first(position: int) -> int:
        while position in joined:
            position = joined[position]
        return position

    # Of images with sets of labels, all are namesakes of one another.
    own = [label if isinstance(label, str) else "" for label in labels]
    by_group_name: dict[str, dict[str, int]] = {label: {} for label in own}
    by_content: dict[str, int] = {}
    for position, row in enumerate(order):
        content = contents[row]
        namesake = by_group_name[own[row]].setdefault(_group_name(names[row]), position)
        copy = position if content is None else by_content.setdefault(content, position)
        if namesake == copy == position:  # as nearly all are
            continue
        for other in (namesake, copy):
            low, high = sorted((first(other), first(position)))
            if low != high:
                joined[high] = low
    groups: dict[int, _Group] = {}
    for position, row in enumerate(order):
        start = first(position)
        if start not in groups:
            groups[start] = _Group([], names[row], hash_percentage(names[row]), "", set())
        groups[start].rows.append(row)
        groups[start].labels.update(_set_of(labels[row]))
    return list(groups.values())


def _fill_empty_splits(
    label: str,
    images: int,
    groups: Sequence[_Group],
    counts: dict[str, dict[str, int]],
    ranges: Mapping[str, tuple[float, float]],
) -> None:
    """Move groups of a label so that no split with a range of hashes is empty.

    Args:
        label: the label.
        images: how many it has, for the message.
        groups: of its images; their ``split`` is changed.
        counts: groups by label and split, changed along.
        ranges: the range of hashes of each split, in the order of filling.

    Raises:
        DataError: there are too few groups.
    """
    wanted = [split for split, (low, high) in ranges.items() if high > low]
    if len(groups) < len(wanted):
        raise DataError(_too_few(label, images, len(groups), wanted))
    for split in wanted:
        if counts[label][split]:
            continue
        low, high = ranges[split]
        movable = [
            group for group in groups if all(counts[each][group.split] > 1 for each in group.labels)
        ]
        if not movable and split == "training":
            raise DataError(
                f"the label {label!r} has no image to train on that is not under another label "
                "too; remove the copies"
            )
        if not movable:
            continue
        nearest = min(
            movable,
            key=lambda group: (max(low - group.percentage, group.percentage - high), group.name),
        )
        for each in nearest.labels:
            counts[each][nearest.split] -= 1
            counts[each][split] += 1
        nearest.split = split


def _too_few(label: str, images: int, distinct: int, wanted: Sequence[str]) -> str:
    has = counted(images, "image")
    if distinct < images:
        has += f", {distinct} of them distinct"
    splits = " and ".join(sorted(wanted))
    if len(wanted) == 3:
        splits = "training, validation and testing"
    drawn = [split for split in ("testing", "validation") if split in wanted]
    zeros = " ".join(f"--{split}_percentage 0" for split in drawn)
    return (
        f"the label {label!r} has {has}, but {splits} need one each: add images until it has "
        f"at least {len(wanted)} different ones, remove its folder, or give {zeros}"
    )
