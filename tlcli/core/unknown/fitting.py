"""The score of unknown images, fitted to training vectors, and its threshold.

The threshold is the distance that 5% of the training images exceed when each is measured by a model
that has not seen it: as many known photos are called unknown. No unknown image is needed for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Doubles, Floats, Indices
from tlcli.backbone import FeatureBlock
from tlcli.core.final_layer.centred_vectors import BlockLimits, row_blocks
from tlcli.core.final_layer.samples import Samples, inner_folds
from tlcli.core.unknown.model import UnknownModel, distances, unit_rows
from tlcli.runtime.blas_threads import in_parallel, one_blas_thread

FALSE_REJECTS = 0.05
"""Proportion of known images that the threshold is set to call unknown."""
LARGEST = 2_000_000
"""Bytes of the block at most, whatever is trained on."""
FEWEST_IMAGES = 20
"""With fewer held-out images, 5% of them are less than one."""
AXES = 64
"""Main axes; fewer where there is no room for them or no variance left."""
_FEWEST_AXES = 4
REFERENCES = 1024
"""Training images among which the nearest is looked for at most; 128 bytes each."""
# Training images that are looked at, spread over all and so over the labels.
_ROWS, _ROWS_FOR_AXES = 8192, 512
# Relative to the largest variance, what rounding leaves of an axis without any.
_ROUNDING = 1e-6


def axes_within(size: int, largest: int = LARGEST) -> int:
    """Return how many axes a number of bytes allows; 0 where these are too few.

    Args:
        size: H, values of a vector.
        largest: bytes in a graph.
    """
    room = min(largest, LARGEST - 2 * AXES * REFERENCES) // (4 * size) - 1
    # Most directions must be left for what is beside the axes.
    return min(AXES, size // 4, room) if room >= _FEWEST_AXES else 0


def fit_unknown(
    training: Samples,
    blocks: Sequence[FeatureBlock] = (),
    largest: int = LARGEST,
    held_out: Samples | None = None,
) -> UnknownModel | None:
    """Return the model of training vectors; None where images or bytes are too few for one.

    Args:
        training: N vectors with their labels; ``groups`` are images with one content.
        blocks: the layers that a vector joins; the first one counts. Empty for one layer.
        largest: bytes that the model may have.
        held_out: images to set the threshold by; None: each training image, by a model of the
            images outside of its fold. To be given where the network itself was trained on the
            training images.
    """
    size = blocks[0].size if blocks else training.size
    count = axes_within(size, largest)
    if not count or len(training) < FEWEST_IMAGES:
        return None
    chosen = _spread(len(training), _ROWS)
    some = training.at(chosen)
    rows = _units(some, size)
    with one_blas_thread():
        fitted = _fit(rows, count)
        if fitted is None:
            return None
        found = _out_of_fold(rows, some, count)
        if held_out is not None:
            found = fitted.distances(_units(held_out, size))
        kept = _spread(len(rows), REFERENCES)
        places = (rows[kept] - fitted.centre) @ fitted.axes
    if len(found) < FEWEST_IMAGES or not np.isfinite(found).all():
        return None
    middle, limit = float(np.median(found)), _limit(found)
    if not limit - middle > _ROUNDING * limit:  # all images are alike
        return None
    scale = 1 / (limit - middle)
    references = places.astype(np.float16)
    return UnknownModel(fitted.centre, fitted.axes, scale, middle, references, chosen[kept])


@dataclass(frozen=True)
class _Fitted:
    """Centre and axes of training images; see `UnknownModel`."""

    centre: Floats
    axes: Floats

    def distances(self, units: Floats) -> Doubles:
        """Return d for rows [N, H], [N]."""
        found, _ = distances(units - self.centre, self.axes)
        return found


def _limit(found: Doubles) -> float:
    """Return what a new image of the same kind exceeds with a probability of 5% at most.

    That is the quantile of split conformal prediction (Papadopoulos et al., 2002): of n values and
    the new one, each rank is equally likely.
    """
    rank = math.ceil((1 - FALSE_REJECTS) * (len(found) + 1))
    return float(np.sort(found)[min(rank, len(found)) - 1])


def _out_of_fold(rows: Floats, some: Samples, count: int) -> Doubles:
    """Return d for each row by a fit without its fold, [n], n at most N."""
    # One label for all: of many labels there may be one row each, which would be in no fold.
    folds = inner_folds(np.zeros_like(some.labels), some.groups)
    found = [np.zeros(0)] * (int(folds.max()) + 1)

    def measure(fold: int) -> None:
        fitted = _fit(rows[folds != fold], count)
        if fitted is not None:
            found[fold] = fitted.distances(rows[folds == fold])

    in_parallel(measure, range(len(found)))
    return np.concatenate([np.zeros(0), *found])


def _fit(units: Floats, count: int) -> _Fitted | None:
    """Return centre and axes of rows [N, H] of length 1; None where all are equal."""
    centre = units.mean(axis=0)
    some = units[_spread(len(units), _ROWS_FOR_AXES)] - centre
    squares, columns = np.linalg.eigh((some @ some.T).astype(np.float64))
    order = np.argsort(-squares)[: min(count, len(units) // 2)]
    order = order[squares[order] > _ROUNDING]
    if not len(order):
        return None
    axes = some.T @ (columns[:, order] / np.sqrt(squares[order])).astype(np.float32)
    return _Fitted(centre, axes)


def _units(samples: Samples, size: int) -> Floats:
    """Return the first values of vectors as rows of length 1, float32 [N, size]."""
    found = np.empty((len(samples), size), np.float32)
    for rows, block in row_blocks(samples, BlockLimits().block_bytes):
        found[rows] = unit_rows(block[:, :size])
    return found


def _spread(count: int, most: int) -> Indices:
    """Return up to ``most`` of ``count`` numbers, evenly spaced, as rows are sorted by label."""
    found: Indices = np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp))
    return found
