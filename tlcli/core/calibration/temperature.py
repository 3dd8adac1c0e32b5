"""The temperature that makes probabilities of scores."""

from __future__ import annotations

import math

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices

# Nats between the highest and the lowest score of a row, on average, that a temperature leaves.
_LEAST_WIDTH = 0.5
_NEWTON_STEPS = 60


def best_temperature(
    scores: Floats,
    labels: Indices,
    deviation: float | None = None,
    weights: Doubles | None = None,
) -> tuple[float, float]:
    """Return the temperature with the lowest cross entropy, and that cross entropy in nats.

    Without a deviation, the true label counts as (N + 1) / (N + 2) and the others share the rest,
    so that rows that are all right do not ask for certainty (J. Platt, Probabilistic Outputs for
    Support Vector Machines, 1999). Rows that are nearly all wrong, as where each label has one or
    two images to learn from, do not ask for equal probabilities either: the order of scores is
    kept. With a deviation, that is what keeps the temperature within bounds.

    Args:
        scores: float32 [N, L], finite, of rows that the scores were not fitted on.
        labels: of the rows, [N].
        deviation: of the logarithm of the temperature, which is normally distributed around 0
            before anything is seen: scores that nearly are probabilities stay nearly as they are
            where rows are few. None: scores without a scale of their own, where any temperature
            is as likely.
        weights: how much each row counts, [N], above 0; None: all the same.
    """
    count, label_count = scores.shape
    if weights is None:
        weights = np.ones(count)
    weights = weights / weights.mean()
    # Rows of equal weight that would say as much (L. Kish, Survey Sampling, 1965).
    rows = count**2 / float((weights**2).sum())
    precision = 0.0 if deviation is None else 1 / (deviation**2 * rows)
    true = scores[np.arange(count), labels].astype(np.float64)
    if label_count > 1 and deviation is None:
        share = 1 / (count + 2)
        others = (scores.sum(axis=1, dtype=np.float64) - true) / (label_count - 1)
        true = (1 - share) * true + share * others
    highest = scores.max(axis=1, keepdims=True)
    width = float((highest[:, 0] - scores.min(axis=1)).mean(dtype=np.float64))
    loss = float(np.log(label_count))
    if width <= 0:  # all labels have the same score
        return 1.0, loss
    spread = float((weights * (highest[:, 0] - true)).mean(dtype=np.float64))
    low, high, factor = 0.0, np.inf, 1.0
    if deviation is None:
        low = _LEAST_WIDTH / width
        factor = max(1.0 / max(spread, 1e-30), low * 1.01)
    for _ in range(_NEWTON_STEPS):
        # The loss is convex in the factor, 1 / temperature.
        powers = np.exp(factor * (scores - highest).astype(np.float64))
        sums = powers.sum(axis=1)
        mean = (powers * scores).sum(axis=1) / sums
        loss = float((weights * (np.log(sums) + factor * (highest[:, 0] - true))).mean())
        slope = float((weights * (mean - true)).mean())
        squares = (powers * scores**2).sum(axis=1) / sums
        curvature = float((weights * (squares - mean**2)).mean())
        # Those of the prior, minus its logarithm for each row.
        slope += precision * math.log(factor) / factor
        curvature += precision * (1 - math.log(factor)) / factor**2
        low, high = (factor, high) if slope < 0 else (low, factor)
        following = factor - slope / curvature if curvature > 0 else factor
        if not low < following < high:
            following = (low + high) / 2 if np.isfinite(high) else 2 * factor
        if abs(following - factor) <= 1e-4 * factor:
            break
        factor = following
    return 1 / factor, loss
