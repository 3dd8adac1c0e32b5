"""The covariance within labels from sums over rows, D x D, for rows that outnumber their values."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.final_layer.centred_vectors import BlockLimits, row_blocks
from tlcli.core.final_layer.positive_definite import row_parts, solution
from tlcli.core.final_layer.samples import Samples
from tlcli.errors import DataError
from tlcli.runtime.blas_threads import in_parallel

# Of sums over float32 vectors, relative to the sum.
_ROUNDING = 1e-6
# Rows that are summed at once.
_ROWS_AT_ONCE = 512


class LabelSums(NamedTuple):
    """Sums over rows: how many there are of each label, their vectors, and D x D products."""

    counts: Doubles
    sums: Doubles
    products: Doubles

    @classmethod
    def of(cls, samples: Samples, origin: Doubles, labels: int, blocks: BlockLimits) -> LabelSums:
        """Return the sums over vectors minus ``origin``, in one pass."""
        size = samples.size
        counts = np.bincount(samples.labels, minlength=labels).astype(np.float64)
        sums, products = np.zeros((labels, size)), np.zeros((size, size))
        plain = origin.astype(np.float32)
        parts = row_parts(size)
        # Adding a product costs as much as some hundred rows.
        for part, block in row_blocks(samples, max(blocks.block_bytes, size * size)):
            block -= plain
            in_parallel(functools.partial(_add_products, products, block), parts[::-1])
            order = np.argsort(samples.labels[part], kind="stable")
            own, starts = np.unique(samples.labels[part][order], return_index=True)
            sums[own] += np.add.reduceat(block[order], starts, dtype=np.float64)
        for values in parts:
            products[: values.start, values] = products[values, : values.start].T
        return cls(counts, sums, products)

    def plus(self, other: LabelSums) -> LabelSums:
        """Return the sums over the rows of both."""
        return LabelSums(
            self.counts + other.counts, self.sums + other.sums, self.products + other.products
        )

    def of_present(self) -> tuple[Indices, LabelSums]:
        """Return the labels that have rows, and the sums of those alone, in memory of their own."""
        present = np.flatnonzero(self.counts > 0.5)
        return present, LabelSums(self.counts[present], self.sums[present], self.products.copy())

    def without(self, other: LabelSums) -> LabelSums:
        """Return the sums over the rows that ``other`` lacks."""
        return LabelSums(
            self.counts - other.counts, self.sums - other.sums, self.products - other.products
        )


class Covariance:
    """The covariance within labels, D x D, and their means."""

    def __init__(self, sums: LabelSums) -> None:
        """Take over the memory of ``sums``."""
        self._counts = sums.counts
        self._means = sums.sums / sums.counts[:, None]
        covariance, size = sums.products, len(sums.products)
        total = float(sums.counts.sum())
        overall = float(np.trace(covariance)) / total / size

        def centre(part: slice) -> None:
            covariance[part] -= sums.sums[:, part].T @ self._means

        in_parallel(centre, row_parts(size, _ROWS_AT_ONCE))
        covariance /= total
        self._variance = mean_variance(float(np.trace(covariance)) / size, overall)
        self._covariance = covariance.astype(np.float32)

    def solve(self, shrinkage: float, exact: bool) -> tuple[Doubles, Doubles]:
        """Return weights [D, L] and the scores [L] of the origin."""
        weights = self._means.T / (shrinkage * self._variance)
        if shrinkage < 1:
            diagonal = self._variance * shrinkage / (1 - shrinkage)
            weights = solution(self._covariance, diagonal, self._means.T, exact) / (1 - shrinkage)
        lengths = np.einsum("ld,dl->l", self._means, weights)
        return weights, np.log(self._counts / self._counts.sum()) - lengths / 2

    def weights(self, factors: Doubles) -> Doubles:
        """Return the weights [D, L] of what `solve` returned."""
        return factors


def _add_products(products: Doubles, block: Floats, values: slice) -> None:
    """Add to the lower triangle of sums [D, D] those of a block [n, D], in the rows of a part."""
    products[values, : values.stop] += block[:, values].T @ block[:, : values.stop]


def mean_variance(within: float, overall: float) -> float:
    """Return a variance to shrink to.

    Args:
        within: mean variance of a value around its label's mean. Where it is no more than what
            rounding leaves, all rows of a label being the same, ``overall`` stands for it.
        overall: mean variance of a value around the origin.

    Raises:
        DataError: it is not finite.
    """
    if not np.isfinite(within):
        raise DataError("the bottleneck vectors are too large to fit a final layer to")
    if within > _ROUNDING * overall:
        return within
    return overall if overall > 0 else 1.0
