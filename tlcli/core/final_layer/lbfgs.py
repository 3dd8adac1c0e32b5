"""L-BFGS and its matrix products, small enough for one thread where labels are few.

OpenBLAS gives larger products to all cores; on a busy machine its threads then wait for each
other longer than they work, and the bits of the result depend on their number. Products of many
labels are cut into larger parts, for threads of our own.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Doubles, Floats
from tlcli.core.final_layer.batch import SINGLE_THREAD_WORK
from tlcli.core.final_layer.positive_definite import product_in_parts

LOG = logging.getLogger("tlcli")
# Of thinner pieces (many labels) the calls cost more than threads do.
_FEWEST_ROWS = 8
_HISTORY = 10


def product(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return left @ right, cut into rows of ``left`` that one thread takes if that pays."""
    rows = SINGLE_THREAD_WORK // max(right.size, 1)
    if rows < _FEWEST_ROWS:
        return product_in_parts(left, right)
    result = np.empty((len(left), right.shape[1]), np.result_type(left, right))
    for start in range(0, len(left), rows):
        np.matmul(left[start : start + rows], right, out=result[start : start + rows])
    return result


def label_scores(weights: Floats, vectors: Floats) -> Floats:
    """Return weights [L, R] @ vectors.T [R, N], contiguous, cut as `product` is."""
    result = np.empty((len(weights), len(vectors)), np.float32)
    rows = SINGLE_THREAD_WORK // max(weights.size, 1)
    if rows < _FEWEST_ROWS:
        np.copyto(result, product_in_parts(vectors, weights.T).T)
        return result
    for start in range(0, len(vectors), rows):
        part = slice(start, start + rows)
        np.matmul(weights, vectors[part].T, out=result[:, part])
    return result


def inner_product(left: Floats, right: Floats) -> Floats:
    """Return left [L, N] @ right [N, R], cut into parts of N that one thread takes if that pays."""
    rows = SINGLE_THREAD_WORK // max(len(left) * right.shape[1], 1)
    if rows < _FEWEST_ROWS:
        return product_in_parts(left, right)
    total = np.zeros((len(left), right.shape[1]), np.float32)
    part = np.empty_like(total)
    for start in range(0, len(right), rows):
        np.matmul(left[:, start : start + rows], right[start : start + rows], out=part)
        total += part
    return total


def dot(one: Doubles, other: Doubles) -> float:
    """Return the sum of products; np.vdot would wake threads for ten thousand numbers."""
    return float(np.einsum("ij,ij->", one, other))


def norm(values: Doubles) -> float:
    """Return the root of the sum of squares."""
    return math.sqrt(dot(values, values))


def lbfgs_bytes(labels: int, values: int) -> int:
    """Return the memory that a search takes for weights of L labels and D values, in bytes.

    That is its history, twice, the point and the gradient before and after a step.
    """
    return 8 * labels * (values + 1) * (2 * _HISTORY + 4)


def minimise_lbfgs(
    function: Callable[[Doubles], tuple[float, Doubles]],
    start: Doubles,
    smallest_gradient: float,
    inverse: Callable[[Doubles], Doubles],
    most_iterations: int = 300,
) -> tuple[Doubles, int]:
    """Return the minimum of a smooth convex function and how often it was evaluated.

    L-BFGS with backtracking. It ends when the gradient's norm is below ``smallest_gradient``, when
    no step lowers the value any more (rounding), or after ``most_iterations`` steps.

    Args:
        function: returns the value and the gradient at a point.
        start: first point.
        smallest_gradient: norm at which the search ends.
        inverse: returns a rough inverse Hessian times a gradient.
        most_iterations: at most so many steps.
    """
    point = start
    value, gradient = function(point)
    evaluations = 1
    steps: list[Doubles] = []
    changes: list[Doubles] = []
    for _ in range(most_iterations):
        if norm(gradient) <= smallest_gradient:
            break
        direction = -_two_loops(gradient, steps, changes, inverse)
        descent = dot(direction, gradient)
        if descent >= 0:
            steps, changes = [], []
            direction, descent = -gradient, -dot(gradient, gradient)
        length = 1.0
        for _ in range(30):
            candidate = point + length * direction
            new_value, new_gradient = function(candidate)
            evaluations += 1
            if new_value <= value + 1e-4 * length * descent:
                break
            # The minimum of the parabola through both values and the gradient, within bounds.
            rise = new_value - value - length * descent
            length *= min(0.5, max(0.1, -length * descent / (2 * rise))) if rise > 0 else 0.5
        else:
            break
        step, change = candidate - point, new_gradient - gradient
        point, value, gradient = candidate, new_value, new_gradient
        if dot(step, change) > 1e-12 * dot(change, change):
            steps.append(step)
            changes.append(change)
            del steps[:-_HISTORY], changes[:-_HISTORY]
    else:
        LOG.debug(
            "L-BFGS did not converge in %d steps: gradient norm %.3g, tolerance %.3g",
            most_iterations,
            norm(gradient),
            smallest_gradient,
        )
    return point, evaluations


def _two_loops(
    gradient: Doubles,
    steps: list[Doubles],
    changes: list[Doubles],
    inverse: Callable[[Doubles], Doubles],
) -> Doubles:
    """Return the inverse Hessian's estimate from the last steps, times the gradient."""
    result: Doubles = gradient.copy()
    weights = []
    for step, change in zip(reversed(steps), reversed(changes), strict=True):
        weight = dot(step, result) / dot(step, change)
        result -= weight * change
        weights.append(weight)
    result = inverse(result)
    if steps:
        last = changes[-1]
        result *= dot(steps[-1], last) / dot(last, inverse(last))
    for step, change, weight in zip(steps, changes, reversed(weights), strict=True):
        result += step * (weight - dot(change, result) / dot(step, change))
    return result
