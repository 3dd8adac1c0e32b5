"""Vectors as logistic regression is fitted to them: centred and divided by one number.

A matrix of gigabytes is not copied for that: its rows are centred block by block, each time they
are needed, in a buffer that stays in the processor's caches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Doubles, Floats
from tlcli.core.final_layer.lbfgs import label_scores
from tlcli.core.final_layer.positive_definite import product_in_parts
from tlcli.core.final_layer.samples import Samples


@dataclass(frozen=True)
class BlockLimits:
    """When vectors are centred block by block, and how large a block is.

    Attributes:
        largest_copy: in bytes; a larger matrix is not copied as a whole.
        block_bytes: bytes of a block of rows.
    """

    largest_copy: int = 512 << 20
    block_bytes: int = 2 << 20

    def require_blocks(self, samples: Samples) -> bool:
        """Return whether ``samples`` are too large to be copied as a whole."""
        return 4 * len(samples) * samples.size > self.largest_copy


class CentredVectors:
    """Rows of vectors minus their mean, times a number.

    Attributes:
        whole: all rows in one matrix, [N, R]; None where that would be a copy of gigabytes.
    """

    def __init__(self, samples: Samples, mean: Doubles, limits: BlockLimits) -> None:
        """Prepare the rows of ``samples`` minus ``mean`` [D]."""
        self._samples = samples
        self._limits = limits
        self._mean = mean.astype(np.float32)
        self._factor = np.float32(1)
        self._rotation: Floats | None = None
        self.whole: Floats | None = None
        if not limits.require_blocks(samples):
            self.whole = samples.gathered() - self._mean

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def size(self) -> int:
        """Values in a row, R once it is rotated."""
        if self.whole is not None:
            return int(self.whole.shape[1])
        return self._samples.size if self._rotation is None else int(self._rotation.shape[1])

    def multiply(self, factor: float) -> None:
        """Multiply all by ``factor``."""
        self._factor *= np.float32(factor)
        if self.whole is not None:
            self.whole *= np.float32(factor)

    def rotate(self, rotation: Floats) -> None:
        """Multiply each row by ``rotation`` [D, R]; to be called once."""
        if self.whole is None:
            self._rotation = rotation
        else:
            self.whole = self.whole @ rotation

    def length(self) -> float:
        """Return the root of the mean squared length of a row; infinity where it overflows."""
        total = 0.0
        for _, block in self.blocks():
            total += float(np.einsum("nd,nd->n", block, block, dtype=np.float64).sum())
        return math.sqrt(total / len(self)) if math.isfinite(total) else math.inf

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """Yield ranges with their rows, all or block by block; a block is valid until the next."""
        if self.whole is not None:
            yield slice(0, len(self)), self.whole
            return
        for part, block in row_blocks(self._samples, self._limits.block_bytes):
            block -= self._mean
            block *= self._factor
            yield part, block if self._rotation is None else block @ self._rotation


def mean_vector(samples: Samples, limits: BlockLimits) -> Doubles:
    """Return the mean of the vectors, [D]."""
    if not limits.require_blocks(samples):
        mean: Doubles = samples.gathered().mean(axis=0, dtype=np.float64)
        return mean
    total = np.zeros(samples.size)
    for _, block in row_blocks(samples, limits.block_bytes):
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(samples)


def row_blocks(samples: Samples, block_bytes: int) -> Iterator[tuple[slice, Floats]]:
    """Yield copies of a few rows at a time, all in one buffer."""
    height = max(1, block_bytes // (4 * samples.size))
    buffer = np.empty((height, samples.size), np.float32)
    for start in range(0, len(samples), height):
        stop = min(start + height, len(samples))
        block = buffer[: stop - start]
        samples.read(slice(start, stop), block)
        yield slice(start, stop), block


def rotated(centred: Floats) -> tuple[Floats, Floats]:
    """Return N vectors [N, D] in the space that they span, [N, R], and the rotation [D, R].

    The minimum of a penalised regression lies in that space, R at most N.
    """
    plain = centred.astype(np.float64)
    gram = product_in_parts(plain, plain.T)
    values, axes = np.linalg.eigh(gram)
    spanned = values > values[-1] * 1e-9
    if values[-1] <= 0 or not spanned.any():  # all vectors are the same
        return np.zeros((len(centred), 1), np.float32), np.zeros((centred.shape[1], 1), np.float32)
    lengths = np.sqrt(values[spanned])
    rotation = (centred.T @ (axes[:, spanned] / lengths)).astype(np.float32)
    return (axes[:, spanned] * lengths).astype(np.float32), rotation


def scores_of(point: Doubles, vectors: CentredVectors) -> Iterator[tuple[slice, Floats]]:
    """Yield ranges of rows with their scores [L, n], of weights and biases ``point`` [L, D + 1]."""
    weights = point[:, :-1].astype(np.float32)
    for part, block in vectors.blocks():
        scores = label_scores(weights, block)
        scores += point[:, -1:].astype(np.float32)
        yield part, scores
