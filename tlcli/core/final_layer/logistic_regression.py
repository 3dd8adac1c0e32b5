"""The final layer as the optimum of regularised multinomial logistic regression.

Nothing is drawn at random: the same vectors give the same layer. The vectors are centred and
divided by one number, so that the strength means the same for every backbone, and both are
folded back into weights and biases. Dividing each feature by its own deviation instead, or each
vector by its length, was measured and is no better; see docs/accuracy.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tlcli.core.final_layer.centred_vectors import Features, mean_vector
from tlcli.core.final_layer.lbfgs import (
    dot,
    inner_product,
    label_scores,
    minimise_lbfgs,
    norm,
    product,
)
from tlcli.core.final_layer.samples import Floats, Indices, Samples
from tlcli.core.final_layer.sampling import philox
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError

LOG = logging.getLogger("tlcli")
Doubles = npt.NDArray[np.float64]

# Strengths tried, strongest first, relative to the mean squared length of a centred vector:
# the best of every data set measured lies well inside.
STRENGTHS = tuple(float(10.0 ** (-exponent / 2)) for exponent in range(4, 13))
# The validation loss has passed its lowest point when it rose this often in a row.
_PATIENCE = 2
# Fewer validation images than this say too little; folds of the training images are used.
FEWEST_VALIDATION_IMAGES = 40
_INNER_FOLDS = 5
# Axes of the largest variance that the first guess of the Hessian knows.
_MAIN_AXES = 24
_AXES_ROUNDS = 2
_AXES_STREAM = 3
# Norm of the gradient at which a fit ends, relative to the norm at zero weights.
_PATH_TOLERANCE = 1e-2
_FINAL_TOLERANCE = 3e-4
# Features that say nothing have a norm of rounding only; lengths are 1 here, real norms 0.1 to 1.
_LEAST_NORM = 1e-2
# Rotating the features pays when the images are this few and fewer than half the features.
_MOST_ROTATED_IMAGES = 1200
# Folds that held out this many rows in all say enough about a strength.
_ENOUGH_HELD_OUT = 10_000


@dataclass(frozen=True)
class LogisticRegression:
    """A fitted layer and how its strength was found.

    Attributes:
        layer: the final layer.
        strength: weight of the squared norm, relative to the mean squared length of a vector.
        selection: "validation", "folds" (of the training images) or "fixed".
        losses: {strength: mean cross entropy in nats} of the strengths tried.
        iterations: gradients computed, over all strengths.
    """

    layer: FinalLayer
    strength: float
    selection: str
    losses: dict[float, float]
    iterations: int


def fit_lbfgs(
    training: Samples,
    label_count: int,
    *,
    validation: Samples | None = None,
    strength: float | None = None,
) -> LogisticRegression:
    """Fit a final layer to its regularised optimum.

    Args:
        training: at least one row.
        label_count: L; a label without training rows gets a probability of almost 0.
        validation: rows on which the strength is chosen; when they are few or none, folds of
            the training rows take their place.
        strength: use this one instead of choosing.

    Raises:
        DataError: no training rows.
    """
    if not len(training):
        raise DataError("there is no training image; add images to the labels' folders")
    # A large finite vector may overflow when squared; the sum tells, in _Problem.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        return _fit(training, label_count, validation, strength)


def _fit(
    training: Samples, label_count: int, validation: Samples | None, strength: float | None
) -> LogisticRegression:
    losses: dict[float, float] = {}
    selection, iterations = "fixed", 0
    problem = _Problem(training, label_count)
    if strength is None and validation is not None and _is_enough(validation, label_count):
        selection = "validation"
        losses, point, iterations = _follow_path(problem, validation)
        strength = min(losses, key=losses.__getitem__)
    elif strength is None:
        selection = "folds"
        losses, iterations = _fold_losses(training, label_count)
        strength = min(losses, key=losses.__getitem__) if losses else STRENGTHS[len(STRENGTHS) // 2]
        point = None
    else:
        point = None
    point, used = problem.minimise(strength, point, _FINAL_TOLERANCE)
    LOG.debug("strength %.3g by %s, %d gradients", strength, selection, iterations + used)
    return LogisticRegression(problem.layer(point), strength, selection, losses, iterations + used)


def _is_enough(validation: Samples, label_count: int) -> bool:
    return len(validation) >= max(FEWEST_VALIDATION_IMAGES, 2 * label_count)


def _follow_path(
    problem: _Problem, validation: Samples
) -> tuple[dict[float, float], Doubles | None, int]:
    """Fit strength after strength, each from the one before; return losses and the best point."""
    losses: dict[float, float] = {}
    point: Doubles | None = None
    best_point: Doubles | None = None
    lowest, rises, iterations = np.inf, 0, 0
    held_out = problem.project(validation)
    for strength in STRENGTHS:
        point, used = problem.minimise(strength, point, _PATH_TOLERANCE)
        iterations += used
        losses[strength] = loss = problem.loss(point, held_out)
        if loss < lowest:
            lowest, best_point, rises = loss, point, 0
        else:
            rises += 1
        if rises == _PATIENCE:
            break
    return losses, best_point, iterations


def _fold_losses(training: Samples, label_count: int) -> tuple[dict[float, float], int]:
    """Return the mean loss of each strength over stratified folds of the training rows."""
    folds = _folds(training.labels)
    total: dict[float, float] = {}
    held_out_rows, iterations = 0, 0
    for fold in range(_INNER_FOLDS):
        held_out = folds == fold
        count = int(held_out.sum())
        if not count:
            continue
        rest, kept = training.subset(~held_out), training.subset(held_out)
        problem = _Problem(rest, label_count)
        projected = problem.project(kept)
        point: Doubles | None = None
        for strength in STRENGTHS:
            point, used = problem.minimise(strength, point, _PATH_TOLERANCE)
            iterations += used
            total[strength] = total.get(strength, 0.0) + count * problem.loss(point, projected)
        held_out_rows += count
        if held_out_rows >= _ENOUGH_HELD_OUT:
            break
    return {strength: loss / held_out_rows for strength, loss in total.items()}, iterations


def _folds(labels: Indices) -> Indices:
    """Give each row a fold, 0 to 4, labels spread evenly; -1 where a label has one row only."""
    folds = np.full(len(labels), -1, np.intp)
    offset = 0
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < 2:
            continue
        folds[rows] = (np.arange(len(rows)) + offset) % _INNER_FOLDS
        offset += len(rows)
    return folds


class _Problem:
    """Mean cross entropy plus strength / 2 times the squared weights, over normalised vectors.

    A point is float64 [L, R + 1]: weights over R (rotated) features, then the bias.
    """

    def __init__(self, training: Samples, label_count: int) -> None:
        self._label_count = label_count
        # Labels without rows would push their bias towards minus infinity, for ever.
        self._present, self._labels = np.unique(training.labels, return_inverse=True)
        self._mean = mean_vector(training)
        self._features = Features(training, self._mean)
        length = self._features.length()
        if not np.isfinite(length):
            raise DataError("the bottleneck vectors are too large to fit a final layer to")
        self._scale = 1 / length if length > 0 else 1.0
        self._features.multiply(self._scale)
        self._rotation: Floats | None = None
        count, size = len(training), training.size
        centred = self._features.whole
        if centred is not None and 2 * count <= size and count <= _MOST_ROTATED_IMAGES:
            self._features.replace(self._rotate(centred))
        self._zero_norm = 0.0
        self._axes, self._variances = _main_axes(self._features)

    def _rotate(self, centred: Floats) -> Floats:
        """Turn N vectors into the space that they span: the optimum lies in it."""
        gram = centred.astype(np.float64) @ centred.T.astype(np.float64)
        values, axes = np.linalg.eigh(gram)
        kept = values > values[-1] * 1e-9
        if not kept.any():
            return np.zeros((len(centred), 1), np.float32)
        lengths = np.sqrt(values[kept])
        self._rotation = (centred.T @ (axes[:, kept] / lengths)).astype(np.float32)
        rotated: Floats = (axes[:, kept] * lengths).astype(np.float32)
        return rotated

    def project(self, samples: Samples) -> tuple[Features, Indices]:
        """Return rows as this problem sees vectors, and their labels."""
        features = Features(samples, self._mean)
        features.multiply(self._scale)
        whole = features.whole
        if whole is not None:
            if self._rotation is not None:
                whole = whole @ self._rotation
            features.replace(whole[:, : self._features.size])
        return features, samples.labels

    def loss(self, point: Doubles, projected: tuple[Features, Indices]) -> float:
        """Return the mean cross entropy of projected rows; rows of absent labels do not count."""
        features, labels = projected
        where = np.searchsorted(self._present, labels)
        where = np.minimum(where, len(self._present) - 1)
        known = self._present[where] == labels
        if not known.any():
            return 0.0
        scores = self._scores(point, features)[:, known]
        return float(_losses(scores, where[known]).mean(dtype=np.float64))

    def _scores(self, point: Doubles, features: Features) -> Floats:
        result = np.empty((len(point), len(features)), np.float32)
        weights = point[:, :-1].astype(np.float32)
        for place, block in features.blocks():
            result[:, place] = label_scores(weights, block)
        result += point[:, -1:].astype(np.float32)
        return result

    def value_and_gradient(self, point: Doubles, strength: float) -> tuple[float, Doubles]:
        """Return the objective and its gradient, shaped like ``point``."""
        weights, plain = point[:, :-1], point[:, :-1].astype(np.float32)
        gradient = np.zeros_like(point)
        total = 0.0
        # Both products at once, so that a block is made once.
        for place, block in self._features.blocks():
            scores = label_scores(plain, block)
            scores += point[:, -1:].astype(np.float32)
            labels = self._labels[place]
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
        gradient[:, :-1] += strength * weights
        value = total / len(self._labels) + strength / 2 * dot(weights, weights)
        return value, gradient

    def minimise(
        self, strength: float, start: Doubles | None, tolerance: float
    ) -> tuple[Doubles, int]:
        """Return the optimum from ``start`` and the number of gradients that it took."""
        shape = (len(self._present), self._features.size + 1)
        zero = np.zeros(shape)
        # At zero weights and the labels' own shares: the scale that gradients are judged by.
        zero[:, -1] = np.log(np.bincount(self._labels, minlength=shape[0]) / len(self._labels))
        if self._zero_norm == 0.0:
            self._zero_norm = norm(self.value_and_gradient(zero, 0.0)[1])
        start = zero if start is None else start
        return minimise_lbfgs(
            lambda point: self.value_and_gradient(point, strength),
            start,
            tolerance * max(self._zero_norm, _LEAST_NORM),
            self._inverse_curvature(start, strength),
        )

    def _inverse_curvature(self, start: Doubles, strength: float) -> Callable[[Doubles], Doubles]:
        """Return a rough inverse Hessian: exact in shape along the main axes, flat elsewhere."""
        scores = self._scores(start, self._features)
        scores -= scores.max(axis=0)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=0)
        # Of each label, [L, 1]: the more certain, the flatter.
        spread = (scores * (1 - scores)).mean(axis=1, keepdims=True, dtype=np.float64)
        curvatures = spread * self._variances + strength
        # Below the last axis known, variances fall on; half of it stands for all of them.
        flat = 0.5 * spread * float(self._variances[-1]) + strength
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
        """Return the layer over plain vectors that a point stands for."""
        weights = point[:, :-1]
        if self._rotation is not None:
            weights = weights @ self._rotation.T.astype(np.float64)
        elif weights.shape[1] != len(self._mean):
            weights = np.zeros((len(weights), len(self._mean)))
        weights = weights * self._scale
        biases = point[:, -1] - weights @ self._mean
        all_weights = np.zeros((len(self._mean), self._label_count), np.float32)
        all_weights[:, self._present] = weights.T
        # 30 nats below the lowest of the others at the mean vector: a share of 1e-13.
        all_biases = np.full(self._label_count, float(point[:, -1].min()) - 30, np.float32)
        all_biases[self._present] = biases
        return FinalLayer(all_weights, all_biases)


def _main_axes(features: Features) -> tuple[Doubles, Doubles]:
    """Return the axes [R, k] along which rows vary most, and the mean squares [k], falling."""
    count, size = len(features), features.size
    kept = min(_MAIN_AXES, count, size)
    # Any start that is not orthogonal to the axes will do; this one is the same each time.
    axes = np.random.Generator(philox(0, _AXES_STREAM, 0)).standard_normal((size, kept))
    for _ in range(_AXES_ROUNDS):
        plain, turned = axes.astype(np.float32), np.zeros((size, kept))
        for _, block in features.blocks():
            turned += block.T @ (block @ plain)
        axes = np.linalg.qr(turned)[0]
    plain, squares = axes.astype(np.float32), np.zeros((kept, kept))
    for _, block in features.blocks():
        seen = (block @ plain).astype(np.float64)
        squares += seen.T @ seen
    variances, turn = np.linalg.eigh(squares / count)
    return axes @ turn[:, ::-1], np.maximum(variances[::-1], 0.0)


def _losses(scores: Floats, labels: Indices) -> Floats:
    shifted = scores - scores.max(axis=0)
    losses: Floats = np.log(np.exp(shifted).sum(axis=0)) - shifted[labels, np.arange(len(labels))]
    return losses
