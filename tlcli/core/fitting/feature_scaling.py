"""One scale for values that come from several layers or networks.

Each value is centred and divided by the root of its deviation over the training rows, and each
block of values (the vector of one layer) is brought to the mean square that its weight asks for.
Dividing by the deviation itself would give values that hardly vary as much say as all others, which
costs accuracy where images are few. All of that is linear, so it folds into the weights and biases
of a final layer: the exported graph multiplies raw vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tlcli.arrays import Doubles, Floats
from tlcli.backbone import FeatureBlock
from tlcli.core.final_layer.centred_vectors import BlockLimits, row_blocks
from tlcli.core.final_layer.positive_definite import row_parts
from tlcli.core.final_layer.samples import RowScale, Samples
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError
from tlcli.runtime.blas_threads import in_parallel
from tlcli.system.mapped_arrays import is_mapped

# Mean squared length of a scaled vector: about that of the plain vectors of usual networks, so
# that a learning rate means the same for both.
_SQUARED_LENGTH = 200.0
# Relative to the largest value, what rounding leaves of a constant.
_ROUNDING = 1e-6
# Rows that are scaled at once, which stay in the processor's caches.
_ROWS_AT_ONCE = 64

# With fewer images per label than this, weights are raised to this power: the heaviest block counts
# more, since few images do not show which of the other values to leave alone.
_FEW_PER_LABEL = 8
_POWER_OF_FEW = 1.5


@dataclass(frozen=True)
class FeatureScaling:
    """What is subtracted from each value of a vector, and what the difference is multiplied by.

    Attributes:
        mean: of the training rows, float64 [D].
        factors: float32 [D]; 0 for values that are the same in all training rows.
    """

    mean: Doubles
    factors: Floats

    # Squares of large finite values overflow; the variances are checked.
    @classmethod
    @np.errstate(over="ignore", invalid="ignore")
    def of(
        cls,
        training: Samples,
        blocks: Sequence[FeatureBlock],
        limits: BlockLimits | None = None,
    ) -> FeatureScaling:
        """Return the scaling that training rows ask for.

        Args:
            training: at least one row.
            blocks: of the vector, one after another; their sizes sum to D.
            limits: how many rows are summed at once.

        Raises:
            DataError: no rows, or vectors too large to square.
        """
        if not len(training):
            raise DataError("there is no training image; add images to the labels' folders")
        sizes = [block.size for block in blocks]
        if sum(sizes) != training.size:
            raise ValueError(f"blocks of {sizes} values for vectors of {training.size}")
        mean, variances, largest = _moments(training, limits or BlockLimits())
        if not np.isfinite(variances).all():
            raise DataError("the bottleneck vectors are too large to fit a final layer to")
        factors = np.zeros(training.size, np.float32)
        total = sum(block.weight for block in blocks)
        start = 0
        for block in blocks:
            part = slice(start, start + block.size)
            start += block.size
            deviations = np.sqrt(variances[part])
            varies = deviations > _ROUNDING * largest[part]
            if not varies.any():
                continue
            scaled = deviations[varies] ** -0.5
            square = ((scaled * deviations[varies]) ** 2).sum()
            wanted = _SQUARED_LENGTH * block.weight / total
            factors[part][varies] = scaled * np.sqrt(wanted / square)
        return cls(mean, factors)

    def apply(self, samples: Samples) -> Samples:
        """Return samples with scaled vectors, in a matrix of their own.

        Those in a file are scaled whenever they are read instead.
        """
        if is_mapped(samples.vectors):
            return replace(samples, scale=RowScale(self.mean.astype(np.float32), self.factors))
        mean = self.mean.astype(np.float32)
        vectors = np.empty((len(samples), samples.size), np.float32)

        def scale(part: slice) -> None:
            np.subtract(samples.gathered(part.start, part.stop), mean, out=vectors[part])
            vectors[part] *= self.factors

        # Most of the time goes by until the system has given the memory.
        in_parallel(scale, row_parts(len(samples), _ROWS_AT_ONCE))
        return Samples(vectors, samples.labels, groups=samples.groups)

    def fold(self, layer: FinalLayer) -> FinalLayer:
        """Return the layer over plain vectors that gives what ``layer`` gives for scaled ones."""
        weights = layer.weights * self.factors[:, np.newaxis].astype(np.float64)
        mean = self.mean.astype(np.float32).astype(np.float64)
        # Not by BLAS, whose bits depend on what other threads compute.
        biases = layer.biases - np.einsum("d,dl->l", mean, weights)
        return replace(layer, weights=weights.astype(np.float32), biases=biases.astype(np.float32))


def scaling_for(training: Samples, blocks: Sequence[FeatureBlock]) -> FeatureScaling | None:
    """Return the scaling of vectors of several blocks; None for those of one, which stay plain.

    With few images per label the weights of the blocks differ more; see docs/accuracy.md.

    Raises:
        DataError: no rows, or vectors too large to square.
    """
    if len(blocks) < 2:
        return None
    if len(training) and _images_per_label(training) < _FEW_PER_LABEL:
        blocks = [replace(block, weight=block.weight**_POWER_OF_FEW) for block in blocks]
    return FeatureScaling.of(training, blocks)


def _images_per_label(training: Samples) -> float:
    """Return the median over labels of their images."""
    labels = training.labels
    if training.groups is not None:
        labels = labels[np.unique(training.groups, return_index=True)[1]]
    counts = np.bincount(labels)
    return float(np.median(counts[counts > 0]))


def _moments(samples: Samples, limits: BlockLimits) -> tuple[Doubles, Doubles, Doubles]:
    """Return the mean, the variance and the largest absolute value of each value, [D] each."""
    # Sums around a row of the data: a variance that is small beside the mean stays exact.
    origin = samples.gathered(0, 1)[0].copy()
    total, squares, largest = np.zeros((3, samples.size))
    for _, block in row_blocks(samples, limits.block_bytes):
        np.maximum(largest, np.abs(block).max(axis=0), out=largest)
        block -= origin
        total += block.sum(axis=0, dtype=np.float64)
        squares += np.einsum("nd,nd->d", block, block, dtype=np.float64)
    shift = total / len(samples)
    variances = np.maximum(squares / len(samples) - shift**2, 0.0)
    return origin + shift, variances, largest
