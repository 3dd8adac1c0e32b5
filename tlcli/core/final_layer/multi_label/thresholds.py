"""The threshold of each label: the score from which on an image counts as having it."""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Doubles, Floats
from tlcli.core.final_layer.multi_label.marked import Bools

NO_THRESHOLD = 0.5
"""Threshold of a label of which nothing is known."""
LOWEST, HIGHEST = 0.05, 0.95

# Images with the label that the scores themselves stand for, beside those that were counted: of
# three images the scores decide, of a hundred the counts do.
_PRIOR_IMAGES = 10.0
_DIGITS = 4


def best_thresholds(scores: Floats, marks: Bools) -> tuple[float, ...]:
    """Return the threshold of each label with the best F1, each `LOWEST` to `HIGHEST`.

    The counts of right and wrong images are joined with those that the scores promise, taken as
    probabilities: for these alone the best threshold is half of the F1 that it reaches (Z. Lipton,
    C. Elkan and B. Narayanaswamy, Optimal Thresholding of Classifiers to Maximize F1 Measure,
    2014). So few images do not decide by chance.

    Args:
        scores: by fits that have not seen the rows, 0 to 1, float32 [M, L].
        marks: which row has which label, [M, L].
    """
    columns = zip(scores.T.astype(np.float64), marks.T, strict=True)
    return tuple(_best_threshold(own, marked) for own, marked in columns)


def _best_threshold(scores: Doubles, marked: Bools) -> float:
    promised = float(scores.sum())
    if not marked.any() or marked.all() or promised <= 0:
        return NO_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    # Of all rows with a score of at least a candidate: how many there are and have the label.
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    share = _PRIOR_IMAGES / promised
    right = np.cumsum(marked[order] + share * falling)[last]
    chosen = np.cumsum(np.full(len(falling), 1 + share))[last]
    wanted = marked.sum() + share * promised
    # F1 by counts: twice the right ones by all that are chosen or have the label.
    best = int(np.argmax(2 * right / (chosen + wanted)))
    above = falling[last[best]]
    below = falling[last[best + 1]] if best + 1 < len(last) else 0.0
    # In the middle of the gap, where new images fall on either side.
    return round(float(np.clip((above + below) / 2, LOWEST, HIGHEST)), _DIGITS)
