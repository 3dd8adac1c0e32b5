"""Which photos probably have a wrong label, and which label they look like.

Two views are joined, as each errs on other photos: how sure a classifier that has not seen a photo
is of its label (self-confidence: C. G. Northcutt and others, Confident Learning: Estimating
Uncertainty in Dataset Labels, 2021), and which labels its nearest photos have (edited nearest
neighbours: D. L. Wilson, Asymptotic Properties of Nearest Neighbor Rules Using Edited Data, 1972).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Array, Doubles, Floats, Indices
from tlcli.core.fitting.main_axes import directions
from tlcli.core.photos.held_out_scores import fit_held_out
from tlcli.core.photos.neighbours import Neighbours, nearest

NEIGHBOURS = 10
"""Nearest photos that vote; fewer where a label has few."""
WEIGHT = 0.75
"""How much their votes, between 0 and 1, count beside the classifier's probability in the order."""
MARGIN = 0.5
"""How much better another label must suit than the own one, of 1.5 at most, to be reported.

Below, photos on the border of two labels are the most.
"""
# How much votes count beside the classifier's scores, for that.
_VOTES = 0.5


@dataclass(frozen=True)
class Suspicions:
    """How much each photo's label is doubted.

    Attributes:
        scores: float64 [N], 0 to 1: how little speaks for the label; rank by it.
        probably_wrong: whether another label suits much better, bool [N].
        proposed: the label that suits best among the others, [N].
        neighbours: the nearest photos of each.
        votes: how many of these have the proposed label, [N].
    """

    scores: Doubles
    probably_wrong: Array
    proposed: Indices
    neighbours: Neighbours
    votes: Indices

    def ranked(self) -> Indices:
        """Return all rows, the most doubtful first."""
        return np.argsort(-self.scores, kind="stable")


def suspicions(
    turned: Floats, labels: Indices, label_count: int, near: Neighbours | None = None
) -> Suspicions:
    """Return how much the label of each photo is doubted.

    Args:
        turned: vectors on their main axes, float32 [N, A], without copies of one photo, which
            would confirm each other's label.
        labels: index of each label, [N].
        label_count: L, at least 2.
        near: the nearest rows by direction; None: they are looked for.
    """
    counts = np.bincount(labels, minlength=label_count)
    usual = int(np.median(counts[counts > 0]))
    near = nearest(directions(turned), NEIGHBOURS) if near is None else near
    voters = min(NEIGHBOURS, max(1, usual - 1))
    found = Neighbours(near.rows[:, :voters], near.cosines[:, :voters])
    around = labels[found.rows]
    votes = np.maximum(found.cosines.astype(np.float64), 0.0) ** 2
    votes /= np.maximum(votes.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    doubts, proposed = np.zeros(len(labels)), np.zeros(len(labels), np.intp)
    margins = np.zeros(len(labels))
    held_out = fit_held_out(turned, labels, label_count)
    temperature = np.float32(held_out.temperature())
    for rows, scores in held_out.blocks():
        row, own = np.arange(len(scores)), labels[rows]
        chances = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
        confidence = chances[row, own] / chances.sum(axis=1, dtype=np.float64)
        agreed = np.zeros(len(row))
        for column in range(around.shape[1]):
            scores[row, around[rows, column]] += _VOTES * votes[rows, column]
            agreed += votes[rows, column] * (around[rows, column] == own)
        doubts[rows] = 1 - (confidence + WEIGHT * agreed) / (1 + WEIGHT)
        suits = scores[row, own].copy()
        scores[row, own] = -np.inf
        proposed[rows] = scores.argmax(axis=1)
        margins[rows] = scores[row, proposed[rows]] - suits
    agreeing = (around == proposed[:, np.newaxis]).sum(axis=1)
    doubts = np.clip(doubts, 0.0, 1.0)
    return Suspicions(doubts, margins >= MARGIN, proposed, found, agreeing)
