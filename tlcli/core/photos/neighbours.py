"""The nearest photos of each photo, by blocks of matrix products: never all pairs at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Floats, Indices

# Products that are in memory at once: 64 MB.
_PRODUCTS = 16 << 20


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
        products: how many are in memory at once; the time grows with N squared, the memory
            does not.
    """
    total = len(directions)
    count = max(0, min(count, total - 1))
    rows = np.zeros((total, count), np.intp)
    cosines = np.zeros((total, count), np.float32)
    if not count:
        return Neighbours(rows, cosines)
    step = max(1, products // total)
    for start in range(0, total, step):
        stop = min(start + step, total)
        found = directions[start:stop] @ directions.T
        found[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        best = np.argpartition(found, total - count, axis=1)[:, total - count :]
        values = np.take_along_axis(found, best, axis=1)
        # Equal cosines by row number, so that a result does not depend on the partition.
        order = np.lexsort((best, -values), axis=1)
        rows[start:stop] = np.take_along_axis(best, order, axis=1)
        cosines[start:stop] = np.take_along_axis(values, order, axis=1)
    return Neighbours(rows, cosines)
