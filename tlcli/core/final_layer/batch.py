"""One batch of SGD: rows gathered into a buffer, and the products that a step needs of them.

Both products read 800 KB for each step of the original's defaults and compute little with it, so
what counts is how often the rows pass through the processor. NumPy's BLAS copies a matrix into an
order of its own before it multiplies; where labels are few, a product of matrix and vector for
each of them, which does not copy, is faster as long as the rows stay in the first-level cache.
"""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Floats
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sampling import LabelSampler

# OpenBLAS gives a product of more than 2**18 multiplications to several threads, and waking
# them costs more than a step; products are cut below that, which also makes their bits
# independent of the number of threads.
SINGLE_THREAD_WORK = 1 << 18
# The same for a product of matrix and vector.
SINGLE_THREAD_VECTOR_WORK = 9 << 10
# Up to this many labels their products one by one are faster than one of all.
_FEW_LABELS = 5
# Of fewer rows the calls cost more than the copy. It is also how many rows OpenBLAS takes at
# once: what is left over of a block is multiplied at half the speed.
_FEWEST_ROWS = 4
# Of more labels, only the scores of the true ones are changed.
_MANY_LABELS = 512
# Bytes of a cache line.
_LINE = 64
# Beyond this many pieces the calls cost more than the threads.
_MOST_PIECES = 32


