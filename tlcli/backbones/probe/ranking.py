"""How backbones did on the same images, which one is preferred, and what a faster one costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcli.arrays import Doubles
from tlcli.core.evaluation.metrics import Proportion
from tlcli.text import counted

MOST_LOST = 0.01
"""A faster backbone is named if it loses no more accuracy than this, and no more than chance."""


@dataclass(frozen=True)
class Candidate:
    """One backbone and how it did.

    Attributes:
        module: as for ``--module``.
        accuracy: proportion of right labels over the folds, with its interval; None where it
            could not be measured.
        cross_entropy: of the probabilities, mean over the tested images, in nats.
        images_per_second: of the network alone on this machine; None where not measured.
        graph_bytes: size of its frozen graph, and about that of an exported graph.
        multiplications: for one image.
        reason: why it could not be measured, or "".
        right: how often each tested image got its label, 0 to 1, [N].
    """

    module: str
    accuracy: Proportion | None = None
    cross_entropy: float | None = None
    images_per_second: float | None = None
    graph_bytes: int = 0
    multiplications: int = 0
    reason: str = ""
    right: Doubles | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        found = self.accuracy
        return {
            "module": self.module,
            "accuracy": None if found is None else found.value,
            "interval": None if found is None else [found.low, found.high],
            "cross_entropy": self.cross_entropy,
            "images_per_second": self.images_per_second,
            "graph_bytes": self.graph_bytes or None,
            "multiplications": self.multiplications or None,
            "reason": self.reason or None,
        }


@dataclass(frozen=True)
class ModuleComparison:
    """Backbones on the same images.

    Attributes:
        candidates: the lowest cross entropy first, then those that could not be measured.
        best: the module to use, the first of the candidates.
        faster: a module with less work that is hardly worse, see `faster`; None without one.
        images: how many images were tested.
        labels: how many labels they have.
        skipped: (path, reason) of images that could not be read.
    """

    candidates: tuple[Candidate, ...]
    best: str
    faster: str | None
    images: int
    labels: int
    skipped: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON has it."""
        return {
            "best": self.best,
            "faster": self.faster,
            "images": self.images,
            "labels": self.labels,
            "candidates": [each.to_dict() for each in self.candidates],
            "skipped": [{"path": path, "reason": reason} for path, reason in self.skipped],
        }

    def sentence(self) -> str:
        """Return which backbone to use and what was compared, in a sentence."""
        shown = [
            f"{each.module} {each.accuracy.value:.1%}"
            for each in self.candidates
            if each.accuracy is not None
        ]
        tested = f"on {counted(self.images, 'image')} of {counted(self.labels, 'label')}"
        choice = f"{self.best} is the choice: {', '.join(shown)} {tested}"
        advice = self.advice
        return choice if advice is None else f"{choice}; faster: {advice}"

    @property
    def advice(self) -> str | None:
        """What a faster backbone would cost, without a full stop; None where there is none."""
        if self.faster is None:
            return None
        by_name = {each.module: each for each in self.candidates}
        best, faster = by_name[self.best], by_name[self.faster]
        assert best.accuracy is not None
        assert faster.accuracy is not None
        lost = 100 * (best.accuracy.value - faster.accuracy.value)
        accuracy = (
            "as accurate on these images"
            if lost <= 0
            else f"{lost:.1f} points less accurate on these images, which may be chance"
        )
        work = faster.multiplications / best.multiplications
        return f"{faster.module} takes {work:.0%} of its work and is {accuracy}"


def faster(measured: Sequence[Candidate]) -> Candidate | None:
    """Return the candidate with the least work that is hardly worse than the first.

    Hardly worse is one that gets at most `MOST_LOST` fewer images right, and at most one standard
    error of the difference on the same images fewer.
    Work is counted in multiplications, not in seconds, so that every run says the same.

    Args:
        measured: with an accuracy each, on the same images.

    Returns:
        None where no candidate has less work than the first.
    """
    best = measured[0]
    assert best.right is not None
    found = []
    for each in measured[1:]:
        assert each.right is not None
        difference = best.right - each.right
        error = difference.std() / np.sqrt(len(difference))
        if (
            difference.mean() <= min(error, MOST_LOST)
            and each.multiplications < best.multiplications
        ):
            found.append(each)
    return min(found, key=lambda each: (each.multiplications, *order(each)), default=None)


def order(candidate: Candidate) -> tuple[float, int, str]:
    """Return the key of the order of preference.

    The cross entropy tells more of few images than their number of right labels, as it counts how
    sure each of them is.
    """
    assert candidate.cross_entropy is not None
    return candidate.cross_entropy, candidate.multiplications, candidate.module
