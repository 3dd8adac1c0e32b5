"""What changed since an earlier run where images have several labels each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.core.evaluation.growth import Growth, LabelChange, SameImages
from tlcli.core.evaluation.metrics import Bools
from tlcli.core.evaluation.multi_label.figures import MultiLabelEvaluation, value_of
from tlcli.text import counted

UNLABELLED = ""
"""Stands for the images without labels in a list of images by label."""


@dataclass(frozen=True)
class SameMarkedImages(SameImages):
    """Two classifiers on test images that neither was trained on, by the labels that both know.

    An image is right where all of these labels are.

    Attributes:
        precision_before: mean average precision of the earlier classifier, 0 to 1; None where no
            image has one of the labels.
        precision_after: that of this one.
        labels: how many labels both know.
    """

    precision_before: float | None
    precision_after: float | None
    labels: int

    @classmethod
    def compared(
        cls, before: MultiLabelEvaluation, after: MultiLabelEvaluation, right: tuple[Bools, Bools]
    ) -> SameMarkedImages:
        """Return the comparison.

        Args:
            before: figures of the earlier classifier on N images, at least 1, and L labels.
            after: figures of this one on the same.
            right: which images had all labels right by the earlier one, and by this one, [N] each.
        """
        then, now = right
        return cls(
            len(then),
            int(then.sum()),
            int((now & ~then).sum()),
            int((then & ~now).sum()),
            value_of(before.mean_average_precision),
            value_of(after.mean_average_precision),
            len(before.labels),
        )

    def sentence(self) -> str:
        """Report both figures of both classifiers, and whether the difference is chance."""
        found = super().sentence().replace("new to both:", "new to both, all labels right in", 1)
        if self.precision_before is None or self.precision_after is None:
            return found
        return (
            f"Mean average precision of the {counted(self.labels, 'label')} that both know: "
            f"{self.precision_before:.1%} before, {self.precision_after:.1%} now. {found}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON types."""
        return {
            **super().to_dict(),
            "mean_average_precision_before": self.precision_before,
            "mean_average_precision_after": self.precision_after,
            "labels": self.labels,
        }


@dataclass(frozen=True)
class MarkedGrowth(Growth):
    """What changed since an earlier run; `labels` has the images with and without each label.

    Attributes:
        added: images that the earlier run did not have.
        removed: images that only the earlier run had.
    """

    added: int = 0
    removed: int = 0

    def _parts(self) -> list[str]:
        changes = [
            f"{counted(number, 'image')} {what}"
            for number, what in (
                (self.added, "added"),
                (self.removed, "removed"),
                (self.relabelled, "with other labels"),
            )
            if number
        ]
        by_label = [
            each.label + "".join(f" {sign}{number}" for sign, number in signed if number)
            for each in self.labels
            for signed in ((("+", each.added), ("-", each.removed)),)
            if each.added or each.removed
        ]
        if by_label:
            changes.append(self._few("by label", by_label))
        return changes

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON types."""
        return {**super().to_dict(), "added": self.added, "removed": self.removed}


@dataclass(frozen=True)
class MarkChanges:
    """How the images of two runs differ.

    Attributes:
        labels: the images with each label.
        added: images that only this run has.
        removed: images that only the earlier run has.
        relabelled: images of both with other labels now.
    """

    labels: tuple[LabelChange, ...]
    added: int
    removed: int
    relabelled: int


def mark_changes(
    before: Mapping[str, Sequence[int]], now: Mapping[str, Sequence[int]]
) -> MarkChanges:
    """Return how the images of two runs differ.

    Args:
        before: what identifies the images with each label of the earlier run; those without labels
            under `UNLABELLED`.
        now: the same of this run.
    """
    changes = []
    for label in [*now, *(each for each in before if each not in now)]:
        if label != UNLABELLED:
            then, here = Counter(before.get(label, ())), Counter(now.get(label, ()))
            added, removed = (here - then).total(), (then - here).total()
            changes.append(LabelChange(label, then.total(), added, removed))
    old, new = _labels_by_image(before), _labels_by_image(now)
    both = old.keys() & new.keys()
    return MarkChanges(
        tuple(changes),
        len(new.keys() - both),
        len(old.keys() - both),
        sum(old[image] != new[image] for image in both),
    )


def _labels_by_image(images: Mapping[str, Sequence[int]]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for label, numbers in images.items():
        for number in numbers:
            found.setdefault(number, set()).add(label)
    return found
