"""Figures in which every label counts alike: balanced accuracy and macro F1, with intervals.

Balanced accuracy is the mean of the labels' recalls (K. H. Brodersen and others, The Balanced
Accuracy and Its Posterior Distribution, 2010). Macro F1 is the mean of the labels' F1 (J. Opitz and
S. Burst, Macro F1 and Macro F1, 2019, who recommend it over the F1 of mean precision and recall).

An interval is Wilson's of an effective number of images: that with which a plain proportion would
vary as much. Recalls of two labels are of different images, so their variances add. F1 values are
correlated, as an image that is taken for another label lowers the F1 of both; how much follows from
the counts by the delta method (K. Takahashi and others, Confidence Interval for Micro-Averaged F1
and Macro-Averaged F1 Scores, 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tlcli.arrays import Doubles
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.metrics import Z95, Evaluation, Interval, Proportion, wilson_interval

FEWEST_OF_A_LABEL = 10
"""Images that each label needs for an interval of macro F1.

With fewer, F1 is often too low on average, and simulated intervals missed the true value in more
than one of ten draws.
"""
# Images with the mean recall that each label is given for its variance: one with three right of
# three does not vary by nothing.
_ADDED = 2.0


@dataclass(frozen=True)
class LabelAverages:
    """Means over labels, in [0, 1], with 95% intervals.

    Attributes:
        macro_f1: mean F1 of the labels that an image has or was predicted to have; None without.
        macro_f1_interval: None where a label has fewer images than `FEWEST_OF_A_LABEL`.
        balanced_accuracy: mean recall of the labels that an image has; None without.
        balanced_accuracy_interval: None where there are no images.
    """

    macro_f1: float | None = None
    macro_f1_interval: Interval | None = None
    balanced_accuracy: float | None = None
    balanced_accuracy_interval: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON has them, intervals as [low, high]."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }

    def sentence(self) -> str:
        """Return both figures for a line of text; "" where there are none."""
        if self.macro_f1 is None or self.balanced_accuracy is None:
            return ""
        return (
            f"Macro F1 = {self.macro_f1:.1%}{_in_words(self.macro_f1_interval)}, balanced accuracy "
            f"= {self.balanced_accuracy:.1%}{_in_words(self.balanced_accuracy_interval)}"
        )


def _in_words(interval: Interval | None) -> str:
    return "" if interval is None else f" ({interval[0]:.1%} to {interval[1]:.1%})"


class _Averaged(Protocol):
    @property
    def averages(self) -> LabelAverages: ...


class AveragesByName:
    """Gives a class with ``averages`` their figures as properties of its own."""

    @property
    def macro_f1(self: _Averaged) -> float | None:
        """The mean F1 of the labels, 0 to 1, None without images; ``averages`` has its interval."""
        return self.averages.macro_f1

    @property
    def balanced_accuracy(self: _Averaged) -> float | None:
        """The mean recall of the labels, 0 to 1, None without images; see ``averages``."""
        return self.averages.balanced_accuracy


def label_averages(evaluation: Evaluation) -> LabelAverages:
    """Return the means over labels of an evaluation's figures."""
    if not evaluation.count:
        return LabelAverages()
    present = [row for row, each in enumerate(evaluation.labels) if each.f1 is not None]
    scores = [each.f1 for each in evaluation.labels if each.f1 is not None]
    fewest = min(evaluation.labels[row].count for row in present)
    macro_f1 = float(np.mean([each.value for each in scores]))
    interval = None
    if fewest >= FEWEST_OF_A_LABEL:
        images = _images_like_f1(macro_f1, scores, evaluation.confusion, present)
        interval = wilson_interval(macro_f1 * images, images)
    counted = [each for each in evaluation.labels if each.recall is not None]
    recalls = np.array([each.recall.value for each in counted if each.recall is not None])
    balanced = float(recalls.mean())
    images = _images_like_recalls(recalls, np.array([each.count for each in counted], float))
    return LabelAverages(macro_f1, interval, balanced, wilson_interval(balanced * images, images))


def _images_like_recalls(recalls: Doubles, counts: Doubles) -> float:
    """Return of how many images a proportion would vary as the mean of recalls [L] does."""
    mean = recalls.mean()
    likely = (recalls * counts + _ADDED * mean) / (counts + _ADDED)
    # Where all are right or none is, each varies as the mean of its label's images would.
    spread = likely * (1 - likely) / (mean * (1 - mean)) if 0 < mean < 1 else np.ones(len(counts))
    return float(len(counts) ** 2 / (spread / counts).sum())


def _images_like_f1(
    mean: float, scores: Sequence[Proportion], confusion: ConfusionMatrix, present: Sequence[int]
) -> float:
    """Return of how many images a proportion would vary as the mean of F1 values does."""
    if not 0 < mean < 1:
        return float(sum(count for _, _, count in confusion.cells))
    widths = np.array([each.high - each.low for each in scores])
    deviation = _deviation_of_sum(widths / 2 / Z95, confusion, present) / len(scores)
    return mean * (1 - mean) / deviation**2


def _deviation_of_sum(
    deviations: Doubles, confusion: ConfusionMatrix, present: Sequence[int]
) -> float:
    """Return the deviation of the sum of F1 values with these deviations, [P].

    Args:
        deviations: of the F1 values, each above 0.
        confusion: the counts, from which their correlation follows.
        present: the labels with an F1, P of them.
    """
    place = {label: row for row, label in enumerate(present)}
    cells = [(place[true], place[given], count) for true, given, count in confusion.cells]
    true, given, counts = np.array(cells, np.intp).T
    hit = true == given
    right, both = np.zeros(len(present)), np.zeros(len(present))
    right[true[hit]] = counts[hit]
    np.add.at(both, true, counts)
    np.add.at(both, given, counts)
    # F1 is 2 R / B of R, the right ones, and B, those that have the label and those that were
    # predicted to. So it changes with one more image in B, and with one more in R.
    by_both, by_right = -2 * right / both**2, 2 / both
    variances = (both - 2 * right) * by_both**2 + right * (2 * by_both + by_right) ** 2
    # How values without variance of this kind, such as 100%, go together with others is not known.
    known = variances > 0
    weights = np.zeros(len(present))
    weights[known] = deviations[known] / np.sqrt(variances[known])
    by_both, by_right = weights * by_both, weights * by_right
    change = by_both[true] + by_both[given] + by_right[true] * hit
    variance = (counts * change**2).sum() + (deviations[~known] ** 2).sum()
    return float(np.sqrt(variance))
