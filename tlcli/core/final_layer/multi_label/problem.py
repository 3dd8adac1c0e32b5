"""Logistic regression with L2 regularisation for each label on its own, all labels at once.

The vectors are centred and divided by one number as in `final_layer.logistic_regression`, so that a
strength means the same in both. Labels share the products with the vectors and the axes
of the estimated Hessian; the objective is a sum of one term per label, each divided by the variance
of that label's marks, so that the search ends equally close to the minimum for rare labels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tlcli.arrays import Doubles, Floats
from tlcli.core.final_layer.centred_vectors import (
    BlockLimits,
    CentredVectors,
    mean_vector,
    rotated,
    scores_of,
)
from tlcli.core.final_layer.lbfgs import (
    inner_product,
    label_scores,
    minimise_lbfgs,
    norm,
    product,
)
from tlcli.core.final_layer.logistic_regression import main_axes
from tlcli.core.final_layer.multi_label.marked import Bools, MarkedSamples
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer, sigmoid
from tlcli.errors import DataError

# Rows are rotated into the space that they span up to so many, where that is half of D at most.
_MOST_ROTATED = 1200
# Norm of the gradient of rounding only.
_LEAST_NORM = 1e-2


class SigmoidProblem:
    """Mean cross entropy of each label plus half the strength times its squared weights.

    A point is float64 [P, R + 1]: weights over R (rotated) values, then the bias, of the P labels
    that some rows have and some have not.

    Args:
        training: at least one row.
        balanced: rows with a label and rows without it count the same in sum.

    Raises:
        DataError: vectors too large to square.
    """

    def __init__(self, training: MarkedSamples, balanced: bool = False) -> None:
        count = len(training)
        self._positives = training.marks.sum(axis=0)
        self._present = np.flatnonzero((self._positives > 0) & (self._positives < count))
        self._marks = np.ascontiguousarray(training.marks[:, self._present].T)
        shares = self._positives[self._present] / count
        # What a row with the label, and one without it, counts: [P, 1].
        self._with = np.ones((len(shares), 1), np.float32)
        self._without = self._with.copy()
        if balanced:
            self._with[:, 0] = 0.5 / shares
            self._without[:, 0] = 0.5 / (1 - shares)
            shares = np.full(len(shares), 0.5)
        self._shares = shares
        self._variances = (shares * (1 - shares))[:, None]
        self._limits = BlockLimits()
        self._mean = mean_vector(training.samples, self._limits)
        self._vectors = CentredVectors(training.samples, self._mean, self._limits)
        length = self._vectors.length()
        if not np.isfinite(length):
            raise DataError("the bottleneck vectors are too large to fit a final layer to")
        self._scale = 1 / length if length > 0 else 1.0
        self._vectors.multiply(self._scale)
        self._rotation: Floats | None = None
        centred = self._vectors.whole
        if centred is not None and 2 * count <= training.samples.size and count <= _MOST_ROTATED:
            self._vectors.whole, self._rotation = rotated(centred)
        self._axes, self._axis_variances = main_axes(self._vectors)
        self._zero_norm = 0.0

    def minimise(
        self, l2_strength: float, start: Doubles | None, tolerance: float
    ) -> tuple[Doubles, int]:
        """Return the minimum, searched from ``start``, and the gradients that it took."""
        zero = np.zeros((len(self._present), self._vectors.size + 1))
        if not len(zero):
            return zero, 0
        zero[:, -1] = np.log(self._shares / (1 - self._shares))
        if self._zero_norm == 0.0:
            self._zero_norm = norm(self._value_and_gradient(zero, 0.0)[1])
        start = zero if start is None else start
        return minimise_lbfgs(
            lambda point: self._value_and_gradient(point, l2_strength),
            start,
            tolerance * max(self._zero_norm, _LEAST_NORM),
            self._inverse_curvature(start, l2_strength),
        )

    def logits(self, point: Doubles, samples: Samples) -> Floats:
        """Return the logits of rows at a point, float32 [n, L]."""
        vectors = CentredVectors(samples, self._mean, self._limits)
        vectors.multiply(self._scale)
        if self._rotation is not None:
            vectors.rotate(self._rotation)
        found = np.tile(self._constant_logits(), (len(samples), 1))
        for part, scores in scores_of(point, vectors):
            found[part, self._present] = scores.T
        return found

    def layer(self, point: Doubles) -> FinalLayer:
        """Return the layer over plain vectors at a point."""
        weights = point[:, :-1]
        if self._rotation is not None:
            weights = weights @ self._rotation.T.astype(np.float64)
        weights = weights * self._scale
        all_weights = np.zeros((len(self._mean), len(self._positives)), np.float32)
        all_weights[:, self._present] = weights.T
        biases = self._constant_logits()
        biases[self._present] = point[:, -1] - weights @ self._mean
        return FinalLayer(all_weights, biases, "sigmoid")

    def _constant_logits(self) -> Floats:
        """Return the logits of labels that all rows have, or none, by Laplace's rule; [L]."""
        with_label = self._positives + 1.0
        found: Floats = np.log(with_label / (len(self._vectors) + 2 - with_label))
        return found.astype(np.float32)

    def _value_and_gradient(self, point: Doubles, l2_strength: float) -> tuple[float, Doubles]:
        weights, plain = point[:, :-1], point[:, :-1].astype(np.float32)
        gradient, losses = np.zeros_like(point), np.zeros(len(point))
        # Both products at once, so that a block is made once.
        for part, block in self._vectors.blocks():
            scores = label_scores(plain, block)
            scores += point[:, -1:].astype(np.float32)
            marks = self._marks[:, part]
            counts = np.where(marks, self._with, self._without)
            losses += (counts * mark_losses(scores, marks)).sum(axis=1, dtype=np.float64)
            residuals = counts * (sigmoid(scores) - marks)
            gradient[:, :-1] += inner_product(residuals, block)
            gradient[:, -1] += residuals.sum(axis=1, dtype=np.float64)
        rows = len(self._vectors)
        gradient /= rows
        gradient[:, :-1] += l2_strength * weights
        values = losses / rows + l2_strength / 2 * np.einsum("ij,ij->i", weights, weights)
        return float((values / self._variances[:, 0]).sum()), gradient / self._variances

    def _inverse_curvature(
        self, start: Doubles, l2_strength: float
    ) -> Callable[[Doubles], Doubles]:
        """Return a rough inverse Hessian: exact in shape along the main axes, flat elsewhere."""
        spread = np.zeros((len(start), 1))
        for part, scores in scores_of(start, self._vectors):
            given = sigmoid(scores)
            counts = np.where(self._marks[:, part], self._with, self._without)
            spread += (counts * given * (1 - given)).sum(axis=1, keepdims=True, dtype=np.float64)
        spread = np.maximum(spread / len(self._vectors), 1e-12)
        curvatures = spread * self._axis_variances + l2_strength
        flat = 0.5 * spread * float(self._axis_variances[-1]) + l2_strength
        factors = 1 / curvatures - 1 / flat

        def apply(gradient: Doubles) -> Doubles:
            weights = gradient[:, :-1]
            result = np.empty_like(gradient)
            along_axes = product(product(weights, self._axes) * factors, self._axes.T)
            result[:, :-1] = weights / flat + along_axes
            result[:, -1:] = gradient[:, -1:] / spread
            result *= self._variances
            return result

        return apply


def mark_losses(logits: Floats, marks: Bools) -> Floats:
    """Return the cross entropy of each mark in nats, float32 of the shape of both."""
    signed = np.where(marks, -logits, logits)
    found: Floats = np.maximum(signed, 0) + np.log1p(np.exp(-np.abs(signed)))
    return found
