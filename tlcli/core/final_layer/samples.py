"""Vectors with their labels, as fits take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Floats, Indices


@dataclass(frozen=True)
class Samples:
    """Vectors with their labels.

    Attributes:
        vectors: float32 [M, D], all finite.
        labels: index of each sample's label, [N], 0 to L - 1.
        rows: the row of ``vectors`` of each sample, [N], so that a split of a large matrix needs
            no copy of it; None: row k is sample k.
        groups: samples with the same number, [N], such as views of one image, are never on both
            sides where some are held out; None: each sample is a group of its own.
    """

    vectors: Floats
    labels: Indices
    rows: Indices | None = None
    groups: Indices | None = None

    def __post_init__(self) -> None:
        vectors = np.ascontiguousarray(self.vectors, dtype=np.float32)
        labels = np.ascontiguousarray(self.labels, dtype=np.intp)
        rows = None if self.rows is None else np.ascontiguousarray(self.rows, dtype=np.intp)
        expected = vectors.shape[:1] if rows is None else rows.shape
        if vectors.ndim != 2 or labels.ndim != 1 or labels.shape != expected:
            raise ValueError(f"{expected} vectors and labels {labels.shape} do not match")
        if self.groups is not None and self.groups.shape != labels.shape:
            raise ValueError(f"groups {self.groups.shape} and labels {labels.shape} do not match")
        if rows is not None and len(rows) and not 0 <= rows.min() <= rows.max() < len(vectors):
            raise ValueError(f"rows beyond {len(vectors)} vectors")
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "rows", rows)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> int:
        """D, the number of values in a vector."""
        return int(self.vectors.shape[1])

    def gathered(self, start: int = 0, stop: int | None = None) -> Floats:
        """Return the vectors of the samples, or of a range of them, in their order, [N, D].

        It is a copy only where rows are given.
        """
        if self.rows is None:
            return self.vectors[start:stop]
        return self.vectors[self.rows[start:stop]]

    def subset(self, chosen: npt.NDArray[np.bool_]) -> Samples:
        """Return the samples where ``chosen`` [N] is true, without a copy of their vectors."""
        rows = np.flatnonzero(chosen)
        return Samples(
            self.vectors,
            self.labels[rows],
            rows if self.rows is None else self.rows[rows],
            None if self.groups is None else self.groups[rows],
        )
