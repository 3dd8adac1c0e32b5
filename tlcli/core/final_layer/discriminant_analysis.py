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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from tlcli.arrays import Array, Doubles, Floats, Indices
from tlcli.core.final_layer.centred_vectors import BlockLimits, mean_vector, row_blocks
from tlcli.core.final_layer.positive_definite import solution
from tlcli.core.final_layer.samples import Samples, held_out_rows
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError

LOG = logging.getLogger("tlcli")

SHRINKAGES = (0.9, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003)
"""Strengths that may be chosen, strongest first: 1 leaves the mean variance alone."""

# Where the search begins, and what is used where no row can be held out.
_MIDDLE = SHRINKAGES.index(0.1)
# A label without rows stays this far, in nats, below the lowest of the others at the mean vector.
_ABSENT = 30.0
_NEWTON_STEPS = 60
# Nats between the highest and the lowest score of a row, on average, that a temperature leaves.
_LEAST_WIDTH = 0.5
# Of sums over float32 vectors, relative to the sum.
_ROUNDING = 1e-6
# Rows that tell where the vectors lie; sums around that point keep their digits.
_ROWS_OF_ORIGIN = 1024
# Held-out rows of a label, where labels are so many that their number decides.
_HELD_OUT_PER_LABEL = 4
# Rows that are converted to another type, or summed, at once.
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class LdaSettings:
    """Limits that bound time and memory of a fit.

    Attributes:
        most_products: rows up to which N x N products are made, where N is also at most D.
        enough_held_out: no further row is held out beyond so many (or four per label).
        most_scores: scores of held-out rows that are kept at once.
        blocks: how many rows are summed at once.
    """

    most_products: int = 15_000
    enough_held_out: int = 500
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


class _Model(Protocol):
    """Statistics of labelled rows, ready to be solved for any strength."""

    def solve(self, shrinkage: float, exact: bool) -> tuple[Array, Doubles]:
        """Return factors [M, L] of what scores are made of, and the scores [L] of the origin."""

    def weights(self, factors: Doubles) -> Doubles:
        """Return the weights [D, L] of factors."""


class _Fold(NamedTuple):
    """Held-out rows: a model of all others, their scores' factors [H, M], and their labels [H]."""

    model: _Model
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
    samples = Samples(training.vectors, labels, training.rows, training.groups)
    origin = _origin(samples, settings.blocks)
    use_products = len(samples) <= min(samples.size, settings.most_products)
    make = _with_products if use_products else _with_sums
    model_of_all, folds = make(samples, origin, settings)
    losses: dict[float, float] = {}
    temperature, selection = 1.0, "fixed"
    if folds:
        selection = "folds" if shrinkage is None else "fixed"
        losses, temperatures = _losses(folds, shrinkage)
        shrinkage = min(losses, key=losses.__getitem__)
        temperature = temperatures[shrinkage]
    elif shrinkage is None:
        shrinkage = SHRINKAGES[_MIDDLE]
    del folds  # its matrices are as large as those that follow
    model = model_of_all()
    factors, at_origin = model.solve(shrinkage, exact=True)
    weights = model.weights(factors) / temperature
    at_origin = at_origin / temperature
    LOG.debug("shrinkage %.3g, temperature %.3g by %s", shrinkage, temperature, selection)
    all_weights = np.zeros((samples.size, label_count), np.float32)
    all_weights[:, present] = weights
    all_biases = np.full(label_count, float(at_origin.min()) - _ABSENT, np.float32)
    all_biases[present] = at_origin - origin @ weights
    layer = FinalLayer(all_weights, all_biases)
    return DiscriminantAnalysis(layer, shrinkage, temperature, selection, losses)


def _origin(samples: Samples, blocks: BlockLimits) -> Doubles:
    """Return a point amid the vectors, [D], representable in float32."""
    rows = np.linspace(0, len(samples) - 1, min(len(samples), _ROWS_OF_ORIGIN)).astype(np.intp)
    chosen = rows if samples.rows is None else samples.rows[rows]
    some = Samples(samples.vectors, samples.labels[rows], chosen)
    return mean_vector(some, blocks).astype(np.float32).astype(np.float64)


