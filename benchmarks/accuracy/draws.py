"""Which images train and which test: folds, and few images per label drawn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tlcli.core.evaluation.metrics import assign_folds


@dataclass(frozen=True)
class Draw:
    """One division of a collection.

    Attributes:
        fold: which of the folds tests, from 0.
        training: rows, rising.
        testing: rows, rising.
    """

    fold: int
    training: np.ndarray
    testing: np.ndarray


def draws(
    labels: np.ndarray, groups: Sequence[object], per_label: int | None, folds: int, seed: int
) -> Iterator[Draw]:
    """Yield every fold of one division.

    Args:
        labels: index of each row's label, [N].
        groups: rows of one group are never on both sides.
        per_label: training rows of each label, drawn from the other folds; the first are the
            same whatever the number. None: all of them.
        folds: number of folds.
        seed: of the division and of the drawn rows.
    """
    fold_of = assign_folds(labels, groups, folds, seed=seed)
    for fold in range(folds):
        training, testing = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        if per_label is not None:
            shuffled = np.random.default_rng(1000 * seed + fold).permutation(training)
            own = [shuffled[labels[shuffled] == label] for label in np.unique(labels)]
            if min(map(len, own)) <= per_label:
                continue
            training = np.sort(np.concatenate([rows[:per_label] for rows in own]))
        yield Draw(fold, training, testing)
