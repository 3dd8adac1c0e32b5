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
from tlcli.core.calibration.temperature import best_temperature
from tlcli.core.final_layer.centred_vectors import BlockLimits, mean_vector, row_blocks
from tlcli.core.final_layer.discriminant.products import RowProducts, products_of_rows
from tlcli.core.final_layer.discriminant.sums import Covariance, LabelSums
from tlcli.core.final_layer.positive_definite import product_in_parts, row_parts
from tlcli.core.final_layer.samples import INNER_FOLDS, Samples, held_out_rows
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError
from tlcli.runtime.blas_threads import in_parallel, one_blas_thread

LOG = logging.getLogger("tlcli")

SHRINKAGES = (0.9, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003)
"""Strengths that may be chosen, strongest first: 1 leaves the mean variance alone."""

# Where the search begins, and what is used where no row can be held out.
_MIDDLE = SHRINKAGES.index(0.1)
# A label without rows stays this far, in nats, below the lowest of the others at the mean vector.
_ABSENT = 30.0
# Rows that tell where the vectors lie; sums around that point keep their digits.
_ROWS_OF_ORIGIN = 1024
# Zero serves as origin where the mean's squared length is no more than this part of the vectors'.
_AMID = 0.01
# Products that are copied at once, which stay in the processor's caches.
_PRODUCTS_AT_ONCE = 1 << 18
# Held-out rows of a label, where labels are so many that their number decides.
_HELD_OUT_PER_LABEL = 4


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


_Maker = Callable[[Samples, Doubles, LdaSettings, int], tuple[Callable[[], _Model], list[_Fold]]]


# Large finite vectors may overflow when squared; the sums are checked. Other threads ask for one
# BLAS thread at times, which would change the bits of what follows.
@one_blas_thread()
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
    samples = training.with_labels(labels)
    origin = _origin(samples, settings.blocks)
    model_of_all, folds = _maker(samples, settings)(samples, origin, settings, INNER_FOLDS)
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


@one_blas_thread()
@np.errstate(over="ignore", invalid="ignore")
def held_out_scores(
    training: Samples,
    label_count: int,
    analysis: DiscriminantAnalysis,
    folds: int,
    settings: LdaSettings = LdaSettings(),
) -> tuple[Floats, Indices] | None:
    """Return scores of rows by analyses of the other rows, with the strengths of a fitted one.

    Args:
        training: at least one row.
        label_count: L.
        analysis: of all rows.
        folds: into how many the rows are divided.
        settings: limits of time and memory; ``enough_held_out`` rows are scored.

    Returns:
        Scores [H, L], divided by the temperature of the analysis, and labels [H]; None where no
        row can be held out.
    """
    present, labels = np.unique(training.labels, return_inverse=True)
    samples = training.with_labels(labels)
    make = _maker(samples, settings)
    _, found = make(samples, _origin(samples, settings.blocks), settings, folds)
    if not found:
        return None
    known = [_scores(fold, analysis.shrinkage) for fold in found]
    scores = np.concatenate(known) / np.float32(analysis.temperature)
    if len(present) < label_count:
        lowest = scores.min(axis=1, keepdims=True) - np.float32(_ABSENT)
        whole = np.repeat(lowest, label_count, axis=1)
        whole[:, present] = scores
        scores = whole
    return scores, present[np.concatenate([fold.labels for fold in found])]


def _maker(samples: Samples, settings: LdaSettings) -> _Maker:
    use_products = len(samples) <= min(samples.size, settings.most_products)
    return _with_products if use_products else _with_sums


def _origin(samples: Samples, blocks: BlockLimits) -> Doubles:
    """Return a point amid the vectors, [D], representable in float32; zero where that is amid."""
    rows = np.linspace(0, len(samples) - 1, min(len(samples), _ROWS_OF_ORIGIN)).astype(np.intp)
    some = samples.at(rows)
    squared = 0.0
    for _, block in row_blocks(some, blocks.block_bytes):
        squared += float(np.einsum("nd,nd->n", block, block).sum(dtype=np.float64))
    mean = mean_vector(some, blocks).astype(np.float32).astype(np.float64)
    if mean @ mean <= _AMID * squared / len(rows):
        return np.zeros(samples.size)
    return mean


def _held_out(samples: Samples, settings: LdaSettings, count: int) -> list[Indices]:
    """Return the rows to hold out, fold by fold."""
    labels = int(samples.labels.max()) + 1
    enough = max(settings.enough_held_out, _HELD_OUT_PER_LABEL * labels)
    if samples.groups is not None:  # as many groups as there would be single rows
        enough = enough * len(samples) // len(np.unique(samples.groups))
    enough = min(enough, settings.most_scores // labels + 1)
    return held_out_rows(samples.labels, samples.groups, enough, count)


def _with_sums(
    samples: Samples, origin: Doubles, settings: LdaSettings, count: int
) -> tuple[Callable[[], _Model], list[_Fold]]:
    labels = int(samples.labels.max()) + 1
    whole = LabelSums.of(samples, origin, labels, settings.blocks)
    folds = []
    for rows in _held_out(samples, settings, count):
        chosen = np.zeros(len(samples), np.bool_)
        chosen[rows] = True
        held_out = samples.subset(chosen)
        rest = whole.without(LabelSums.of(held_out, origin, labels, settings.blocks))
        vectors = held_out.gathered() - origin.astype(np.float32)
        folds.append(_Fold(Covariance(rest), vectors, held_out.labels))
    return lambda: Covariance(whole), folds


def _with_products(
    samples: Samples, origin: Doubles, settings: LdaSettings, count: int
) -> tuple[Callable[[], _Model], list[_Fold]]:
    if (np.diff(samples.labels) < 0).any():
        samples = samples.at(np.argsort(samples.labels, kind="stable"))
    vectors, labels, groups = samples.gathered(), samples.labels, samples.groups
    if origin.any():
        vectors = vectors - origin.astype(np.float32)
    products = products_of_rows(vectors)
    folds = []
    for rows in _held_out(Samples(vectors, labels, groups=groups), settings, count):
        kept = np.delete(np.arange(len(labels)), rows)
        model = RowProducts(vectors, _taken(products, kept, kept), labels[kept])
        folds.append(_Fold(model, _taken(products, rows, kept), labels[rows]))
    return lambda: RowProducts(vectors, products, labels), folds


def _taken(products: Floats, rows: Indices, columns: Indices) -> Floats:
    """Return ``products`` [N, N] of some rows and columns, in memory of its own."""
    found = np.empty((len(rows), len(columns)), np.float32)

    def take(part: slice) -> None:
        # mode="clip" lets NumPy write straight into the result.
        products[rows[part]].take(columns, 1, found[part], "clip")

    in_parallel(take, row_parts(len(rows), max(1, _PRODUCTS_AT_ONCE // len(products))))
    return found


def _scores(fold: _Fold, shrinkage: float) -> Floats:
    """Return the scores of the held-out rows, [H, L]."""
    solved, at_origin = fold.model.solve(shrinkage, exact=False)
    scores: Floats = product_in_parts(fold.factors, solved.astype(np.float32))
    scores += at_origin.astype(np.float32)
    return scores


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
        scores = [_scores(fold, tried) for fold in folds]
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
