"""Vectors of images that may have several labels, and folds that hold each label evenly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Floats, Indices
from tlcli.core.final_layer.samples import INNER_FOLDS, Samples, inner_folds

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MarkedSamples:
    """Vectors and which labels each has.

    Attributes:
        samples: N of them; their own labels have no meaning.
        marks: which has which label, bool [N, L].
    """

    samples: Samples
    marks: Bools

    @classmethod
    def of(cls, vectors: Floats, marks: Bools, groups: Indices | None = None) -> MarkedSamples:
        """Return vectors [N, D] with their marks [N, L] and groups [N], see `Samples`."""
        return cls(Samples(vectors, np.zeros(len(vectors), np.intp), groups=groups), marks)

    def __len__(self) -> int:
        return len(self.marks)

    def at(self, numbers: Indices) -> MarkedSamples:
        """Return the samples of some numbers, in their order."""
        return MarkedSamples(self.samples.at(numbers), self.marks[numbers])


def marked_folds(marks: Bools, groups: Indices | None = None, count: int = INNER_FOLDS) -> Indices:
    """Return the fold of each row, from 0: images are dealt by the rarest of their labels.

    Rare labels are what a random deal spreads badly (K. Sechidis, G. Tsoumakas and I. Vlahavas, On
    the Stratification of Multi-label Data, 2011).

    Args:
        marks: bool [N, L].
        groups: rows with the same number, [N], share a fold; None: each row is its own group.
        count: of the folds.
    """
    frequencies = marks.sum(axis=0)
    ranks = np.argsort(np.argsort(frequencies, kind="stable"), kind="stable")
    # Images without labels are dealt together, after all others.
    rarest = np.where(marks, ranks, marks.shape[1]).min(axis=1, initial=marks.shape[1])
    folds = inner_folds(rarest, groups, count)
    single = folds < 0
    keys = np.arange(len(folds)) if groups is None else groups
    folds[single] = np.unique(keys[single], return_inverse=True)[1] % count
    return folds
