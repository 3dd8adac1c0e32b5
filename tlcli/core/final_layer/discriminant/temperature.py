"""The temperature that makes probabilities of scores."""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Floats, Indices

# Nats between the highest and the lowest score of a row, on average, that a temperature leaves.
_LEAST_WIDTH = 0.5
_NEWTON_STEPS = 60


def best_temperature(scores: Floats, labels: Indices) -> tuple[float, float]:
    """Return the temperature with the lowest cross entropy, and that cross entropy in nats.

    The true label counts as (N + 1) / (N + 2) and the others share the rest, so that rows that are
    all right do not ask for certainty (J. Platt, Probabilistic Outputs for Support Vector
    Machines, 1999). Rows that are nearly all wrong, as where each label has one or two images to
    learn from, do not ask for equal probabilities either: the order of scores is kept.

    Args:
        scores: float32 [N, L], finite.
        labels: of the rows, [N].
    """
    count, label_count = scores.shape
    true = scores[np.arange(count), labels].astype(np.float64)
    share = 1 / (count + 2)
    if label_count > 1:
        others = (scores.sum(axis=1, dtype=np.float64) - true) / (label_count - 1)
        true = (1 - share) * true + share * others
    highest = scores.max(axis=1, keepdims=True)
    width = float((highest[:, 0] - scores.min(axis=1)).mean(dtype=np.float64))
    loss = float(np.log(label_count))
    if width <= 0:  # all labels have the same score
        return 1.0, loss
    spread = float((highest[:, 0] - true).mean(dtype=np.float64))
    low, high = _LEAST_WIDTH / width, np.inf
    factor = max(1.0 / max(spread, 1e-30), low * 1.01)
    for _ in range(_NEWTON_STEPS):
        # The loss is convex in the factor, 1 / temperature.
        powers = np.exp(factor * (scores - highest).astype(np.float64))
        sums = powers.sum(axis=1)
        mean = (powers * scores).sum(axis=1) / sums
        loss = float((np.log(sums) + factor * (highest[:, 0] - true)).mean())
        slope = float((mean - true).mean())
        curvature = float(((powers * scores**2).sum(axis=1) / sums - mean**2).mean())
        low, high = (factor, high) if slope < 0 else (low, factor)
        following = factor - slope / curvature if curvature > 0 else factor
        if not low < following < high:
            following = (low + high) / 2 if np.isfinite(high) else 2 * factor
        if abs(following - factor) <= 1e-4 * factor:
            break
        factor = following
    return 1 / factor, loss
