"""Labels that a trivial fact of the file predicts: a network may learn that fact instead.

Leakage of this kind is described by S. Kaufman and others, Leakage in Data Mining: Formulation,
Detection, and Avoidance, 2012. The classifier here is the least that can be: facts are cut into a
few cells, and a cell has the label that is most frequent in it, relative to the label's photos.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Array, Indices
from tlcli.core.photos.facts import Facts

FEATURES = {
    "mean colour": ("red", "green", "blue"),
    "size in pixels": ("width", "height"),
    "JPEG quality": ("quality",),
    "camera": ("camera",),
}
"""Facts by what people call them; each is tried alone."""
PREDICTED = 0.85
"""Recall and precision from which on a label is predicted."""
FEWEST = 10
"""Photos of a label, below which nothing is said of it."""
_FOLDS = 5
# Cells per fact; one with fewer different values has a cell of each.
_CELLS = 6


@dataclass(frozen=True)
class Shortcut:
    """A label that a trivial fact predicts.

    Attributes:
        label: its index.
        feature: a key of `FEATURES`.
        recall: proportion of its photos that were found, by folds, 0 to 1.
        precision: proportion of right ones among those that were given it, if all labels had
            equally many photos, 0 to 1.
    """

    label: int
    feature: str
    recall: float
    precision: float


def shortcuts(facts: Facts, labels: Indices, label_count: int) -> Iterator[Shortcut]:
    """Yield the labels that trivial facts predict, by cross-validation.

    Args:
        facts: of N images; those without any are left out.
        labels: index of each label, [N].
        label_count: L, at least 2.
    """
    rows = np.flatnonzero(facts.known)
    labels = labels[rows]
    counts = np.bincount(labels, minlength=label_count)
    if (counts > 0).sum() < 2:
        return
    for feature, names in FEATURES.items():
        cells = np.zeros(len(rows), np.intp)
        for name in names:
            cells = cells * (2 * _CELLS) + _cells(facts.column(name)[rows])
        _, cells = np.unique(cells, return_inverse=True)
        if not cells.any():
            continue
        rates = _rates(cells.reshape(-1), labels, label_count)
        for label in np.flatnonzero(counts >= FEWEST).tolist():
            recall = float(rates[label, label])
            given = float(rates[:, label].sum())
            precision = recall / given if given else 0.0
            if recall >= PREDICTED and precision >= PREDICTED:
                yield Shortcut(label, feature, recall, precision)


def _cells(values: Array) -> Indices:
    different = np.unique(values)
    if len(different) > 2 * _CELLS:
        different = np.unique(np.quantile(values, np.arange(1, _CELLS) / _CELLS))
        return np.searchsorted(different, values, side="right")
    return np.searchsorted(different, values)


def _rates(cells: Indices, labels: Indices, label_count: int) -> Array:
    """Return what proportion of each label's photos is given which label, [L, L]."""
    counts = np.bincount(labels, minlength=label_count)
    # The folds of each label are even.
    folds = np.zeros(len(labels), np.intp)
    for label in range(label_count):
        own = np.flatnonzero(labels == label)
        folds[own] = np.arange(len(own)) % _FOLDS
    given = np.zeros((label_count, label_count))
    for fold in range(_FOLDS):
        held = folds == fold
        table = np.zeros((int(cells.max()) + 1, label_count))
        np.add.at(table, (cells[~held], labels[~held]), 1)
        table /= np.maximum(np.bincount(labels[~held], minlength=label_count), 1)
        # An empty cell predicts nothing.
        best = np.where(table.any(axis=1), table.argmax(axis=1), -1)[cells[held]]
        known = best >= 0
        np.add.at(given, (labels[held][known], best[known]), 1)
    found: Array = given / np.maximum(counts, 1)[:, np.newaxis]
    return found
