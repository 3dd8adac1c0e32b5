"""Vectors with their labels, as fits take them, and the rows held out to choose a strength by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Floats, Indices
from tlcli.system.mapped_arrays import touched

INNER_FOLDS = 5


@dataclass(frozen=True)
class RowScale:
    """What rows become when they are read.

    Attributes:
        mean: subtracted, float32 [D].
        factors: multiplied by, float32 [D].
    """

    mean: Floats
    factors: Floats

    def apply(self, rows: Floats) -> Floats:
        """Scale rows [N, D] in their own memory, and return them."""
        rows -= self.mean
        rows *= self.factors
        return rows


@dataclass(frozen=True)
class Samples:
    """Vectors with their labels; they may be in a file, see `tlcli.system.mapped_arrays`.

    Attributes:
        vectors: float32 [M, D], all finite.
        labels: index of each sample's label, [N], 0 to L - 1.
        rows: the row of ``vectors`` of each sample, [N], so that a split of a large matrix needs
            no copy of it; None: row k is sample k.
        groups: samples with the same number, [N], such as views of one image, are never on both
            sides where some are held out; None: each sample is a group of its own.
        scale: what is made of the vectors whenever they are read; None: nothing.
    """

    vectors: Floats
    labels: Indices
    rows: Indices | None = None
    groups: Indices | None = None
    scale: RowScale | None = None

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

        It is a copy only where rows or a scale are given.
        """
        found = self.vectors[start:stop]
        if self.rows is not None:
            found = self.vectors[self.rows[start:stop]]
        touched(self.vectors, found.nbytes)
        if self.scale is None:
            return found
        return self.scale.apply(found.copy() if self.rows is None else found)

    def read(self, samples: Indices | slice, rows: Floats) -> None:
        """Write the vectors of some samples, by number or a range, into ``rows`` [n, D]."""
        touched(self.vectors, rows.nbytes)
        if isinstance(samples, slice):
            if self.rows is None:
                np.copyto(rows, self.vectors[samples])
                samples = self.labels[:0]
            else:
                samples = self.rows[samples]
        elif self.rows is not None:
            samples = self.rows.take(samples)
        if len(samples):
            # mode="clip" lets NumPy write straight into the buffer.
            self.vectors.take(samples, 0, rows, "clip")
        if self.scale is not None:
            self.scale.apply(rows)

    def with_labels(self, labels: Indices) -> Samples:
        """Return the same samples with other labels [N]."""
        return replace(self, labels=labels)

    def subset(self, chosen: npt.NDArray[np.bool_]) -> Samples:
        """Return the samples where ``chosen`` [N] is true, without a copy of their vectors."""
        return self.at(np.flatnonzero(chosen))

    def at(self, numbers: Indices) -> Samples:
        """Return the samples of some numbers, in their order, without a copy of their vectors."""
        return Samples(
            self.vectors,
            self.labels[numbers],
            numbers if self.rows is None else self.rows[numbers],
            None if self.groups is None else self.groups[numbers],
            self.scale,
        )


def inner_folds(
    labels: Indices, groups: Indices | None = None, count: int = INNER_FOLDS
) -> Indices:
    """Return the fold of each row, from 0, labels spread evenly; -1 for a label with one group.

    Args:
        labels: of the rows, [N].
        groups: rows with the same number, [N], such as views of one image, share a fold; None:
            each row is a group of its own.
        count: of the folds.
    """
    if groups is not None:
        _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
        folds: Indices = inner_folds(labels[first], None, count)[group_of]
        return folds
    folds = np.full(len(labels), -1, np.intp)
    order = np.argsort(labels, kind="stable")
    counts = np.unique(labels, return_counts=True)[1]
    starts = np.cumsum(counts) - counts
    # The folds of a label go on where those of the one before ended; single rows are skipped.
    offsets = np.cumsum(np.where(counts < 2, 0, counts)) - counts
    dealt = np.arange(len(labels)) - np.repeat(starts - offsets, counts)
    folds[order] = np.where(np.repeat(counts, counts) < 2, -1, dealt % count)
    return folds


def held_out_rows(
    labels: Indices, groups: Indices | None, enough: int, count: int = INNER_FOLDS
) -> list[Indices]:
    """Return the rows to hold out, rising, fold by fold: all of them, or fewer where enough.

    Args:
        labels: of the training rows, [N].
        groups: see `inner_folds`.
        enough: rows; no further fold is returned once so many were, and of single rows none has
            more.
        count: of the folds.
    """
    folds = inner_folds(labels, groups, count)
    held_out: list[Indices] = []
    for fold in range(count):
        rows = np.flatnonzero(folds == fold)
        if len(rows) > enough and groups is None:  # evenly over the rows
            rows = rows[np.linspace(0, len(rows) - 1, enough).astype(np.intp)]
        if len(rows):
            held_out.append(rows)
        if sum(map(len, held_out)) >= enough:
            break
    return held_out
