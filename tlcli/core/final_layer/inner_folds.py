"""Rows of the training split that are held out to choose a strength by."""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Indices

INNER_FOLDS = 5


def inner_folds(labels: Indices, groups: Indices | None = None) -> Indices:
    """Return the fold of each row, 0 to 4, labels spread evenly; -1 for a label with one group.

    Args:
        labels: of the rows, [N].
        groups: rows with the same number, [N], such as views of one image, share a fold; None:
            each row is a group of its own.
    """
    if groups is not None:
        _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
        folds: Indices = inner_folds(labels[first])[group_of]
        return folds
    folds = np.full(len(labels), -1, np.intp)
    offset = 0
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            continue
        folds[rows] = (np.arange(len(rows)) + offset) % INNER_FOLDS
        offset += len(rows)
    return folds


def held_out_rows(labels: Indices, groups: Indices | None, enough: int) -> list[Indices]:
    """Return the rows to hold out, rising, fold by fold: all five, or fewer where that is enough.

    Args:
        labels: of the training rows, [N].
        groups: see `inner_folds`.
        enough: rows; no further fold is returned once so many were, and of single rows none has
            more.
    """
    folds = inner_folds(labels, groups)
    held_out: list[Indices] = []
    for fold in range(INNER_FOLDS):
        rows = np.flatnonzero(folds == fold)
        if len(rows) > enough and groups is None:  # evenly over the rows
            rows = rows[np.linspace(0, len(rows) - 1, enough).astype(np.intp)]
        if len(rows):
            held_out.append(rows)
        if sum(map(len, held_out)) >= enough:
            break
    return held_out
