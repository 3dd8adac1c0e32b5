"""The final layer by linear discriminant analysis with a shrunken covariance.

Each label is a normal distribution of vectors; all share one covariance, estimated within the
labels and shrunken towards its mean variance (J. H. Friedman, Regularized Discriminant Analysis,
1989). What remains is linear: one weight vector and one bias a label. Nothing is drawn at random.

The strength of the shrinkage is chosen on held-out rows, by cross entropy; so is the temperature
that makes probabilities of the scores. Where rows are fewer than the values of a vector, all is
computed from products of rows, N x N; else from sums over rows, D x D.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.final_layer.centred_vectors import BlockLimits, mean_vector, row_blocks
from tlcli.core.final_layer.inner_folds import held_out_rows
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError

LOG = logging.getLogger("tlcli")

SHRINKAGES = (0.9, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003)
"""Strengths tried, strongest first: 1 leaves the mean variance alone."""

_FALLBACK_SHRINKAGE = 0.1
# The loss on held-out rows has passed its minimum when it rose this often in a row.
_RISES_AT_END = 2
# A label without rows stays this far, in nats, below the lowest of the others at the mean vector.
_ABSENT = 30.0
_NEWTON_STEPS = 60
# Of sums over float32 vectors, relative to the sum.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class LdaSettings:
    """Limits that bound time and memory of a fit.

    Attributes:
        most_products: rows up to which N x N products are made, where N is also at most D.
        enough_held_out: no further row is held out beyond so many.
        most_scores: scores of held-out rows that are kept at once.
        blocks: how many rows are summed at once.
    """

    most_products: int = 6000
    enough_held_out: int = 10_000
    most_scores: int = 20_000_000
    blocks: BlockLimits = field(default_factory=lambda: BlockLimits(block_bytes=16 << 20))


@dataclass(frozen=True)
class DiscriminantAnalysis:
    """A fitted layer and how its strength was chosen.

    Attributes:
        layer: the final layer.
        shrinkage: weight of the mean variance, 0 to 1.
        temperature: what the scores were divided by, above 0.
        selection: "folds" (of the training rows) or "fixed".
        losses: {shrinkage: mean cross entropy in nats} of those tried.
    """

    layer: FinalLayer
    shrinkage: float
    temperature: float
    selection: str
    losses: dict[float, float]


class _Fold(NamedTuple):
    """Held-out rows: a model of all others, their scores' factors [H, M], and their labels [H]."""

    model: _Sums | _Products
    factors: Floats
    labels: Indices


