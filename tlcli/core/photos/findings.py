"""What a check of labelled photos finds, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NO_LABEL = "no label"
"""What is shown of a photo that has none of several labels."""


@dataclass(frozen=True)
class WrongLabel:
    """A photo whose label is probably wrong.

    Attributes:
        path: of the photo.
        label: that it has.
        proposed: that it looks like.
        score: of the doubt, 0 to 1: how little speaks for the label.
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
class WrongMark(WrongLabel):
    """A label that a photo with several labels probably has wrongly, or lacks.

    ``label`` and ``proposed`` are all its labels, as they are and as they would be, with ``|``
    between them; "" for none. ``votes`` is how many of the nearest photos lack the doubted label,
    or have it where this photo lacks it.

    Attributes:
        doubted: the label.
        has: whether the photo has it.
    """

    doubted: str
    has: bool

    @property
    def reason(self) -> str:
        """Why the label is doubted, in a few words."""
        what, votes = ("doubted", "lack it") if self.has else ("missed", "have it")
        return f"{self.doubted} is {what}: {self.votes} of the {self.voters} nearest photos {votes}"


@dataclass(frozen=True)
class CopyPair:
    """Two photos with the same picture.

    Attributes:
        paths: of both.
        labels: of both.
        splits: "training", "validation" or "testing" of both.
        kind: "same file", "copy", "crop", "mirrored" or "mirrored crop".
    """

    paths: tuple[str, str]
    labels: tuple[str, str]
    splits: tuple[str, str]
    kind: str

    @property
    def straddles(self) -> bool:
        """Whether the two are in different splits, so that a test has seen its photo."""
        return self.splits[0] != self.splits[1]

    @property
    def reason(self) -> str:
        """What is wrong beside the copy, in a few words."""
        parts = [self.kind]
        if self.labels[0] != self.labels[1]:
            one, other = (label or NO_LABEL for label in self.labels)
            parts.append(f"labels {one} and {other}")
        if self.straddles:
            parts.append(f"in {self.splits[0]} and {self.splits[1]}")
        return ", ".join(parts)


@dataclass(frozen=True)
class Odd:
    """A photo that is odd, and why."""

    path: str
    label: str
    reason: str


@dataclass(frozen=True)
class Note:
    """Something about a label, or about all of them.

    Attributes:
        kind: "few", "imbalance" or "shortcut".
        label: its name; "" for all.
        text: one sentence.
    """

    kind: str
    label: str
    text: str


@dataclass(frozen=True)
class Findings:
    """All that was found, each kind with the most serious first.

    Attributes:
        photos: how many were checked.
        labels: how many labels they have.
        wrong_labels: photos whose label is probably wrong.
        copies: pairs of photos with the same picture.
        odd: odd photos.
        groups: paths that copies join.
        films: paths of photos that may be frames of one film each.
        notes: on labels.
        unreadable: (path, reason) of files that could not be read.
        doubted: of photos with several labels: each label with the number of photos that
            probably have it wrongly, and of those that probably lack it; else None.
    """

    photos: int
    labels: int
    wrong_labels: tuple[WrongLabel, ...] = ()
    copies: tuple[CopyPair, ...] = ()
    odd: tuple[Odd, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    films: tuple[tuple[str, ...], ...] = ()
    notes: tuple[Note, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    doubted: Mapping[str, tuple[int, int]] | None = None

    @property
    def issues(self) -> int:
        """How many findings there are of all kinds; films are proposals and do not count."""
        kinds = (self.wrong_labels, self.copies, self.odd, self.notes, self.unreadable)
        return sum(map(len, kinds))

    @property
    def straddling(self) -> int:
        """How many pairs of copies are in two splits."""
        return sum(each.straddles for each in self.copies)

    def seen_in_training(self) -> frozenset[str]:
        """Return the paths of testing photos that have a copy among the training photos."""
        splits: dict[str, str] = {}
        for each in self.copies:
            splits.update(zip(each.paths, each.splits, strict=True))
        return frozenset(
            path
            for group in self.groups
            if any(splits.get(other) == "training" for other in group)
            for path in group
            if splits.get(path) == "testing"
        )

    def counts(self) -> dict[str, int]:
        """Return the number of findings by kind."""
        return {
            "wrong_labels": len(self.wrong_labels),
            "copies": len(self.copies),
            "odd": len(self.odd),
            "notes": len(self.notes),
            "unreadable": len(self.unreadable),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        found: dict[str, Any] = {
            "photos": self.photos,
            "labels": self.labels,
            "issues": self.issues,
            "wrong_labels": [each.to_dict() for each in self.wrong_labels],
            "copies": [[*each.paths, each.kind] for each in self.copies],
            "straddling": [
                [path for pair in zip(each.paths, each.splits, strict=True) for path in pair]
                for each in self.copies
                if each.straddles
            ],
            "odd": [vars(each) for each in self.odd],
            "groups": [list(each) for each in self.groups],
            "films": [list(each) for each in self.films],
            "notes": [vars(each) for each in self.notes],
            "unreadable": [{"path": path, "reason": why} for path, why in self.unreadable],
        }
        if self.doubted is not None:
            found["doubted"] = {
                label: {"has": has, "lacks": lacks} for label, (has, lacks) in self.doubted.items()
            }
        return found

    def files(self) -> list[str]:
        """Return the files that were found, each once: of copies, all but the first of a group.

        Photos of films and of notes are not among them.
        """
        found = [
            *(each.path for each in self.wrong_labels),
            *(path for group in self.groups for path in group[1:]),
            *(each.path for each in self.odd),
            *(path for path, _ in self.unreadable),
        ]
        return list(dict.fromkeys(found))
