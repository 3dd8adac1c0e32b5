"""The nearest photos of each photo, by blocks of matrix products: never all pairs at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Floats, Indices
from tlcli.runtime.blas_threads import in_parallel

# Products that a thread has in memory at once: 16 MB, so that they stay near the processor.
_PRODUCTS = 4 << 20
# The highest of so many products stands for them while the nearest rows are looked for.
_STRIDES = 16


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of each row, nearest first.

    Attributes:
        rows: [N, K].
        cosines: of the angle to each, float32 [N, K], -1 to 1.
    """

    rows: Indices
    cosines: Floats


def nearest(directions: Floats, count: int, products: int = _PRODUCTS) -> Neighbours:
    """Return the nearest other rows of each row by the cosine of the angle between them.

    Args:
        directions: rows of length 1, float32 [N, A].
        count: K, of which at most N - 1 are found.
        products: how many each thread has in memory at once; the time grows with N squared, the
            memory does not.
    """
    total = len(directions)
    count = max(0, min(count, total - 1))
    rows = np.zeros((total, count), np.intp)
    cosines = np.zeros((total, count), np.float32)
    if not count:
        return Neighbours(rows, cosines)
    # Columns beyond the last row are never near.
    wide = -(-total // _STRIDES) * _STRIDES

    def work(part: slice) -> None:
        found = np.full((part.stop - part.start, wide), -np.inf, np.float32)
        np.matmul(directions[part], directions.T, out=found[:, :total])
        found[np.arange(len(found)), np.arange(part.start, part.stop)] = -np.inf
        best = _highest(found, count)
        values = np.take_along_axis(found, best, axis=1)
        # Equal cosines by row number, so that a result does not depend on the partition.
        order = np.lexsort((best, -values), axis=1)
        rows[part] = np.take_along_axis(best, order, axis=1)
        cosines[part] = np.take_along_axis(values, order, axis=1)

    in_parallel(work, blocks_of_rows(total, products // total))
    return Neighbours(rows, cosines)


def blocks_of_rows(total: int, step: int) -> list[slice]:
    """Return ranges of at most ``step`` rows, at least one each, that cover ``total`` rows."""
    step = max(1, step)
    return [slice(start, min(start + step, total)) for start in range(0, total, step)]


def _highest(values: Floats, count: int) -> Indices:
    """Return the columns of the ``count`` highest values of each row [n, M], in any order.

    A column is among them only if it is among the columns that have the highest values of their
    sets of columns, which are compared first.
    """
    length, wide = values.shape
    sets = wide // _STRIDES
    if sets <= _STRIDES * count:
        return np.argpartition(values, wide - count, axis=1)[:, wide - count :]
    highest = values.reshape(length, _STRIDES, sets).max(axis=1)
    chosen = np.argpartition(highest, sets - count, axis=1)[:, sets - count :]
    columns = (chosen[:, :, np.newaxis] + sets * np.arange(_STRIDES)).reshape(length, -1)
    among = np.take_along_axis(values, columns, axis=1)
    best = np.argpartition(among, among.shape[1] - count, axis=1)[:, -count:]
    return np.take_along_axis(columns, best, axis=1)
