"""What a check of labelled photos finds, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tlcli.arrays import Floats, Indices
from tlcli.backbone import FeatureBlock
from tlcli.core.photos.main_axes import on_main_axes
from tlcli.core.photos.wrong_labels import PROBABLY_WRONG, suspicions

NEAREST_SHOWN = 3


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
    """

    paths: Sequence[str]
    labels: Sequence[str]
    targets: Indices
    contents: Sequence[str | None]
    vectors: Floats
    blocks: Sequence[FeatureBlock] = ()

    def distinct(self) -> Indices:
        """Return the first row of each content and label, rising."""
        first: dict[tuple[str, int], int] = {}
        for row, (content, target) in enumerate(zip(self.contents, self.targets, strict=True)):
            first.setdefault((content or f"row {row}", int(target)), row)
        return np.array(list(first.values()), np.intp)


@dataclass(frozen=True)
class WrongLabel:
    """A photo whose label is probably wrong.

    Attributes:
        path: of the photo.
        label: that it has.
        proposed: that it looks like.
        score: of the doubt, `PROBABLY_WRONG` to 1.
        votes, voters: of the nearest photos, how many have the proposed label, and how many
            were asked.
        nearest: paths of the nearest ones with the proposed label, nearest first.
    """

    path: str
    label: str
    proposed: str
    score: float
    votes: int
    voters: int
    nearest: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Why the label is doubted, in a few words."""
        return f"{self.votes} of the {self.voters} nearest photos are {self.proposed}"

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return {**vars(self), "score": round(self.score, 4), "nearest": list(self.nearest)}


@dataclass(frozen=True)
class Findings:
    """All that was found, each kind with the most serious first.

    Attributes:
        photos: how many were checked.
        labels: how many labels they have.
        wrong_labels: photos whose label is probably wrong.
        unreadable: (path, reason) of files that could not be read.
    """

    photos: int
    labels: int
    wrong_labels: tuple[WrongLabel, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = field(default=())

    @property
    def issues(self) -> int:
        """How many findings there are of all kinds."""
        return len(self.wrong_labels) + len(self.unreadable)

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return {
            "photos": self.photos,
            "labels": self.labels,
            "issues": self.issues,
            "wrong_labels": [each.to_dict() for each in self.wrong_labels],
            "unreadable": [{"path": path, "reason": why} for path, why in self.unreadable],
        }


def find(photos: Photos, unreadable: Sequence[tuple[str, str]] = ()) -> Findings:
    """Return what is found in photos.

    Args:
        photos: of at least two labels.
        unreadable: (path, reason) of files that could not be read.

    Raises:
        DataError: vectors too large to square.
    """
    distinct = photos.distinct()
    turned = on_main_axes(photos.vectors, photos.blocks)
    return Findings(
        len(photos.paths),
        len(photos.labels),
        wrong_labels=_wrong_labels(photos, turned[distinct], distinct),
        unreadable=tuple(unreadable),
    )


def _wrong_labels(photos: Photos, turned: Floats, rows: Indices) -> tuple[WrongLabel, ...]:
    targets = photos.targets[rows]
    found = suspicions(turned, targets, len(photos.labels))
    listed = []
    for row in found.ranked().tolist():
        if found.scores[row] < PROBABLY_WRONG:
            break
        proposed = found.proposed[row]
        alike = [near for near in found.neighbours.rows[row] if targets[near] == proposed]
        listed.append(
            WrongLabel(
                photos.paths[rows[row]],
                photos.labels[targets[row]],
                photos.labels[proposed],
                float(found.scores[row]),
                int(found.votes[row]),
                found.neighbours.rows.shape[1],
                tuple(photos.paths[rows[near]] for near in alike[:NEAREST_SHOWN]),
            )
        )
    return tuple(listed)
