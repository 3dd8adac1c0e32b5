"""What changed since an earlier run: images, labels, and accuracy on what both were tested on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcli.arrays import Indices
from tlcli.core.evaluation.metrics import SIGNIFICANT, mcnemar
from tlcli.text import counted

# Labels that a line names; the report and JSON have all.
_LABELS_SHOWN = 5


@dataclass(frozen=True)
class LabelChange:
    """Images of one label in two runs.

    Attributes:
        label: its name.
        before: images in the earlier run, 0 for a new label.
        added: images that the earlier run did not have under this label.
        removed: images that only the earlier run had under this label.
    """

    label: str
    before: int
    added: int
    removed: int

    @property
    def now(self) -> int:
        """Images in this run."""
        return self.before + self.added - self.removed


@dataclass(frozen=True)
class SameImages:
    """Two classifiers on test images that neither was trained on, of labels that both know.

    Attributes:
        count: of the images, at least 1.
        right_before: images that the earlier classifier got right.
        better: images that only this one got right.
        worse: images that only the earlier one got right.
    """

    count: int
    right_before: int
    better: int
    worse: int

    @classmethod
    def of(cls, before: Indices, after: Indices, truth: Indices) -> SameImages | None:
        """Compare predicted with true labels, [N] each; None without images.

        Args:
            before: of the earlier classifier; -1 for a label that this one does not know.
            after: of this one.
            truth: the true labels.
        """
        if not len(truth):
            return None
        then, now = before == truth, after == truth
        return cls(len(truth), int(then.sum()), int((now & ~then).sum()), int((then & ~now).sum()))

    @property
    def before(self) -> float:
        """Accuracy of the earlier classifier, 0 to 1."""
        return self.right_before / self.count

    @property
    def after(self) -> float:
        """Accuracy of this classifier, 0 to 1."""
        return (self.right_before + self.better - self.worse) / self.count

    @property
    def p_value(self) -> float:
        """The p value of McNemar's exact test."""
        return mcnemar(self.better, self.worse)

    def sentence(self) -> str:
        """Report both accuracies and whether the difference is more than chance."""
        images = counted(self.count, "test image")
        both = f"On {images} new to both: {self.before:.1%} before, {self.after:.1%} now"
        if not self.better + self.worse:
            return f"{both}; no image is labelled better or worse."
        verdict = "more than chance" if self.p_value < SIGNIFICANT else "may be chance"
        p_value = "p < .001" if self.p_value < 0.001 else f"p = {self.p_value:.2g}"
        return (
            f"{both}; better on {self.better}, worse on {self.worse} of {self.count}: {verdict}, "
            f"{p_value} (McNemar's exact test)."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON types."""
        return {
            "count": self.count,
            "before": self.before,
            "after": self.after,
            "better": self.better,
            "worse": self.worse,
            "p_value": self.p_value,
        }


@dataclass(frozen=True)
class Growth:
    """What changed since an earlier run.

    Attributes:
        card: the model card of the earlier run, as it was given.
        labels: of both runs, those of this run first.
        labels_added: labels that only this run has.
        labels_removed: labels that only the earlier run had.
        relabelled: images that have another label now; they count as added and as removed too.
        exact: images were compared by their content; False: numbers of images alone.
        fit: what the fit began with, in a sentence.
        tested: both classifiers on the same images; None where that was not possible.
        untested: why not, in a sentence; empty where it was.
    """

    card: str
    labels: tuple[LabelChange, ...]
    labels_added: tuple[str, ...]
    labels_removed: tuple[str, ...]
    relabelled: int
    exact: bool
    fit: str = ""
    tested: SameImages | None = None
    untested: str = ""

    def lines(self) -> list[str]:
        """Return sentences on what changed and on what it brought."""
        parts = self._parts()
        for name, labels in (("added", self.labels_added), ("removed", self.labels_removed)):
            if labels:
                noun = "label" if len(labels) == 1 else "labels"
                parts.append(f"{noun} {name}: {', '.join(labels[:_LABELS_SHOWN])}{_more(labels)}")
        what = ", ".join(parts) or "no image added or removed"
        lines = [f"Since {self.card}: {what}."]
        if not self.exact:
            lines[0] += " By their numbers; the card does not list its images."
        return lines + [each for each in (self._outcome(), self.fit) if each]

    def _parts(self) -> list[str]:
        """Return how the images differ, in a few words each."""
        added, removed = (sum(getattr(each, name) for each in self.labels) for name in _COUNTS)
        parts = [
            f"{counted(total, 'image')} {name}{self._by_label(name)}"
            for name, total in (("added", added), ("removed", removed))
            if total
        ]
        if self.relabelled:
            parts.append(f"{self.relabelled} of them with another label")
        return parts

    def _outcome(self) -> str:
        return self.untested if self.tested is None else self.tested.sentence()

    def _by_label(self, name: str) -> str:
        found = sorted(
            ((getattr(each, name), each.label) for each in self.labels if getattr(each, name)),
            key=lambda pair: (-pair[0], pair[1]),
        )
        return f" ({self._few('', [f'{label} {number}' for number, label in found])})"

    @staticmethod
    def _few(what: str, named: Sequence[str]) -> str:
        """Return the first of some names, and how many there are more."""
        return f"{what} {', '.join(named[:_LABELS_SHOWN])}{_more(named)}".strip()

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON types."""
        return {
            "card": self.card,
            "images": {
                each.label: {"before": each.before, "added": each.added, "removed": each.removed}
                for each in self.labels
            },
            "labels_added": list(self.labels_added),
            "labels_removed": list(self.labels_removed),
            "relabelled": self.relabelled,
            "exact": self.exact,
            "tested": None if self.tested is None else self.tested.to_dict(),
            "sentences": self.lines(),
        }


_COUNTS = ("added", "removed")


def _more(found: Sequence[object]) -> str:
    return f" and {len(found) - _LABELS_SHOWN} more" if len(found) > _LABELS_SHOWN else ""


def label_changes(
    before: Mapping[str, Sequence[int]], now: Mapping[str, Sequence[int]]
) -> tuple[tuple[LabelChange, ...], int]:
    """Return the changes of each label, and how many images have another label now.

    Args:
        before: what identifies the images of each label of the earlier run, copies repeated.
        now: the same of this run.
    """
    changes = []
    gone: Counter[int] = Counter()
    come: Counter[int] = Counter()
    for label in [*now, *(each for each in before if each not in now)]:
        then, here = Counter(before.get(label, ())), Counter(now.get(label, ()))
        added, removed = here - then, then - here
        come += added
        gone += removed
        changes.append(LabelChange(label, then.total(), added.total(), removed.total()))
    return tuple(changes), (come & gone).total()


def count_changes(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[LabelChange, ...]:
    """Return the changes of each label where only numbers of images are known."""
    return tuple(
        LabelChange(
            label,
            before.get(label, 0),
            max(0, now.get(label, 0) - before.get(label, 0)),
            max(0, before.get(label, 0) - now.get(label, 0)),
        )
        for label in [*now, *(each for each in before if each not in now)]
    )


def renumbered(labels: Sequence[str], known: Sequence[str]) -> Indices:
    """Return the position of each label among ``known``; -1 where it is not there."""
    places = {label: place for place, label in enumerate(known)}
    return np.array([places.get(label, -1) for label in labels], np.intp)
