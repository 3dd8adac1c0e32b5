"""Which photos probably have a label wrongly, or lack one.

Each label of each photo is doubted by itself: by the probability of a classifier that has not seen
the photo, and a little by which of the nearest photos have the label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.final_layer.multi_label.marked import Bools
from tlcli.core.photos.multi_label.held_out_marks import held_out_probabilities
from tlcli.core.photos.neighbours import Neighbours

FEWEST = 5
"""Photos with a label, and photos without it, below which nothing is said of it.

The only photo of a label is unlike all others that have it, as there are none.
"""
WEIGHT = 0.1
"""How much the nearest photos count beside the classifier's probability.

Photos of one place with other things in it are near each other, so that they count little.
"""
DOUBTED = 0.85
"""Doubt from which on a label is reported."""


@dataclass(frozen=True)
class MarkDoubts:
    """Labels of photos that are doubted, the most doubtful first; M of them.

    Attributes:
        rows: of the photo, [M].
        labels: that is doubted, [M].
        scores: float64 [M], 0 to 1: how little speaks for the photo as it is labelled.
        votes: how many of the nearest photos have the label if this one lacks it, or lack it if
            this one has it, [M].
    """

    rows: Indices
    labels: Indices
    scores: Doubles
    votes: Indices


def mark_doubts(turned: Floats, marks: Bools, near: Neighbours, least: float) -> MarkDoubts:
    """Return the labels of photos that are doubted.

    Args:
        turned: vectors on their main axes, float32 [N, A], without copies of one photo.
        marks: which row has which label, bool [N, L].
        near: the nearest rows of each.
        least: doubt from which on a label is among them, 0 to 1.
    """
    counts = marks.sum(axis=0)
    known = np.flatnonzero((counts >= FEWEST) & (len(marks) - counts >= FEWEST))
    shares = np.maximum(near.cosines.astype(np.float64), 0.0) ** 2
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    parts: list[tuple[Indices, Indices, Doubles, Indices]] = []
    for place, chances in held_out_probabilities(turned, marks[:, known]) if len(known) else ():
        label = int(known[place])
        has = marks[:, label]
        around = has[near.rows]
        agreeing = (shares * (around == has[:, np.newaxis])).sum(axis=1)
        confidence = np.where(has, chances, 1 - chances)
        doubts = 1 - (confidence + WEIGHT * agreeing) / (1 + WEIGHT)
        rows = np.flatnonzero(doubts >= least)
        votes = (around[rows] != has[rows, np.newaxis]).sum(axis=1)
        parts.append((rows, np.full(len(rows), label), doubts[rows], votes))
    if not parts:
        nothing = np.zeros(0, np.intp)
        return MarkDoubts(nothing, nothing, np.zeros(0), nothing)
    rows, labels, scores, votes = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.lexsort((labels, rows, -scores))
    return MarkDoubts(rows[order], labels[order], scores[order], votes[order])
