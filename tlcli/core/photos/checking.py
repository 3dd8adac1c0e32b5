"""All findings about labelled photos, from their vectors and facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Floats, Indices
from tlcli.backbone import FeatureBlock
from tlcli.core.fitting.main_axes import directions, on_main_axes
from tlcli.core.photos.facts import Facts
from tlcli.core.photos.films import films
from tlcli.core.photos.findings import CopyPair, Findings, Note, Odd, WrongLabel
from tlcli.core.photos.near_copies import Copy, groups_of, near_copies, thumbnail_rows
from tlcli.core.photos.neighbours import Neighbours, nearest
from tlcli.core.photos.odd import odd_photos
from tlcli.core.photos.shortcuts import Shortcut, shortcuts
from tlcli.core.photos.wrong_labels import NEIGHBOURS, suspicions
from tlcli.runtime.blas_threads import one_blas_thread
from tlcli.text import counted

NEAREST_SHOWN = 3
FEW = 30
"""Photos of a label, below which more are asked for."""
UNEVEN = 10
"""Times that the largest label has the photos of the smallest one, from which on it is reported."""
_SPLITS = ("training", "validation", "testing")


@dataclass(frozen=True)
class Photos:
    """Labelled photos with their vectors; rows of all fields belong together.

    Attributes:
        paths: where each is, for people, [N].
        labels: label names, [L].
        targets: index of each photo's label, [N].
        contents: SHA-256 of each file, None where it is unknown, [N].
        vectors: float32 [N, D].
        blocks: the layers that a vector joins; empty for one layer.
        splits: "training", "validation" or "testing" of each, [N]; empty: all in one.
        facts: of the images; None where there are vectors alone.
        turned: returns the vectors on their main axes, where they are wanted elsewhere too;
            None: they are turned here.
    """

    paths: Sequence[str]
    labels: Sequence[str]
    targets: Indices
    contents: Sequence[str | None]
    vectors: Floats
    blocks: Sequence[FeatureBlock] = ()
    splits: Sequence[str] = ()
    facts: Facts | None = None
    turned: Callable[[], Floats] | None = None

    def same(self) -> dict[tuple[str, int], list[int]]:
        """Return the rows of each content and label."""
        found: dict[tuple[str, int], list[int]] = {}
        for row, (content, target) in enumerate(zip(self.contents, self.targets, strict=True)):
            found.setdefault((content or f"row {row}", int(target)), []).append(row)
        return found

    def split(self, row: int) -> str:
        """Return the split of a row."""
        return self.splits[row] if self.splits else _SPLITS[0]


@dataclass(frozen=True)
class Compared:
    """Photos that were compared, of files with the same content and label only the first.

    Attributes:
        rows: of the photos, [M].
        turned: their vectors on main axes, float32 [M, A].
        near: the nearest of each among them; indices into ``rows``.
    """

    rows: Indices
    turned: Floats
    near: Neighbours


@dataclass(frozen=True)
class LabelFindings:
    """What a check finds about labels.

    Attributes:
        wrong_labels: returns photos with a probably wrong label, the most doubtful first.
        notes: returns what is to be said of labels, from their photos.
    """

    wrong_labels: Callable[[Photos, Compared], Iterable[WrongLabel]]
    notes: Callable[[Photos], Iterable[Note]]


@one_blas_thread()
def find(
    photos: Photos,
    unreadable: Sequence[tuple[str, str]] = (),
    *,
    crops: bool = True,
    about_labels: LabelFindings | None = None,
) -> Findings:
    """Return what is found in photos.

    Args:
        photos: of at least two labels, or one where ``about_labels`` takes it.
        unreadable: (path, reason) of files that could not be read.
        crops: look for crops and mirror images too, which takes most of the time.
        about_labels: what is found about labels; None: what makes sense of one label per photo.

    Raises:
        DataError: vectors too large to square.
    """
    same = list(photos.same().values())
    rows = np.array([each[0] for each in same], np.intp)
    if photos.turned is None:
        turned = on_main_axes(photos.vectors, photos.blocks)[rows]
    else:
        turned = photos.turned()[rows]
    directed = directions(turned)
    near = nearest(directed, NEIGHBOURS)
    about_labels = about_labels or LabelFindings(_wrong_labels, _notes)
    wrong_labels = tuple(about_labels.wrong_labels(photos, Compared(rows, turned, near)))
    pairs = [(each[0], other, "same file") for each in same for other in each[1:]]
    frames: list[Indices] = []
    odd: tuple[Odd, ...] = ()
    if photos.facts is not None:
        facts = photos.facts
        if len(rows) < len(facts.table):  # else they are all, in their order
            facts = Facts(facts.table[rows])
        thumbnails = facts.thumbnails()
        matched = near if crops else nearest(directed, 0)
        found = near_copies(thumbnails, directed, matched)
        pairs += [_pair(photos, rows, each) for each in found]
        paths = [photos.paths[row] for row in rows]
        coarse = thumbnail_rows(thumbnails, 16)
        frames = films(paths, photos.targets[rows], directed, coarse)
        odd = tuple(
            Odd(paths[row], photos.labels[photos.targets[rows[row]]], reason)
            for row, reason in odd_photos(facts, near.cosines)
        )
    copies = [
        CopyPair(
            (photos.paths[one], photos.paths[other]),
            (photos.labels[photos.targets[one]], photos.labels[photos.targets[other]]),
            (photos.split(one), photos.split(other)),
            kind,
        )
        for one, other, kind in pairs
    ]
    copies.sort(key=lambda each: (each.labels[0] == each.labels[1], not each.straddles))
    joined = groups_of([(one, other) for one, other, _ in pairs])
    return Findings(
        len(photos.paths),
        len(photos.labels),
        wrong_labels=wrong_labels,
        copies=tuple(copies),
        odd=odd,
        groups=tuple(tuple(photos.paths[row] for row in group) for group in joined),
        films=tuple(tuple(photos.paths[rows[row]] for row in frame) for frame in frames),
        notes=tuple(about_labels.notes(photos)),
        unreadable=tuple(unreadable),
    )


def _pair(photos: Photos, rows: Indices, found: Copy) -> tuple[int, int, str]:
    one, other = int(rows[found.first]), int(rows[found.second])
    content = photos.contents[one]
    is_same = content is not None and content == photos.contents[other]
    return one, other, "same file" if is_same else found.kind


def _wrong_labels(photos: Photos, compared: Compared) -> Iterator[WrongLabel]:
    rows = compared.rows
    targets = photos.targets[rows]
    found = suspicions(compared.turned, targets, len(photos.labels), compared.near)
    for row in found.ranked().tolist():
        if not found.probably_wrong[row]:
            continue
        proposed = found.proposed[row]
        alike = [near for near in found.neighbours.rows[row] if targets[near] == proposed]
        yield WrongLabel(
            photos.paths[rows[row]],
            photos.labels[targets[row]],
            photos.labels[proposed],
            float(found.scores[row]),
            int(found.votes[row]),
            found.neighbours.rows.shape[1],
            tuple(photos.paths[rows[near]] for near in alike[:NEAREST_SHOWN]),
        )


def _notes(photos: Photos) -> Iterator[Note]:
    yield from notes_on_numbers(
        photos.labels, np.bincount(photos.targets, minlength=len(photos.labels))
    )
    if photos.facts is not None:
        found = shortcuts(photos.facts, photos.targets, len(photos.labels))
        for each in found:
            yield note_on_shortcut(photos.labels[each.label], each)


def notes_on_numbers(labels: Sequence[str], counts: Indices) -> Iterator[Note]:
    """Yield what is to be said of the numbers of photos, [L]."""
    smallest, largest = int(counts.argmin()), int(counts.argmax())
    if counts[largest] >= UNEVEN * counts[smallest]:
        yield Note(
            "imbalance",
            "",
            f"{labels[largest]} has {counts[largest]} photos and {labels[smallest]} "
            f"{counts[smallest]}; add photos of the small labels, or see --label_weights.",
        )
    for label in np.argsort(counts, kind="stable").tolist():
        if counts[label] >= FEW:
            break
        name, count = labels[label], counted(int(counts[label]), "photo")
        yield Note("few", name, f"{name} has {count}; {FEW} are a workable minimum.")


def note_on_shortcut(name: str, found: Shortcut) -> Note:
    """Return what is to be said of a label that a trivial fact predicts."""
    return Note(
        "shortcut",
        name,
        f"The {found.feature} alone finds {found.recall:.0%} of {name}, and is right in "
        f"{found.precision:.0%} of what it finds: these labels may differ by how their photos "
        "were taken or stored.",
    )
