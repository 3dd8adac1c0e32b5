"""Thresholds on the score: how many images get a label, and how many of those are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlcli.core.evaluation.metrics import Interval, wilson_interval

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class ThresholdFigures:
    """Figures of one threshold; fractions are in [0, 1].

    Attributes:
        threshold: the lowest score with which an image gets a label.
        count: images that get one.
        labelled: proportion of all images that get one.
        accuracy: proportion of right labels among those; None where no image gets one.
        interval: 95% Wilson interval of ``accuracy``, or None.
    """

    threshold: float
    count: int
    labelled: float
    accuracy: float | None
    interval: Interval | None


def threshold_figures(
    scores: npt.ArrayLike, right: npt.ArrayLike, thresholds: Sequence[float] = THRESHOLDS
) -> tuple[ThresholdFigures, ...]:
    """Return the figures of each threshold; empty without images.

    Args:
        scores: score of the best label of each image, [N], in [0, 1].
        right: whether that label is the true one, [N].
        thresholds: any number of them, in [0, 1].
    """
    given = np.asarray(scores, np.float64).reshape(-1)
    hits = np.asarray(right, bool).reshape(-1)
    if not len(given):
        return ()
    order = np.argsort(given, kind="stable")
    rising = given[order]
    # Right ones among the images from each place on.
    from_here = np.append(np.cumsum(hits[order][::-1])[::-1], 0)
    found = []
    for threshold in thresholds:
        start = int(np.searchsorted(rising, threshold, side="left"))
        count, correct = len(rising) - start, int(from_here[start])
        found.append(
            ThresholdFigures(
                threshold,
                count,
                count / len(rising),
                correct / count if count else None,
                wilson_interval(correct, count) if count else None,
            )
        )
    return tuple(found)