# Large finite vectors may overflow when squared; the sums are checked.
@np.errstate(over="ignore", invalid="ignore")
def fit_lda(
    training: Samples,
    label_count: int,
    *,
    shrinkage: float | None = None,
    settings: LdaSettings = LdaSettings(),
) -> DiscriminantAnalysis:
    """Fit a final layer by linear discriminant analysis.

    Args:
        training: at least one row.
        label_count: L; a label without training rows gets a probability of almost 0.
        shrinkage: above 0 up to 1; use this one instead of choosing.
        settings: limits of time and memory.

    Raises:
        DataError: no training rows, or vectors too large to square.
    """
    if not len(training):
        raise DataError("there is no training image; add images to the labels' folders")
    present, labels = np.unique(training.labels, return_inverse=True)
    enough = min(settings.enough_held_out, settings.most_scores // len(present) + 1)
    held_out = held_out_rows(labels, training.groups, enough)
    mean = mean_vector(training, settings.blocks)
    samples = Samples(training.vectors, labels, training.rows)
    use_products = len(samples) <= min(samples.size, settings.most_products)
    make = _with_products if use_products else _with_sums
    model, folds = make(samples, mean, held_out, settings.blocks)
    losses: dict[float, float] = {}
    temperature, selection = 1.0, "fixed"
    if folds:
        tried = SHRINKAGES if shrinkage is None else (shrinkage,)
        losses, temperatures = _losses(folds, tried)
        if shrinkage is None:
            selection = "folds"
            shrinkage = min(losses, key=losses.__getitem__)
        temperature = temperatures[shrinkage]
    elif shrinkage is None:
        shrinkage = _FALLBACK_SHRINKAGE
    factors, at_mean = model.solve(shrinkage, np.float64)
    weights = model.weights(factors) / temperature
    at_mean = at_mean / temperature
    LOG.debug("shrinkage %.3g, temperature %.3g by %s", shrinkage, temperature, selection)
    return DiscriminantAnalysis(
        _layer(weights, at_mean, mean, present, label_count),
        shrinkage,
        temperature,
        selection,
        losses,
    )


def _layer(
    weights: Doubles, at_mean: Doubles, mean: Doubles, present: Indices, label_count: int
) -> FinalLayer:
    all_weights = np.zeros((len(mean), label_count), np.float32)
    all_weights[:, present] = weights
    all_biases = np.full(label_count, float(at_mean.min()) - _ABSENT, np.float32)
    all_biases[present] = at_mean - mean @ weights
    return FinalLayer(all_weights, all_biases)


class _Sums:
    """Sums over rows: how many there are of each label, their vectors, and D x D products."""

    def __init__(self, counts: Doubles, sums: Doubles, products: Doubles) -> None:
        self.counts, self.sums, self.products = counts, sums, products

    @classmethod
    def of(cls, samples: Samples, mean: Doubles, labels: int, blocks: BlockLimits) -> _Sums:
        """Return the sums over vectors minus ``mean``, in one pass."""
        size = samples.size
        counts = np.bincount(samples.labels, minlength=labels).astype(np.float64)
        sums, products = np.zeros((labels, size)), np.zeros((size, size))
        plain_mean = mean.astype(np.float32)
        for part, block in row_blocks(samples, blocks.block_bytes):
            block -= plain_mean
            products += block.T @ block
            order = np.argsort(samples.labels[part], kind="stable")
            own, starts = np.unique(samples.labels[part][order], return_index=True)
            sums[own] += np.add.reduceat(block[order], starts, dtype=np.float64)
        return cls(counts, sums, products)

    def without(self, other: _Sums) -> _Sums:
        """Return the sums over the rows that ``other`` lacks."""
        return _Sums(
            self.counts - other.counts, self.sums - other.sums, self.products - other.products
        )

    def solve(self, shrinkage: float, dtype: type[np.floating]) -> tuple[Doubles, Doubles]:
        """Return weights [D, L] and the scores [L] of the mean vector."""
        means = self.sums / self.counts[:, None]
        total = float(self.counts.sum())
        covariance = (self.products - self.sums.T @ means) / total
        size = len(covariance)
        variance = _mean_variance(
            float(np.trace(covariance)) / size, float(np.trace(self.products)) / total / size
        )
        covariance *= 1 - shrinkage
        covariance[np.diag_indices_from(covariance)] += shrinkage * variance
        weights = np.linalg.solve(covariance.astype(dtype), means.T.astype(dtype))
        weights = weights.astype(np.float64)
        lengths = np.einsum("ld,dl->l", means, weights)
        return weights, np.log(self.counts / total) - lengths / 2

    def weights(self, factors: Doubles) -> Doubles:
        """Return the weights [D, L] of what `solve` returned."""
        return factors


class _Products:
    """Products of rows with one another, N x N, which are all that scores depend on."""

    def __init__(self, vectors: Floats, products: Floats, labels: Indices, size: int) -> None:
        self._vectors, self._size = vectors, size
        self._counts = np.bincount(labels).astype(np.float64)
        self._averages = np.zeros((len(labels), len(self._counts)))
        self._averages[np.arange(len(labels)), labels] = 1 / self._counts[labels]
        self._labels = labels
        self._with_means = products @ self._averages.astype(np.float32)
        # Products of rows minus the means of their labels.
        means = self._averages.T @ self._with_means
        within = products - self._with_means[:, labels]
        within -= self._with_means[:, labels].T
        within += means[labels][:, labels]
        self._within = within
        values = len(labels) * size
        self._variance = _mean_variance(
            float(np.trace(within)) / values, float(np.trace(products)) / values
        )

    def solve(self, shrinkage: float, dtype: type[np.floating]) -> tuple[Doubles, Doubles]:
        """Return factors [N, L] of the rows and the scores [L] of the mean vector."""
        count, floor = len(self._labels), shrinkage * self._variance
        averages, with_means = self._averages, self._with_means.astype(np.float64)
        factors = averages
        if shrinkage < 1:
            # Woodbury's identity: the inverse of a D x D matrix by one of N x N.
            matrix = self._within.astype(dtype)
            matrix[np.diag_indices_from(matrix)] += floor * count / (1 - shrinkage)
            centred = self._centre(with_means).astype(dtype)
            factors = averages - self._centre(np.linalg.solve(matrix, centred).astype(np.float64))
        factors = factors / floor
        lengths = np.einsum("nl,nl->l", with_means, factors)
        return factors, np.log(self._counts / count) - lengths / 2

    def _centre(self, values: Doubles) -> Doubles:
        """Subtract from rows [N, L] the mean over the rows of their label."""
        means: Doubles = self._averages.T @ values
        return values - means[self._labels]

    def weights(self, factors: Doubles) -> Doubles:
        """Return the weights [D, L] of what `solve` returned."""
        weights: Doubles = self._vectors.T.astype(np.float64) @ factors
        return weights


def _mean_variance(within: float, overall: float) -> float:
    """Return a variance to shrink to.

    Args:
        within: mean variance of a value around its label's mean. Where it is no more than what
            rounding leaves, all rows of a label being the same, ``overall`` stands for it.
        overall: mean variance of a value around the mean of all rows.

    Raises:
        DataError: it is not finite.
    """
    if not np.isfinite(within):
        raise DataError("the bottleneck vectors are too large to fit a final layer to")
    if within > _ROUNDING * overall:
        return within
    return overall if overall > 0 else 1.0


def _with_sums(
    samples: Samples, mean: Doubles, parts: Sequence[Indices], blocks: BlockLimits
) -> tuple[_Sums, list[_Fold]]:
    labels = int(samples.labels.max()) + 1
    whole = _Sums.of(samples, mean, labels, blocks)
    folds = []
    for rows in parts:
        chosen = np.zeros(len(samples), np.bool_)
        chosen[rows] = True
        held_out = samples.subset(chosen)
        model = whole.without(_Sums.of(held_out, mean, labels, blocks))
        vectors = held_out.gathered() - mean.astype(np.float32)
        folds.append(_Fold(model, vectors, held_out.labels))
    return whole, folds


def _with_products(
    samples: Samples, mean: Doubles, parts: Sequence[Indices], blocks: BlockLimits
) -> tuple[_Products, list[_Fold]]:
    vectors = samples.gathered() - mean.astype(np.float32)
    labels, size = samples.labels, samples.size
    products = vectors @ vectors.T
    folds = []
    for rows in parts:
        kept = np.delete(np.arange(len(labels)), rows)
        model = _Products(vectors[kept], products[np.ix_(kept, kept)], labels[kept], size)
        folds.append(_Fold(model, products[np.ix_(rows, kept)], labels[rows]))
    return _Products(vectors, products, labels, size), folds


def _losses(
    folds: Sequence[_Fold], tried: Sequence[float]
) -> tuple[dict[float, float], dict[float, float]]:
    """Return the cross entropy of each shrinkage on the held-out rows, and its temperature."""
    labels = np.concatenate([fold.labels for fold in folds])
    losses: dict[float, float] = {}
    temperatures: dict[float, float] = {}
    rises = 0
    for shrinkage in tried:
        scores = []
        for model, factors, _ in folds:
            solved, at_mean = model.solve(shrinkage, np.float32)
            scores.append(factors @ solved.astype(np.float32) + at_mean.astype(np.float32))
        temperature, loss = best_temperature(np.concatenate(scores), labels)
        rises = rises + 1 if losses and loss >= min(losses.values()) else 0
        losses[shrinkage], temperatures[shrinkage] = loss, temperature
        if rises == _RISES_AT_END:
            break
    return losses, temperatures


def best_temperature(scores: Floats, labels: Indices) -> tuple[float, float]:
    """Return the temperature with the lowest cross entropy, and that cross entropy in nats.

    The true label counts as (N + 1) / (N + 2) and the others share the rest, so that rows that are
    all right do not ask for certainty (J. Platt, Probabilistic Outputs for Support Vector
    Machines, 1999).

    Args:
        scores: float32 [N, L], finite.
        labels: of the rows, [N].
    """
    count, label_count = scores.shape
    true = scores[np.arange(count), labels].astype(np.float64)
    share = 1 / (count + 2)
    if label_count > 1:
        others = (scores.sum(axis=1, dtype=np.float64) - true) / (label_count - 1)
        true = (1 - share) * true + share * others
    highest = scores.max(axis=1, keepdims=True)
    spread = float((highest[:, 0] - true).mean(dtype=np.float64))
    low, high, factor = 0.0, np.inf, 1.0 / max(spread, 1e-30)
    loss = np.log(label_count)
    for _ in range(_NEWTON_STEPS):
        # The loss is convex in the factor, 1 / temperature.
        powers = np.exp(factor * (scores - highest).astype(np.float64))
        sums = powers.sum(axis=1)
        mean = (powers * scores).sum(axis=1) / sums
        loss = float((np.log(sums) + factor * (highest[:, 0] - true)).mean())
        slope = float((mean - true).mean())
        curvature = float(((powers * scores**2).sum(axis=1) / sums - mean**2).mean())
        low, high = (factor, high) if slope < 0 else (low, factor)
        following = factor - slope / curvature if curvature > 0 else factor
        if not low < following < high:
            following = (low + high) / 2 if np.isfinite(high) else 2 * factor
        if abs(following - factor) <= 1e-4 * factor:
            break
        factor = following
    return 1 / factor, loss
