"""Average precision, precision, recall and F1 of independent labels, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Doubles, Floats
from tlcli.core.evaluation.metrics import (
    Bools,
    LabelMetrics,
    Proportion,
    label_metrics,
    proportion_of,
    wilson_interval,
)


@dataclass(frozen=True)
class MultiLabelEvaluation:
    """Figures of scores for rows that may have several labels.

    Attributes:
        count: rows, N.
        labels: figures at the thresholds, L of them.
        average_precisions: of each label; None where no row has it.
        mean_average_precision: mean of those.
        exact_match: proportion of rows whose labels are all right; None without rows.
        hamming: proportion of marks that are right, 0 to 1; None without rows.
        micro_f1: F1 of all marks together; None where there are none.
        pairs: rows with the label of the row of the matrix that were predicted to have the label of
            the column, int64 [L, L].
    """

    count: int
    labels: tuple[LabelMetrics, ...]
    average_precisions: tuple[Proportion | None, ...]
    mean_average_precision: Proportion | None
    exact_match: Proportion | None
    hamming: float | None
    micro_f1: Proportion | None
    pairs: npt.NDArray[np.int64]

    @property
    def accuracy(self) -> float | None:
        """The proportion of rows whose labels are all right; None without rows."""
        return value_of(self.exact_match)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of the accuracy."""
        return None if self.exact_match is None else (self.exact_match.low, self.exact_match.high)

    @property
    def macro_f1(self) -> float | None:
        """Mean F1 of the labels that some row has or was predicted to have."""
        found = [each.f1.value for each in self.labels if each.f1 is not None]
        return float(np.mean(found)) if found else None

    def to_dict(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the figures as JSON types."""
        found: dict[str, Any] = {
            "mean_average_precision": value_of(self.mean_average_precision),
            "mean_average_precision_interval": interval_of(self.mean_average_precision),
            "exact_match": value_of(self.exact_match),
            "exact_match_interval": interval_of(self.exact_match),
            "hamming": self.hamming,
            "macro_f1": self.macro_f1,
            "micro_f1": value_of(self.micro_f1),
            "count": self.count,
        }
        labels: dict[str, Any] = {}
        for name, each, average in zip(names, self.labels, self.average_precisions, strict=True):
            right = 0 if each.recall is None else round(each.recall.value * each.count)
            labels[name] = {
                "images": each.count,
                "predicted": each.predicted,
                "true_positives": right,
                "false_positives": each.predicted - right,
                "false_negatives": each.count - right,
                "true_negatives": self.count - each.count - each.predicted + right,
            }
            for what, proportion in (
                ("precision", each.precision),
                ("recall", each.recall),
                ("f1", each.f1),
                ("average_precision", average),
            ):
                labels[name][what] = value_of(proportion)
                labels[name][f"{what}_interval"] = interval_of(proportion)
        found["labels"] = labels
        found["co_occurrence"] = {
            "true_by_predicted": self.pairs.tolist(),
            "labels": list(names),
        }
        return found


def value_of(proportion: Proportion | None) -> float | None:
    """Return the value of a proportion that there may be none of."""
    return None if proportion is None else proportion.value


def interval_of(proportion: Proportion | None) -> list[float] | None:
    """Return the ends of its interval."""
    return None if proportion is None else [proportion.low, proportion.high]


def evaluate_marks(
    scores: Floats, marks: Bools, thresholds: Sequence[float] | Doubles
) -> MultiLabelEvaluation:
    """Return the figures of scores.

    Args:
        scores: of N rows, 0 to 1, float32 [N, L].
        marks: which row has which label, [N, L].
        thresholds: from which on a score counts, [L], or of each row its own, [N, L].
    """
    count = len(scores)
    predicted = scores >= np.asarray(thresholds, np.float64)
    both = predicted & marks
    counts = [each.sum(axis=0).tolist() for each in (both, marks, predicted)]
    averages, mean = _average_precisions(scores, marks)
    return MultiLabelEvaluation(
        count=count,
        labels=tuple(label_metrics(*each) for each in zip(*counts, strict=True)),
        average_precisions=averages,
        mean_average_precision=mean,
        exact_match=proportion_of(int((predicted == marks).all(axis=1).sum()), count),
        hamming=float((predicted == marks).mean()) if predicted.size else None,
        micro_f1=label_metrics(*(sum(each) for each in counts)).f1,
        pairs=marks.T.astype(np.int64) @ predicted.astype(np.int64),
    )


def average_precision(scores: Doubles, marked: Bools) -> float:
    """Return the average precision of one label.

    It is the mean, over rows with the label, of the precision among all rows with a score of at
    least theirs; equal scores count together.

    Args:
        scores: [N].
        marked: which row has the label, [N]; one at least.
    """
    order = np.argsort(-scores, kind="stable")
    falling, right = scores[order], marked[order]
    # The last row of those with the same score.
    ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    last = ends[np.searchsorted(ends, np.arange(len(falling)))]
    precision = np.cumsum(right)[last] / (last + 1)
    return float(precision[right].mean())


def _average_precisions(
    scores: Floats, marks: Bools
) -> tuple[tuple[Proportion | None, ...], Proportion | None]:
    """Return the average precision of each label and their mean.

    The intervals are those of a proportion of the rows with the label, which keep their promise
    where these are few (K. Boyd, K. Eng and C. Page, Area under the Precision-Recall Curve: Point
    Estimates and Confidence Intervals, 2013). The mean takes labels as independent.
    """
    counts = marks.sum(axis=0)
    averages: list[Proportion | None] = []
    for own, marked, count in zip(scores.T, marks.T, counts.tolist(), strict=True):
        value = average_precision(own.astype(np.float64), marked) if count else None
        averages.append(None if value is None else _with_interval(value, count))
    known = [each.value for each in averages if each is not None]
    if not known:
        return tuple(averages), None
    # Rows of a single proportion with the variance that the mean has.
    rows = len(known) ** 2 / float((1 / counts[counts > 0]).sum())
    return tuple(averages), _with_interval(float(np.mean(known)), rows)


def _with_interval(value: float, rows: float) -> Proportion:
    return Proportion(value, *wilson_interval(value * rows, rows))
