"""The covariance within labels from products of rows, N x N, for rows of more values than rows."""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.final_layer.discriminant.sums import mean_variance
from tlcli.core.final_layer.positive_definite import row_parts, solution
from tlcli.runtime.blas_threads import in_parallel

# Rows that are converted to another type, or multiplied by as many others, at once.
_ROWS_AT_ONCE = 512
# Products that are summed or centred at once, which stay in the processor's caches.
_PRODUCTS_IN_CACHE = 1 << 18


def products_of_rows(vectors: Floats) -> Floats:
    """Return the products [N, N] of rows [N, D] with one another, the same on any machine."""
    count = len(vectors)
    products = np.empty((count, count), np.float32)
    parts = row_parts(count, _ROWS_AT_ONCE)

    def multiply(pair: tuple[int, int]) -> None:
        rows, columns = parts[pair[0]], parts[pair[1]]
        block = products[rows, columns]
        np.matmul(vectors[rows], vectors[columns].T, out=block)
        if rows != columns:
            products[columns, rows] = block.T

    in_parallel(multiply, [(row, column) for row in range(len(parts)) for column in range(row + 1)])
    return products


class RowProducts:
    """Products of rows with one another, N x N, which are all that scores depend on."""

    def __init__(self, vectors: Floats, products: Floats, labels: Indices) -> None:
        """Take over the memory of ``products``.

        Args:
            vectors: minus the origin, [N, D], or more, where only scores are asked for.
            products: of the vectors with one another, [N, N].
            labels: of the vectors, [N], rising, each of 0 to L - 1 at least once.
        """
        self._vectors, self._labels = vectors, labels
        self._counts = np.bincount(labels).astype(np.float64)
        self._starts = np.flatnonzero(np.diff(labels, prepend=-1))
        values = len(labels) * vectors.shape[1]
        overall = float(np.trace(products, dtype=np.float64)) / values
        # Products of rows and means of labels, [N, L], and of rows minus the means of their labels.
        self._with_means = np.empty((len(labels), len(self._starts)))

        def sum_labels(part: slice) -> None:
            np.add.reduceat(
                products[part].astype(np.float64), self._starts, 1, out=self._with_means[part]
            )

        parts = row_parts(len(products), max(1, _PRODUCTS_IN_CACHE // len(products)))
        in_parallel(sum_labels, parts)
        self._with_means /= self._counts
        between = self._means(self._with_means)
        half = (self._with_means - between[labels] / 2).astype(np.float32)
        of_labels = half.T.copy()

        def centre(part: slice) -> None:
            products[part] -= of_labels[labels[part]]
            products[part] -= half[part].take(labels, axis=1)

        in_parallel(centre, parts)
        self._within = products
        within = float(np.trace(products, dtype=np.float64)) / values
        self._variance = mean_variance(within, overall)

    def solve(self, shrinkage: float, exact: bool) -> tuple[Doubles, Doubles]:
        """Return factors [N, L] of the rows and the scores [L] of the origin."""
        count, floor = len(self._labels), shrinkage * self._variance
        factors = np.zeros_like(self._with_means)
        if shrinkage < 1:
            # Woodbury's identity: the inverse of a D x D matrix by one of N x N.
            diagonal = floor * count / (1 - shrinkage)
            centred = self._centre(self._with_means)
            factors = -self._centre(solution(self._within, diagonal, centred, exact))
        factors[np.arange(count), self._labels] += 1 / self._counts[self._labels]
        factors /= floor
        lengths = np.einsum("nl,nl->l", self._with_means, factors)
        return factors, np.log(self._counts / count) - lengths / 2

    def _means(self, values: Doubles) -> Doubles:
        """Return the means [L, M] of rows [N, M] over the rows of each label."""
        means: Doubles = np.add.reduceat(values, self._starts, axis=0)
        return means / self._counts[:, np.newaxis]

    def _centre(self, values: Doubles) -> Doubles:
        """Subtract from rows [N, M] the mean over the rows of their label."""
        centred: Doubles = values - self._means(values)[self._labels]
        return centred

    def weights(self, factors: Doubles) -> Doubles:
        """Return the weights [D, L] of what `solve` returned."""
        weights = np.zeros((self._vectors.shape[1], factors.shape[1]))

        def sum_up(values: slice) -> None:
            for rows in row_parts(len(factors), _ROWS_AT_ONCE):
                weights[values] += self._vectors[rows, values].T.astype(np.float64) @ factors[rows]

        in_parallel(sum_up, row_parts(len(weights), _ROWS_AT_ONCE))
        return weights