class Batch:
    """The rows of one step, and what is computed of them; results lie in buffers of the batch.

    Attributes:
        labels: index of each row's label, [rows].
    """

    def __init__(
        self,
        samples: Samples,
        sampler: LabelSampler,
        label_count: int,
    ) -> None:
        """Prepare batches of ``samples`` as ``sampler`` draws them, for L labels."""
        self._samples = samples
        self._sampler = sampler
        rows, size = sampler.rows, samples.size
        self.labels = samples.labels
        # All rows need no gathering: the matrix itself is the batch.
        self._vectors = samples.gathered() if sampler.everything else _buffer(rows, samples.vectors)
        self._scores = np.empty((label_count, rows), np.float32)
        self._targets = np.empty((min(label_count, _MANY_LABELS), rows), np.float32)
        self._row_values = np.empty(rows, np.float32)
        self._numbers = np.arange(rows)
        self._gradient = np.empty((label_count, size), np.float32)
        self._unit = np.empty((0, 0), np.float32)
        self._rate = 0.0
        pieces = -(-rows * size * label_count // SINGLE_THREAD_WORK)
        self._pieces = pieces if pieces <= min(_MOST_PIECES, size) else 1
        self._width = size // self._pieces
        self._stacked = self._stack(self._vectors)
        self._partial = np.empty((self._pieces, label_count, rows), np.float32)
        self._blocks = _row_blocks(self._vectors, self._scores)

    def _stack(self, matrix: Floats) -> Floats:
        """View the columns of ``matrix`` [R, D] as pieces [pieces, R, width], a tail left over."""
        whole = matrix[:, : self._pieces * self._width]
        pieces: Floats = whole.reshape(len(matrix), self._pieces, self._width)
        stacked: Floats = pieces.transpose(1, 0, 2)
        return stacked

    def take(self, step: int) -> None:
        """Gather the batch of ``step``."""
        if self._sampler.everything:
            return
        drawn = self._sampler.at(step)
        self.labels = self._samples.labels.take(drawn)
        self._samples.read(drawn, self._vectors)

    def logits(self, weights: Floats, biases: Floats) -> Floats:
        """Return logits [L, rows] for weights [L, D], contiguous, and biases [L]."""
        scores = self._scores
        if self._blocks:
            label_vectors = weights[np.newaxis, :, :, np.newaxis]
            for vectors, block_scores in self._blocks:
                np.matmul(vectors, label_vectors, out=block_scores)
        else:
            stacked = self._stacked.transpose(0, 2, 1)
            np.matmul(self._stack(weights), stacked, out=self._partial)
            np.add.reduce(self._partial, axis=0, out=scores)
            tail = self._pieces * self._width
            if tail < weights.shape[1]:
                scores += weights[:, tail:] @ self._vectors[:, tail:].T
        scores += biases[:, np.newaxis]
        return scores

    def scaled_gradient(
        self, weights: Floats, biases: Floats, rate: float
    ) -> tuple[Floats, Floats]:
        """Return ``rate`` times the gradient of the mean cross entropy, [L, D] and [L].

        Args:
            weights: float32 [L, D], contiguous.
            biases: float32 [L].
            rate: above 0.
        """
        share = np.float32(rate / len(self._row_values))
        many = len(biases) > _MANY_LABELS
        if rate != self._rate and not many:
            self._unit, self._rate = np.eye(len(biases), dtype=np.float32) * share, rate
        scores, row_values = self.logits(weights, biases), self._row_values
        np.maximum.reduce(scores, axis=0, out=row_values)
        scores -= row_values
        np.exp(scores, out=scores)
        np.add.reduce(scores, axis=0, out=row_values)
        np.divide(share, row_values, out=row_values)
        scores *= row_values
        if many:  # a matrix of all labels by all labels would have gigabytes
            scores[self.labels, self._numbers] -= share
        else:
            self._unit.take(self.labels, 1, self._targets, "clip")
            scores -= self._targets
        np.matmul(scores, self._stacked, out=self._stack(self._gradient))
        tail = self._pieces * self._width
        if tail < weights.shape[1]:
            self._gradient[:, tail:] = scores @ self._vectors[:, tail:]
        return self._gradient, scores.sum(axis=1)

    def measure(self, weights: Floats, biases: Floats) -> tuple[float, float]:
        """Return the share of right rows (0 to 1) and the mean cross entropy in nats.

        The cross entropy is taken from logits, so that a probability that rounds to 0 costs what
        it should instead of infinity. Args as of `logits`.
        """
        scores, row_values = self.logits(weights, biases), self._row_values
        right = np.count_nonzero(scores.argmax(axis=0) == self.labels)
        np.maximum.reduce(scores, axis=0, out=row_values)
        scores -= row_values
        chosen = scores.reshape(-1).take(self.labels * len(row_values) + self._numbers)
        np.exp(scores, out=scores)
        np.add.reduce(scores, axis=0, out=row_values)
        losses = np.log(row_values, out=row_values)
        losses -= chosen
        return right / len(losses), float(losses.mean(dtype=np.float64))


def _row_blocks(vectors: Floats, scores: Floats) -> list[tuple[Floats, Floats]]:
    """View rows as blocks whose products with single weight vectors one thread takes.

    Args:
        vectors: float32 [N, D].
        scores: room for the products with L vectors, float32 [L, N], contiguous.

    Returns:
        Blocks [B, 1, rows, D] with views [B, L, rows, 1] of their scores, and the same for what
        is left over; nothing where one product of matrices is faster.
    """
    (rows, size), label_count = vectors.shape, len(scores)
    together = min((SINGLE_THREAD_VECTOR_WORK - 1) // max(size, 1), rows)
    if label_count > _FEW_LABELS or together < max(1, min(_FEWEST_ROWS, rows)):
        return []
    if together < rows:
        together -= together % _FEWEST_ROWS
    blocks = []
    whole = rows - rows % together
    for start, stop, height in ((0, whole, together), (whole, rows, rows - whole)):
        if start < stop:
            block = vectors[start:stop].reshape(-1, 1, height, size)
            block_scores = scores[:, start:stop].reshape(label_count, -1, height, 1)
            blocks.append((block, block_scores.transpose(1, 0, 2, 3)))
    return blocks


def _buffer(rows: int, vectors: Floats) -> Floats:
    """Return room for rows of ``vectors``, placed like them within a cache line.

    Some processors (Zen 3) copy five times slower to an address that lies, modulo a page, less
    than a cache line above the one that is read.
    """
    size = vectors.shape[1]
    room = np.empty(rows * size + _LINE // 4, np.float32)
    shift = (vectors.ctypes.data - room.ctypes.data) % _LINE // 4
    return room[shift : shift + rows * size].reshape(rows, size)