def _held_out(samples: Samples, settings: LdaSettings) -> list[Indices]:
    """Return the rows to hold out, fold by fold."""
    labels = int(samples.labels.max()) + 1
    enough = max(settings.enough_held_out, _HELD_OUT_PER_LABEL * labels)
    if samples.groups is not None:  # as many groups as there would be single rows
        enough = enough * len(samples) // len(np.unique(samples.groups))
    enough = min(enough, settings.most_scores // labels + 1)
    return held_out_rows(samples.labels, samples.groups, enough)


class _Sums(NamedTuple):
    """Sums over rows: how many there are of each label, their vectors, and D x D products."""

    counts: Doubles
    sums: Doubles
    products: Doubles

    @classmethod
    def of(cls, samples: Samples, origin: Doubles, labels: int, blocks: BlockLimits) -> _Sums:
        """Return the sums over vectors minus ``origin``, in one pass."""
        size = samples.size
        counts = np.bincount(samples.labels, minlength=labels).astype(np.float64)
        sums, products = np.zeros((labels, size)), np.zeros((size, size))
        plain = origin.astype(np.float32)
        # Adding a product costs as much as some hundred rows.
        for part, block in row_blocks(samples, max(blocks.block_bytes, size * size)):
            block -= plain
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


class _Covariance:
    """The covariance within labels, D x D, and their means."""

    def __init__(self, sums: _Sums) -> None:
        """Take over the memory of ``sums``."""
        self._counts = sums.counts
        self._means = sums.sums / sums.counts[:, None]
        covariance, size = sums.products, len(sums.products)
        total = float(sums.counts.sum())
        overall = float(np.trace(covariance)) / total / size
        for start in range(0, size, _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            covariance[part] -= sums.sums[:, part].T @ self._means
        covariance /= total
        self._variance = _mean_variance(float(np.trace(covariance)) / size, overall)
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


class _Products:
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
        self._variance = _mean_variance(within, overall)

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


def _mean_variance(within: float, overall: float) -> float:
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


def _with_sums(
    samples: Samples, origin: Doubles, settings: LdaSettings
) -> tuple[Callable[[], _Model], list[_Fold]]:
    labels = int(samples.labels.max()) + 1
    whole = _Sums.of(samples, origin, labels, settings.blocks)
    folds = []
    for rows in _held_out(samples, settings):
        chosen = np.zeros(len(samples), np.bool_)
        chosen[rows] = True
        held_out = samples.subset(chosen)
        rest = whole.without(_Sums.of(held_out, origin, labels, settings.blocks))
        vectors = held_out.gathered() - origin.astype(np.float32)
        folds.append(_Fold(_Covariance(rest), vectors, held_out.labels))
    return lambda: _Covariance(whole), folds


def _with_products(
    samples: Samples, origin: Doubles, settings: LdaSettings
) -> tuple[Callable[[], _Model], list[_Fold]]:
    order = np.argsort(samples.labels, kind="stable")
    rows = order if samples.rows is None else samples.rows[order]
    vectors, labels = samples.vectors[rows], samples.labels[order]
    vectors -= origin.astype(np.float32)
    groups = None if samples.groups is None else samples.groups[order]
    products = vectors @ vectors.T
    folds = []
    for rows in _held_out(Samples(vectors, labels, groups=groups), settings):
        kept = np.delete(np.arange(len(labels)), rows)
        model = _Products(vectors, products[np.ix_(kept, kept)], labels[kept])
        folds.append(_Fold(model, products[np.ix_(rows, kept)], labels[rows]))
    return lambda: _Products(vectors, products, labels), folds


def _losses(
    folds: Sequence[_Fold], shrinkage: float | None
) -> tuple[dict[float, float], dict[float, float]]:
    """Return the cross entropy of strengths on the held-out rows, and their temperatures.

    From the middle of `SHRINKAGES` the search goes on in a direction as long as the cross entropy
    falls; ``shrinkage`` is the only one tried where it is given.
    """
    labels = np.concatenate([fold.labels for fold in folds])
    losses: dict[float, float] = {}
    temperatures: dict[float, float] = {}

    def measure(tried: float) -> float:
        scores = []
        for model, factors, _ in folds:
            solved, at_origin = model.solve(tried, exact=False)
            scores.append(factors @ solved.astype(np.float32) + at_origin.astype(np.float32))
        temperatures[tried], losses[tried] = best_temperature(np.concatenate(scores), labels)
        return losses[tried]

    if shrinkage is not None:
        measure(shrinkage)
        return losses, temperatures
    for direction in (SHRINKAGES[_MIDDLE + 1 :], SHRINKAGES[_MIDDLE - 1 :: -1]):
        lowest = losses[SHRINKAGES[_MIDDLE]] if losses else measure(SHRINKAGES[_MIDDLE])
        for tried in direction:
            if measure(tried) >= lowest:
                break
            lowest = losses[tried]
        if len(losses) > 2:  # it fell in this direction, so it does not in the other
            break
    return losses, temperatures


def best_temperature(scores: Floats, labels: Indices) -> tuple[float, float]:
    """Return the temperature with the lowest cross entropy, and that cross entropy in nats.

    The true label counts as (N + 1) / (N + 2) and the others share the rest, so that rows that are
    all right do not ask for certainty (J. Platt, Probabilistic Outputs for Support Vector
    Machines, 1999). Rows that are nearly all wrong, as where each label has one or two images to
    learn from, do not ask for equal probabilities either: the order of scores is kept.

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
    width = float((highest[:, 0] - scores.min(axis=1)).mean(dtype=np.float64))
    loss = float(np.log(label_count))
    if width <= 0:  # all labels have the same score
        return 1.0, loss
    spread = float((highest[:, 0] - true).mean(dtype=np.float64))
    low, high = _LEAST_WIDTH / width, np.inf
    factor = max(1.0 / max(spread, 1e-30), low * 1.01)
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
