"""How often predictions are right, compared with how often their scores promise it.

The measure is the expected calibration error: images are sorted by the score of their predicted
label and cut into bins of equal numbers, and the differences between the mean score and the
proportion of right labels are averaged over the images (K. Nguyen and B. O'Connor, Posterior
Calibration and Exploratory Analysis for Natural Language Processing Models, 2015).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 15
"""Bins of equal numbers of images, fewer where these would have less than `PER_BIN`."""
PER_BIN = 25
"""Of fewer images, chance alone would make proportions that differ from the scores."""
# Images that a proportion in a sentence is made of.
_FEWEST = 20
# Scores of which a sentence speaks: those that people act on and that are no certainty.
_LOW, _HIGH = 0.8, 0.97


@dataclass(frozen=True)
class Bin:
    """Images whose predicted labels have similar scores.

    Attributes:
        count: of the images, at least 1.
        score: mean score of their predicted labels, 0 to 1.
        accuracy: proportion of them that are right, 0 to 1.
    """

    count: int
    score: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """What scores promise and what they keep.

    Attributes:
        bins: by rising score; at least one.
        error: expected calibration error, 0 to 1.
        chance: the error to expect by chance of scores without any, of as many images.
        nearly_sure: images with scores of 80% to 97%; of all where those are few.
        partial: whether `nearly_sure` is of a part of the images.
    """

    bins: tuple[Bin, ...]
    error: float
    chance: float
    nearly_sure: Bin
    partial: bool

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(each.count for each in self.bins)

    def sentence(self) -> str:
        """Say how often scores of some height are right."""
        found = self.nearly_sure
        right = round(100 * found.accuracy)
        if self.partial:
            return (
                f"When it reports {found.score:.0%} (scores of {_LOW:.0%} to {_HIGH:.0%}), it is "
                f"right in {right} of 100 images (N = {found.count})."
            )
        return (
            f"On average it reports {found.score:.0%} and is right in {right} of 100 images "
            f"(N = {found.count})."
        )


def reliability(scores: npt.ArrayLike, right: npt.ArrayLike) -> Reliability | None:
    """Return how reliable the scores of predicted labels are; None without images.

    Args:
        scores: of the predicted label of each image, [N], 0 to 1.
        right: whether it is the true label, [N].
    """
    given = np.asarray(scores, np.float64).reshape(-1)
    hits = np.asarray(right, np.float64).reshape(-1)
    if given.shape != hits.shape:
        raise ValueError(f"{len(given)} scores for {len(hits)} images")
    if not len(given):
        return None
    order = np.argsort(given, kind="stable")
    bins, gaps, chances = [], 0.0, 0.0
    for inside in np.array_split(order, max(1, min(BINS, len(given) // PER_BIN))):
        own = _bin(given[inside], hits[inside])
        bins.append(own)
        gaps += own.count * abs(own.score - own.accuracy)
        # The mean distance of a sum of independent hits from what is expected of it.
        variance = float((given[inside] * (1 - given[inside])).sum())
        chances += math.sqrt(2 / math.pi * variance)
    chosen = (given >= _LOW) & (given <= _HIGH)
    partial = int(chosen.sum()) >= _FEWEST
    shown = _bin(given[chosen], hits[chosen]) if partial else _bin(given, hits)
    count = len(given)
    return Reliability(tuple(bins), gaps / count, chances / count, shown, partial)


def _bin(scores: npt.NDArray[np.float64], hits: npt.NDArray[np.float64]) -> Bin:
    return Bin(len(scores), float(scores.mean()), float(hits.mean()))


@dataclass(frozen=True)
class Calibration:
    """Scores of test images before and after a temperature, which changes no predicted label.

    Attributes:
        before: of the scores as they were fitted.
        after: of the scores that are exported.
        temperature: what these were divided by; 1 leaves them as they were.
    """

    before: Reliability
    after: Reliability
    temperature: float

    def sentence(self) -> str:
        """Report the calibration errors before and after, and what chance alone would give."""
        after, chance = f"{self.after.error:.1%}", f"{self.after.chance:.1%}"
        by_chance = f"{self.after.count} images without any error would show {chance} by chance"
        if self.temperature == 1:
            return f"Expected calibration error {after}; {by_chance}."
        return (
            f"Expected calibration error {after}, and {self.before.error:.1%} before scores were "
            f"divided by {self.temperature:.2f}; {by_chance}."
        )

    def to_dict(self) -> dict[str, float]:
        """Return the errors "before" and "after", and what belongs to them, as JSON types."""
        return {
            "before": self.before.error,
            "after": self.after.error,
            "by_chance": self.after.chance,
            "images": self.after.count,
            "temperature": self.temperature,
        }
