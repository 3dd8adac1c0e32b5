"""The final layer by multinomial logistic regression with L2 regularisation, fitted by L-BFGS.

Nothing is drawn at random: the same vectors give the same layer. The vectors are centred and
divided by one number, so that an L2 regularisation strength means the same for every backbone.
Both are folded back into weights and biases. Dividing each value by its own deviation instead, or
each vector by its length, was measured and is no better; see docs/accuracy.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.final_layer.centred_vectors import (
    BlockLimits,
    CentredVectors,
    mean_vector,
    rotated,
    scores_of,
)
from tlcli.core.final_layer.lbfgs import (
    dot,
    inner_product,
    label_scores,
    minimise_lbfgs,
    norm,
    product,
)
from tlcli.core.final_layer.samples import INNER_FOLDS, Samples, inner_folds
from tlcli.core.final_layer.sampling import philox
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError
from tlcli.runtime.blas_threads import one_blas_thread

LOG = logging.getLogger("tlcli")

# L2 regularisation strengths tried, strongest first, relative to the mean squared length of a
# centred vector: the best of every data set measured lies well inside.
L2_STRENGTHS = tuple(float(10.0 ** (-exponent / 2)) for exponent in range(4, 13))
# The validation loss has passed its minimum when it rose this often in a row.
_RISES_AT_END = 2
# Fewer validation images than this are too few to choose by; folds of the training images are used.
FEWEST_VALIDATION_IMAGES = 40
# Axes of the largest variance that the first estimate of the Hessian covers.
_MAIN_AXES = 24
_AXES_ROUNDS = 2
_AXES_STREAM = 3
# Norm of the gradient at which a fit ends, relative to the norm at zero weights.
_PATH_TOLERANCE = 1e-2
_FINAL_TOLERANCE = 3e-4
# Vectors without information have a norm of rounding only; lengths are 1 here, real norms 0.1 to 1.
_LEAST_NORM = 1e-2


@dataclass(frozen=True)
class LbfgsSettings:
    """Limits that bound time and memory of a fit.

    Attributes:
        most_rotated_images: rotating the vectors pays up to so many images, where they are also at
            most half as many as the values of a vector.
        enough_held_out: no further fold is fitted once so many rows were held out.
        blocks: when vectors are centred block by block.
    """

    most_rotated_images: int = 1200
    enough_held_out: int = 10_000
    blocks: BlockLimits = field(default_factory=BlockLimits)


@dataclass(frozen=True)
class LogisticRegression:
    """A fitted layer and how its L2 regularisation strength was chosen.

    Attributes:
        layer: the final layer.
        l2_strength: weight of the squared norm, relative to the mean squared length of a vector.
        selection: "validation", "folds" (of the training images) or "fixed".
        losses: {strength: mean cross entropy in nats} of the strengths tried.
        iterations: gradients computed, over all strengths.
    """

    layer: FinalLayer
    l2_strength: float
    selection: str
    losses: dict[float, float]
    iterations: int


# A large finite vector may overflow when squared; _Problem checks the sum. Other threads ask for
# one BLAS thread at times, which would change the bits of what follows.
@one_blas_thread()
@np.errstate(over="ignore", invalid="ignore", under="ignore")
def fit_lbfgs(
    training: Samples,
    label_count: int,
    *,
    validation: Samples | None = None,
    l2_strength: float | None = None,
    settings: LbfgsSettings = LbfgsSettings(),
) -> LogisticRegression:
    """Fit a final layer by logistic regression.

    Args:
        training: at least one row.
        label_count: L; a label without training rows gets a probability of almost 0.
        validation: rows on which the strength is chosen; where they are few or none, folds of
            the training rows are used instead.
        l2_strength: use this one instead of choosing.
        settings: limits of time and memory.

    Raises:
        DataError: no training rows.
    """
    if not len(training):
        raise DataError("there is no training image; add images to the labels' folders")
    losses: dict[float, float] = {}
    selection, iterations = "fixed", 0
    problem = _Problem(training, label_count, settings)
    enough = max(FEWEST_VALIDATION_IMAGES, 2 * label_count)
    point: Doubles | None = None
    if l2_strength is None and validation is not None and len(validation) >= enough:
        selection = "validation"
        losses, point, iterations = _follow_path(problem, validation)
        l2_strength = min(losses, key=losses.__getitem__)
    elif l2_strength is None:
        selection = "folds"
        losses, iterations = _fold_losses(training, label_count, settings)
        l2_strength = (
            min(losses, key=losses.__getitem__) if losses else L2_STRENGTHS[len(L2_STRENGTHS) // 2]
        )
    point, used = problem.minimise(l2_strength, point, _FINAL_TOLERANCE)
    LOG.debug("L2 strength %.3g by %s, %d gradients", l2_strength, selection, iterations + used)
    return LogisticRegression(
        problem.layer(point), l2_strength, selection, losses, iterations + used
    )


def _follow_path(
    problem: _Problem, validation: Samples
) -> tuple[dict[float, float], Doubles | None, int]:
    """Fit one strength after the other, each from the last point.

    Returns the losses, the point of the lowest and the number of gradients.
    """
    losses: dict[float, float] = {}
    point: Doubles | None = None
    best_point: Doubles | None = None
    lowest, rises, iterations = np.inf, 0, 0
    held_out = problem.project(validation)
    for l2_strength in L2_STRENGTHS:
        point, used = problem.minimise(l2_strength, point, _PATH_TOLERANCE)
        iterations += used
        losses[l2_strength] = loss = problem.loss(point, held_out)
        if loss < lowest:
            lowest, best_point, rises = loss, point, 0
        else:
            rises += 1
        if rises == _RISES_AT_END:
            break
    return losses, best_point, iterations


def _fold_losses(
    training: Samples, label_count: int, settings: LbfgsSettings
) -> tuple[dict[float, float], int]:
    """Return the mean loss of each strength over stratified folds, and the number of gradients."""
    folds = inner_folds(training.labels, training.groups)
    total: dict[float, float] = {}
    held_out_rows, iterations = 0, 0
    for fold in range(INNER_FOLDS):
        held_out = folds == fold
        count = int(held_out.sum())
        if not count:
            continue
        problem = _Problem(training.subset(~held_out), label_count, settings)
        projected = problem.project(training.subset(held_out))
        point: Doubles | None = None
        for l2_strength in L2_STRENGTHS:
            point, used = problem.minimise(l2_strength, point, _PATH_TOLERANCE)
            iterations += used
            total[l2_strength] = total.get(l2_strength, 0.0) + count * problem.loss(
                point, projected
            )
        held_out_rows += count
        if held_out_rows >= settings.enough_held_out:
            break
    return {l2_strength: loss / held_out_rows for l2_strength, loss in total.items()}, iterations


class _Problem:
    """Mean cross entropy plus half the strength times the squared weights, over normalised vectors.

    A point is float64 [L, R + 1]: weights over R (rotated) values, then the bias.
    """

    def __init__(self, training: Samples, label_count: int, settings: LbfgsSettings) -> None:
        self._label_count = label_count
        # Labels without rows would push their bias towards minus infinity.
        self._present, self._labels = np.unique(training.labels, return_inverse=True)
        self._blocks = settings.blocks
        self._mean = mean_vector(training, self._blocks)
        self._vectors = CentredVectors(training, self._mean, self._blocks)
        length = self._vectors.length()
        if not np.isfinite(length):
            raise DataError("the bottleneck vectors are too large to fit a final layer to")
        self._scale = 1 / length if length > 0 else 1.0
        self._vectors.multiply(self._scale)
        self._rotation: Floats | None = None
        count, size = len(training), training.size
        centred = self._vectors.whole
        if centred is not None and 2 * count <= size and count <= settings.most_rotated_images:
            self._vectors.whole, self._rotation = rotated(centred)
        self._zero_norm = 0.0
        self._axes, self._variances = main_axes(self._vectors)

    def project(self, samples: Samples) -> tuple[CentredVectors, Indices]:
        """Return rows centred, scaled and rotated as the training rows are, and their labels."""
        vectors = CentredVectors(samples, self._mean, self._blocks)
        vectors.multiply(self._scale)
        if self._rotation is not None:
            vectors.rotate(self._rotation)
        return vectors, samples.labels

    def loss(self, point: Doubles, projected: tuple[CentredVectors, Indices]) -> float:
        """Return the mean cross entropy of projected rows; rows of absent labels do not count."""
        vectors, labels = projected
        where = np.searchsorted(self._present, labels)
        where = np.minimum(where, len(self._present) - 1)
        known = self._present[where] == labels
        if not known.any():
            return 0.0
        total = 0.0
        for part, scores in scores_of(point, vectors):
            own, right = scores[:, known[part]], where[part][known[part]]
            own = own - own.max(axis=0)
            losses = np.log(np.exp(own).sum(axis=0)) - own[right, np.arange(len(right))]
            total += float(losses.sum(dtype=np.float64))
        return total / int(np.count_nonzero(known))

    def value_and_gradient(self, point: Doubles, l2_strength: float) -> tuple[float, Doubles]:
        """Return the objective and its gradient, shaped like ``point``."""
        weights, plain = point[:, :-1], point[:, :-1].astype(np.float32)
        gradient = np.zeros_like(point)
        total = 0.0
        # Both products at once, so that a block is made once.
        for part, block in self._vectors.blocks():
            scores = label_scores(plain, block)
            scores += point[:, -1:].astype(np.float32)
            labels = self._labels[part]
            numbers = np.arange(len(labels))
            scores -= scores.max(axis=0)
            chosen = scores[labels, numbers]
            np.exp(scores, out=scores)
            sums = scores.sum(axis=0)
            total += float((np.log(sums) - chosen).sum(dtype=np.float64))
            scores /= sums
            scores[labels, numbers] -= 1
            gradient[:, :-1] += inner_product(scores, block)
            gradient[:, -1] += scores.sum(axis=1, dtype=np.float64)
        gradient /= len(self._labels)
        gradient[:, :-1] += l2_strength * weights
        value = total / len(self._labels) + l2_strength / 2 * dot(weights, weights)
        return value, gradient

    def minimise(
        self, l2_strength: float, start: Doubles | None, tolerance: float
    ) -> tuple[Doubles, int]:
        """Return the minimum, searched from ``start``, and the number of gradients that it took."""
        shape = (len(self._present), self._vectors.size + 1)
        zero = np.zeros(shape)
        # Zero weights and the proportions of the labels: the scale that gradients are judged by.
        zero[:, -1] = np.log(np.bincount(self._labels, minlength=shape[0]) / len(self._labels))
        if self._zero_norm == 0.0:
            self._zero_norm = norm(self.value_and_gradient(zero, 0.0)[1])
        start = zero if start is None else start
        return minimise_lbfgs(
            lambda point: self.value_and_gradient(point, l2_strength),
            start,
            tolerance * max(self._zero_norm, _LEAST_NORM),
            self._inverse_curvature(start, l2_strength),
        )

    def _inverse_curvature(
        self, start: Doubles, l2_strength: float
    ) -> Callable[[Doubles], Doubles]:
        """Return a rough inverse Hessian: exact in shape along the main axes, flat elsewhere."""
        # Of each label, [L, 1]: the more certain, the flatter.
        spread = np.zeros((len(start), 1))
        for _, scores in scores_of(start, self._vectors):
            scores -= scores.max(axis=0)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=0)
            spread += (scores * (1 - scores)).sum(axis=1, keepdims=True, dtype=np.float64)
        spread /= len(self._vectors)
        curvatures = spread * self._variances + l2_strength
        # Variances keep falling beyond the last known axis; half of its variance stands for them.
        flat = 0.5 * spread * float(self._variances[-1]) + l2_strength
        factors = 1 / curvatures - 1 / flat
        bias_factor = 1 / np.maximum(spread[:, 0], 1e-12)

        def apply(gradient: Doubles) -> Doubles:
            weights = gradient[:, :-1]
            result = np.empty_like(gradient)
            result[:, :-1] = weights / flat + product(
                product(weights, self._axes) * factors, self._axes.T
            )
            result[:, -1] = gradient[:, -1] * bias_factor
            return result

        return apply

    def layer(self, point: Doubles) -> FinalLayer:
        """Return the layer over plain vectors at a point."""
        weights = point[:, :-1]
        if self._rotation is not None:
            weights = weights @ self._rotation.T.astype(np.float64)
        weights = weights * self._scale
        biases = point[:, -1] - weights @ self._mean
        all_weights = np.zeros((len(self._mean), self._label_count), np.float32)
        all_weights[:, self._present] = weights.T
        # 30 nats below the lowest of the others at the mean vector: a probability of 1e-13.
        all_biases = np.full(self._label_count, float(point[:, -1].min()) - 30, np.float32)
        all_biases[self._present] = biases
        return FinalLayer(all_weights, all_biases)


def main_axes(vectors: CentredVectors) -> tuple[Doubles, Doubles]:
    """Return the axes [R, k] along which rows vary most, and the mean squares [k], falling."""
    count, size = len(vectors), vectors.size
    axis_count = min(_MAIN_AXES, count, size)
    # Any start that is not orthogonal to the axes will do; this one is the same each time.
    axes = np.random.Generator(philox(0, _AXES_STREAM, 0)).standard_normal((size, axis_count))
    for _ in range(_AXES_ROUNDS):
        plain, turned = axes.astype(np.float32), np.zeros((size, axis_count))
        for _, block in vectors.blocks():
            turned += block.T @ (block @ plain)
        axes = np.linalg.qr(turned)[0]
    plain, squares = axes.astype(np.float32), np.zeros((axis_count, axis_count))
    for _, block in vectors.blocks():
        along_axes = (block @ plain).astype(np.float64)
        squares += along_axes.T @ along_axes
    variances, turn = np.linalg.eigh(squares / count)
    return axes @ turn[:, ::-1], np.maximum(variances[::-1], 0.0)
