"""Scores of each photo by a classifier that has not seen it: leave-one-out, at the cost of one fit.

The classifier is ridge regression on indicators of the labels, whose residual without a row follows
from the fit with it: r / (1 - h), h being the row's leverage (D. M. Allen, The Relationship between
Variable Selection and Data Augmentation and a Method for Prediction, 1974). Each photo is its own
fold, so that no random division decides which photos look suspicious.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.calibration.temperature import best_temperature

RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Strengths to choose from, relative to the mean variance of the rows."""
# Rows on which the strength and the temperature are chosen.
_ROWS_FOR_STRENGTH = 2000
# Scores in memory at once.
_SCORES = 8 << 20
# A row that fixes an axis alone has a leverage of 1, and no residual without itself.
_LEAST = 1e-3


@dataclass(frozen=True)
class RotatedRows:
    """Rows on axes on which a ridge regression of any strength is a division.

    Attributes:
        rows: without their mean, float32 [N, A].
        values: sums of squares on each axis, [A].
    """

    rows: Floats
    values: Doubles

    @classmethod
    def of(cls, turned: Floats) -> RotatedRows:
        """Rotate rows [N, A], A small; see `tlcli.core.fitting.main_axes`."""
        centred = turned - turned.mean(axis=0)
        values, columns = np.linalg.eigh((centred.T @ centred).astype(np.float64))
        return cls(centred @ columns.astype(np.float32), np.maximum(values, 0.0))

    def inverse(self, strength: float) -> Doubles:
        """Return what sums of products are multiplied by to be weights, [A]."""
        # Rows that are all equal have no variance, and any strength is as good.
        scale = float(self.values.sum()) / max(1, len(self.rows)) or 1.0
        return np.asarray(1 / (self.values + strength * scale), np.float64)

    def leverages(self, strength: float, rows: Indices | slice) -> Doubles:
        """Return how much each of some rows decides on its own score, 0 to 1."""
        chosen = self.rows[rows]
        own = (chosen**2) @ self.inverse(strength).astype(np.float32)
        return np.asarray(own.astype(np.float64) + 1 / len(self.rows), np.float64)

    def spread(self) -> Indices:
        """Return numbers of rows that are spread over all, on which a strength is chosen."""
        count = len(self.rows)
        some = np.linspace(0, count - 1, min(count, _ROWS_FOR_STRENGTH)).astype(np.intp)
        return np.unique(some)


def without_own(leverages: Doubles) -> Floats:
    """Return what residuals are divided by to be those of fits without their row."""
    return np.maximum(1 - leverages, _LEAST).astype(np.float32)


@dataclass(frozen=True)
class HeldOutScores:
    """A fit that gives scores of rows without themselves.

    Attributes:
        strength: chosen among `RIDGES`.
    """

    strength: float
    _rotated: Floats  # [N, A]
    _weights: Floats  # [A, L]
    _leverages: Doubles  # [N]
    _means: Doubles  # [L]
    _labels: Indices  # [N]

    def blocks(self, scores: int = _SCORES) -> Iterator[tuple[slice, Floats]]:
        """Yield rows and their scores, float32 [n, L]: near 1 for a sure label, near 0 for others.

        Args:
            scores: how many are in memory at once.
        """
        step = max(1, scores // max(1, len(self._means)))
        for start in range(0, len(self._labels), step):
            rows = slice(start, min(start + step, len(self._labels)))
            yield rows, self._scores(rows)

    def all(self) -> Floats:
        """Return the scores of all rows, [N, L]; N times L values."""
        return np.concatenate([found for _, found in self.blocks()])

    def temperature(self) -> float:
        """Return what scores are divided by to be the logits of calibrated probabilities."""
        rows = np.linspace(0, len(self._labels) - 1, min(len(self._labels), _ROWS_FOR_STRENGTH))
        some = np.unique(rows.astype(np.intp))
        temperature, _ = best_temperature(self._scores(some), self._labels[some])
        return temperature

    def _scores(self, rows: slice | Indices) -> Floats:
        fitted = self._rotated[rows] @ self._weights + self._means.astype(np.float32)
        rest = without_own(self._leverages[rows])
        own = (np.arange(len(fitted)), self._labels[rows])
        # The indicator minus the residual: y - (y - f) / (1 - h).
        indicated = 1 - (1 - fitted[own]) / rest
        fitted /= rest[:, np.newaxis]
        fitted[own] = indicated
        return fitted


def fit_held_out(turned: Floats, labels: Indices, label_count: int) -> HeldOutScores:
    """Return leave-one-out scores of rows, with the strength that suits them best.

    Args:
        turned: centred rows, float32 [N, A], A small; see `tlcli.core.fitting.main_axes`.
        labels: index of each row's label, [N].
        label_count: L.
    """
    count = len(turned)
    rotated = RotatedRows.of(turned)
    means = np.bincount(labels, minlength=label_count) / max(1, count)
    sums = np.zeros((rotated.rows.shape[1], label_count))
    order = np.argsort(labels, kind="stable")
    present, first = np.unique(labels[order], return_index=True)
    sums[:, present] = np.add.reduceat(rotated.rows[order], first, axis=0, dtype=np.float64).T
    some = rotated.spread()

    def fitted(strength: float, rows: Indices | slice) -> HeldOutScores:
        weights = (rotated.inverse(strength)[:, np.newaxis] * sums).astype(np.float32)
        leverages = rotated.leverages(strength, rows)
        return HeldOutScores(strength, rotated.rows[rows], weights, leverages, means, labels[rows])

    def error(strength: float) -> float:
        total = 0.0
        found = fitted(strength, some)
        for rows, scores in found.blocks():
            scores[np.arange(len(scores)), labels[some][rows]] -= 1
            total += float(np.einsum("nl,nl->", scores, scores, dtype=np.float64))
        return total

    return fitted(min(RIDGES, key=error), slice(None))
