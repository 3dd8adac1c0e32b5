"""Differences between recipes on the same images, with the errors of those differences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Outcome:
    """What a recipe got right.

    Attributes:
        right: 1 for right, 0 for wrong, NaN where the image was not tested, [seeds, N].
        fold_of: the fold in which each image was tested, [seeds, N].
        seconds: of one fit, the median.
    """

    right: np.ndarray
    fold_of: np.ndarray
    seconds: float

    @property
    def accuracy(self) -> float:
        """In per cent."""
        return 100 * float(np.nanmean(self.right))


def joined(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what a recipe got right in several divisions of one collection, the first first."""
    return Outcome(
        np.concatenate([each.right for each in outcomes]),
        np.concatenate([each.fold_of for each in outcomes]),
        statistics.median(each.seconds for each in outcomes),
    )


@dataclass(frozen=True)
class Difference:
    """Accuracy of one recipe minus that of another, in points.

    Attributes:
        points: the difference.
        error: its standard error.
    """

    points: float
    error: float

    @property
    def text(self) -> str:
        """The difference with twice its standard error."""
        return f"{self.points:+.1f} ({2 * self.error:.1f})"


def difference(outcome: Outcome, base: Outcome) -> Difference:
    """Return the paired difference over what both recipes tested.

    Its standard error is the larger of two: over the images, each averaged over its seeds, and
    over the folds, whose images share the training images that happened to be drawn.
    """
    seeds = min(len(outcome.right), len(base.right))
    each = 100 * (outcome.right[:seeds] - base.right[:seeds])
    tested = ~np.isnan(each)
    if not tested.any():
        return Difference(math.nan, math.nan)
    of_images = np.array([each[tested[:, i], i].mean() for i in np.flatnonzero(tested.any(axis=0))])
    of_folds = np.array(
        [
            row[(folds == fold) & known].mean()
            for row, folds, known in zip(each, outcome.fold_of, tested, strict=False)
            for fold in np.unique(folds[known])
        ]
    )
    errors = [values.std(ddof=1) / math.sqrt(len(values)) for values in (of_images, of_folds)]
    return Difference(float(each[tested].mean()), float(max(errors)))


def mean_difference(differences: Sequence[Difference]) -> Difference:
    """Return the mean of independent differences."""
    count = len(differences)
    total = sum(each.error**2 for each in differences)
    return Difference(sum(each.points for each in differences) / count, math.sqrt(total) / count)


def is_worse(difference: Difference, allowed: float = 0.5) -> bool:
    """Return whether a recipe is worse by more than ``allowed`` points, twice the error counted."""
    return difference.points + 2 * difference.error < -allowed
