"""The covariance within labels from products of rows, N x N, for rows of more values than rows."""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.final_layer.discriminant.sums import mean_variance
from tlcli.core.final_layer.positive_definite import solution

# Rows that are converted to another type at once.
_ROWS_AT_ONCE = 512


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
        self._with_means = np.add.reduceat(products, self._starts, axis=1, dtype=np.float64)
        self._with_means /= self._counts
        between = self._means(self._with_means)
        half = (self._with_means - between[labels] / 2).astype(np.float32)
        products -= half[:, labels]
        products -= half.T[labels]
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
        for start in range(0, len(factors), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            weights += self._vectors[part].T.astype(np.float64) @ factors[part]
        return weights
