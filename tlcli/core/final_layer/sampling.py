"""Counted random numbers: what is drawn depends on a seed and an index, on no draw before it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Indices

# Steps whose batches are drawn at once: long enough to hide the calls, short enough to be small.
BLOCK = 64
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF_BITS = np.uint64(32)


def philox(seed: int, stream: int, index: int) -> np.random.Philox:
    """Return the generator of number ``index`` (below 2**64) of ``stream`` under ``seed``."""
    key = np.array([seed % 2**64, stream], dtype=np.uint64)
    return np.random.Philox(key=key, counter=np.array([0, 0, index, 0], dtype=np.uint64))


def truncated_normal(
    shape: tuple[int, ...], deviation: float, seed: int, stream: int
) -> npt.NDArray[np.float32]:
    """Return float32 normal numbers of mean 0, those beyond two deviations drawn again."""
    generator = np.random.Generator(philox(seed, stream, 0))
    values = generator.standard_normal(shape)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = generator.standard_normal(int(beyond.sum()))
    return (values * deviation).astype(np.float32)


class LabelSampler:
    """Batches as the original drew them: a label uniformly, then an image of it, with replacement.

    Labels without rows are never drawn. The batch of a step is the same whatever was asked before.
    """

    def __init__(
        self, labels: Indices, batch_size: int, seed: int, stream: int, block: int = BLOCK
    ) -> None:
        """Prepare batches of ``batch_size`` rows of ``labels`` [N]; -1: all rows, each once."""
        self.rows = len(labels) if batch_size == -1 else batch_size
        self.everything = batch_size == -1
        self._labels = labels
        self._order = np.argsort(labels, kind="stable")
        _, starts, counts = np.unique(labels[self._order], return_index=True, return_counts=True)
        self._starts, self._counts = starts, counts
        self._seed, self._stream, self._block = seed, stream, block
        self._drawn_block = -1
        self._drawn: Indices = np.empty((0, 0), np.intp)

    def at(self, step: int) -> Indices:
        """Return the row numbers of the batch of ``step``, [rows]."""
        if self.everything:
            return np.arange(self.rows)
        block, inside = divmod(step, self._block)
        if block != self._drawn_block:
            self._drawn, self._drawn_block = self._draw(block), block
        rows: Indices = self._drawn[inside]
        return rows

    def _draw(self, block: int) -> Indices:
        words = philox(self._seed, self._stream, block).random_raw(self._block * self.rows)
        words = words.reshape(self._block, self.rows)
        # The upper half of a word picks the label, the lower the image; multiplying and keeping
        # the upper part is uniform to within 2**-32 of the count.
        labels = ((words >> _HALF_BITS) * np.uint64(len(self._counts))) >> _HALF_BITS
        labels = labels.astype(np.intp)
        counts = self._counts[labels].astype(np.uint64)
        images = (((words & _LOW_HALF) * counts) >> _HALF_BITS).astype(np.intp)
        rows: Indices = self._order[self._starts[labels] + images]
        return rows
