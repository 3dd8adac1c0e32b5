"""Which images train, validate and test: decided by their names, never by the machine.

The rule is retrain.py's: the SHA-1 of the name, as a percentage. Two things are added.
Copies of one image go together, so that none is trained on and tested on.
And a label with enough images has at least one in every split that is asked for.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tlcli.errors import DataError, UsageError
from tlcli.system.gc_pause import gc_paused
from tlcli.text import counted

SPLITS = ("training", "validation", "testing")
# The original's constant; its hashes lie in 0 .. 2^27 - 1.
_LARGEST_HASH = 2**27 - 1
_GROUP_MARK = "_nohash_"


def sort_key(name: str) -> str:
    """Return the name in the one spelling that macOS and Linux copies share (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def hash_percentage(name: str) -> float:
    """Return the place of a name, 0 to 100, by the original's rule.

    ``name`` is "FOLDER/NAME.jpg"; all from ``_nohash_`` on is cut off, so that several
    pictures of one thing can be kept in one split by their names.
    """
    kept = _group(name).encode("utf-8", "surrogatepass")
    # Not for security: the original's choice keeps its splits.
    digest = hashlib.sha1(kept, usedforsecurity=False).digest()
    # The lowest 27 bits of the whole number lie in its last four bytes.
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
class _Unit:
    """Images that go together: copies, and names of one label equal up to ``_nohash_``."""

    rows: list[int]
    name: str
    percentage: float
    split: str
    labels: set[str]


@gc_paused()
def assign_splits(
    names: Sequence[str],
    labels: Sequence[str],
    contents: Sequence[str | None],
    testing_percentage: float,
    validation_percentage: float,
) -> list[str]:
    """Return the split of each image, in the order given.

    Images go together where their contents (SHA-256; None: unknown) are equal, or their labels
    and their names up to ``_nohash_``; such a group follows its first name in sort order. Where
    a split would have none of a label, the group whose hash is nearest to that split's range
    moves there from a split that has more than one (of each label that the group is in).

    Adding an image moves no other, except in a label where that minimum was or becomes
    needed, or when it joins a group and is its new first name.

    Raises:
        UsageError: the percentages cannot work.
        DataError: a label has fewer distinct images than there are splits, or none to train on.
    """
    check_percentages(testing_percentage, validation_percentage)
    by_label: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        by_label.setdefault(label, []).append(row)
    units = {label: _units(label, rows, names, contents) for label, rows in by_label.items()}
    if cross_label_duplicates(names, labels, contents):
        _join_labels(units, contents)
    counts = {label: dict.fromkeys(SPLITS, 0) for label in units}
    for unit in _each(units):
        unit.split = split_of(unit.percentage, testing_percentage, validation_percentage)
        for label in unit.labels:
            counts[label][unit.split] += 1
    # In an order of their own: the order in which the images were given decides nothing.
    for label in sorted(units, key=lambda label: (sort_key(label), label)):
        images = len(by_label[label])
        _fill_empty_splits(
            label, images, units[label], counts, testing_percentage, validation_percentage
        )
    result = [""] * len(names)
    for unit in _each(units):
        for row in unit.rows:
            result[row] = unit.split
    return result


def _each(units: Mapping[str, Sequence[_Unit]]) -> Iterator[_Unit]:
    """Yield every unit once; one of several labels is in the lists of all."""
    for label, found in units.items():
        for unit in found:
            if len(unit.labels) == 1 or label == min(unit.labels):
                yield unit


def _join_labels(units: dict[str, list[_Unit]], contents: Sequence[str | None]) -> None:
    """Make one unit of those of different labels that share a content."""
    owner: dict[str | None, _Unit] = {}
    joined: dict[int, _Unit] = {}  # id of a unit that was taken up -> by which

    def final(unit: _Unit) -> _Unit:
        while id(unit) in joined:
            unit = joined[id(unit)]
        return unit

    for unit in [unit for found in units.values() for unit in found]:
        for content in {contents[row] for row in unit.rows} - {None}:
            one, other = final(owner.setdefault(content, unit)), final(unit)
            if one is other:
                continue
            if (sort_key(other.name), other.name) < (sort_key(one.name), one.name):
                one, other = other, one
            one.rows += other.rows
            one.labels |= other.labels
            joined[id(other)] = one
    if joined:
        for label, found in units.items():
            units[label] = list({id(final(unit)): final(unit) for unit in found}.values())


def cross_label_duplicates(
    names: Sequence[str], labels: Sequence[str], contents: Sequence[str | None]
) -> list[tuple[str, ...]]:
    """Return the names of images whose content lies under more than one label, group by group."""
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


def _group(name: str) -> str:
    return sort_key(name).partition(_GROUP_MARK)[0]


def _units(
    label: str, rows: Sequence[int], names: Sequence[str], contents: Sequence[str | None]
) -> list[_Unit]:
    """Join the images of one label that share a content or a name up to ``_nohash_``."""
    # Places in sort order stand for the images: the first name of a unit is its least place.
    order = sorted(rows, key=lambda row: (sort_key(names[row]), names[row]))
    joined: dict[int, int] = {}  # place -> an earlier one of the same unit

    def first(place: int) -> int:
        while place in joined:
            place = joined[place]
        return place

    by_group: dict[str, int] = {}
    by_content: dict[str, int] = {}
    for place, row in enumerate(order):
        content = contents[row]
        met = by_group.setdefault(_group(names[row]), place)
        copy = place if content is None else by_content.setdefault(content, place)
        if met == copy == place:  # as nearly all are
            continue
        for other in (met, copy):
            low, high = sorted((first(other), first(place)))
            if low != high:
                joined[high] = low
    units: dict[int, _Unit] = {}
    for place, row in enumerate(order):
        start = first(place)
        if start not in units:
            units[start] = _Unit([], names[row], hash_percentage(names[row]), "", {label})
        units[start].rows.append(row)
    return list(units.values())


def _fill_empty_splits(
    label: str,
    images: int,
    units: Sequence[_Unit],
    counts: dict[str, dict[str, int]],
    testing_percentage: float,
    validation_percentage: float,
) -> None:
    ranges = {
        "validation": (0.0, float(validation_percentage)),
        "testing": (validation_percentage, validation_percentage + testing_percentage),
        "training": (validation_percentage + testing_percentage, 100.0),
    }
    wanted = [split for split, (low, high) in ranges.items() if high > low]
    if len(units) < len(wanted):
        raise DataError(_too_few(label, images, len(units), wanted))
    for split in wanted:
        if counts[label][split]:
            continue
        low, high = ranges[split]
        movable = [
            unit for unit in units if all(counts[each][unit.split] > 1 for each in unit.labels)
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
            key=lambda unit: (max(low - unit.percentage, unit.percentage - high), unit.name),
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
    return (
        f"the label {label!r} has {has}, but {splits} need one each: add images until it has "
        f"at least {len(wanted)} different ones, remove its folder, or give "
        "--testing_percentage 0 --validation_percentage 0"
    )
