"""How probable each label of a photo is to a classifier that has not seen the photo.

The classifier is the leave-one-out ridge regression of `tlcli.core.photos.held_out_scores`, one per
label. A logistic curve of each label's scores makes them probabilities, so that frequent and rare
labels can be compared (J. C. Platt, Probabilistic Outputs for Support Vector Machines, 1999; by the
steps of H.-T. Lin, C.-J. Lin and R. C. Weng, A Note on Platt's Probabilistic Outputs, 2007).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tlcli.arrays import Doubles, Floats
from tlcli.core.final_layer.multi_label.marked import Bools
from tlcli.core.photos.held_out_scores import RIDGES, RotatedRows, without_own

_STEPS, _SMALLEST_STEP, _CONVERGED = 100, 1e-10, 1e-5
# Keeps the matrix of second derivatives regular.
_REGULAR = 1e-12


def held_out_probabilities(turned: Floats, marks: Bools) -> Iterator[tuple[int, Doubles]]:
    """Yield each label with the probability of it for every row, float64 [N], without that row.

    Args:
        turned: vectors on their main axes, float32 [N, A].
        marks: which row has which label, bool [N, L]; each label with rows on both sides.
    """
    rotated = RotatedRows.of(turned)
    means = marks.mean(axis=0)
    sums = (rotated.rows.T @ marks.astype(np.float32)).astype(np.float64)
    some = rotated.spread()

    def error(strength: float) -> float:
        weights = (rotated.inverse(strength)[:, np.newaxis] * sums).astype(np.float32)
        rest = without_own(rotated.leverages(strength, some))
        fitted = rotated.rows[some] @ weights + means.astype(np.float32)
        return float((((marks[some] - fitted) / rest[:, np.newaxis]) ** 2).sum())

    best = min(RIDGES, key=error)
    inverse, rest = rotated.inverse(best), without_own(rotated.leverages(best, slice(None)))
    for label in range(marks.shape[1]):
        has = marks[:, label]
        fitted = rotated.rows @ (inverse * sums[:, label]).astype(np.float32)
        fitted += np.float32(means[label])
        # The indicator minus the residual: y - (y - f) / (1 - h).
        scores = has - (has - fitted) / rest
        yield label, logistic_curve(scores.astype(np.float64), has)


def logistic_curve(scores: Doubles, has: Bools) -> Doubles:
    """Return the probability of a label by its scores, [N], by a logistic curve fitted to them.

    Args:
        scores: of N rows, higher where the label is likelier.
        has: which rows have the label, [N].
    """
    with_it = int(has.sum())
    without = len(has) - with_it
    # As if each side had one row more, of which nothing is known: scores that separate the sides
    # give no certainty.
    targets = np.where(has, (with_it + 1) / (with_it + 2), 1 / (without + 2))
    point = np.array([0.0, np.log((with_it + 1) / (without + 1))])
    rows = np.stack([scores, np.ones_like(scores)])

    def loss(at: Doubles) -> float:
        logits = at @ rows
        return float((np.logaddexp(0, logits) - targets * logits).sum())

    before = loss(point)
    for _ in range(_STEPS):
        chances = _sigmoid(point @ rows)
        gradient = rows @ (chances - targets)
        if np.abs(gradient).max() < _CONVERGED:
            break
        curvature = (rows * (chances * (1 - chances))) @ rows.T + _REGULAR * np.eye(2)
        direction = np.linalg.solve(curvature, gradient)
        step, slope = 1.0, float(gradient @ direction)
        while step > _SMALLEST_STEP:
            after = loss(point - step * direction)
            if after < before - 1e-4 * step * slope:
                break
            step /= 2
        else:
            break
        point, before = point - step * direction, after
    return _sigmoid(point @ rows)


def _sigmoid(logits: Doubles) -> Doubles:
    # Without overflow on either side.
    return np.asarray(np.exp(-np.logaddexp(0, -logits)), np.float64)
