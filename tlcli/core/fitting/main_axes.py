"""Vectors turned to their main axes: short rows, which many fits and comparisons can afford."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlcli.arrays import Floats
from tlcli.backbone import FeatureBlock
from tlcli.core.final_layer.discriminant.products import products_of_rows
from tlcli.core.final_layer.positive_definite import row_parts
from tlcli.core.final_layer.samples import Samples
from tlcli.core.fitting.feature_scaling import FeatureScaling
from tlcli.runtime.blas_threads import in_parallel

AXES = 256
"""More axes found no more wrong labels, and changed no prediction of a learning curve."""
# Rows that the axes are found on; a matrix of so many squared is made.
_ROWS_FOR_AXES = 512
# Relative to the largest, what rounding leaves of an axis without variance.
_ROUNDING = 1e-6


def on_main_axes(vectors: Floats, blocks: Sequence[FeatureBlock] = ()) -> Floats:
    """Return the centred, scaled vectors on their main axes, float32 [N, A], A at most `AXES`.

    Values are scaled as for a final layer on several layers (see `FeatureScaling`); those of one
    layer are scaled too, as directions count here. The axes are the principal components of rows
    spread over all.

    Args:
        vectors: float32 [N, D], N at least 1.
        blocks: the layers that a vector joins; empty for one layer.

    Raises:
        DataError: vectors too large to square.
    """
    count, size = vectors.shape
    samples = Samples(vectors, np.zeros(count, np.intp))
    scaling = FeatureScaling.of(samples, blocks or [FeatureBlock("vector", size)])
    centre, factors = scaling.mean.astype(np.float32), scaling.factors
    spread = np.unique(np.linspace(0, count - 1, min(count, _ROWS_FOR_AXES)).astype(np.intp))
    some = (vectors[spread] - centre) * factors
    squares, columns = np.linalg.eigh(products_of_rows(some).astype(np.float64))
    order = np.argsort(-squares)[:AXES]
    order = order[squares[order] > _ROUNDING * squares[order[0]]]
    if not len(order):  # all vectors are equal
        return np.zeros((count, 1), np.float32)
    axes = some.T @ (columns[:, order] / np.sqrt(squares[order])).astype(np.float32)
    axes *= factors[:, np.newaxis]
    turned = np.empty((count, len(order)), np.float32)

    def turn(part: slice) -> None:
        np.matmul(vectors[part] - centre, axes, out=turned[part])

    in_parallel(turn, row_parts(count))
    return turned


def directions(turned: Floats) -> Floats:
    """Return rows of length 1, float32 [N, A]; a row of zeros stays one."""
    lengths = np.linalg.norm(turned, axis=1, keepdims=True)
    found: Floats = turned / np.where(lengths > 0, lengths, np.float32(1))
    return found
