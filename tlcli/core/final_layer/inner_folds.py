"""Rows of the training split that are held out to choose a strength by."""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Indices

INNER_FOLDS = 5


def inner_folds(labels: Indices) -> Indices:
    """Return the fold of each row, 0 to 4, labels spread evenly; -1 for a label with one row."""
    folds = np.full(len(labels), -1, np.intp)
    offset = 0
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            continue
        folds[rows] = (np.arange(len(rows)) + offset) % INNER_FOLDS
        offset += len(rows)
    return folds


def held_out_rows(labels: Indices, enough: int) -> list[Indices]:
    """Return the rows to hold out, rising, fold by fold: all five, or fewer where that is enough.

    Args:
        labels: of the training rows, [N].
        enough: rows; no further fold is returned once so many were, and none has more.
    """
    folds = inner_folds(labels)
    groups: list[Indices] = []
    for fold in range(INNER_FOLDS):
        rows = np.flatnonzero(folds == fold)
        if len(rows) > enough:  # evenly over the rows
            rows = rows[np.linspace(0, len(rows) - 1, enough).astype(np.intp)]
        if len(rows):
            groups.append(rows)
        if sum(map(len, groups)) >= enough:
            break
    return groups
