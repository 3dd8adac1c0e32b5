"""A score of how unlike the training images an image is: one small matrix.

    u      the values of the first layer of the vector, divided by their length
    c      u minus the mean of the training images, and y, that on their main axes
    d      |c|^2 - |y|^2, the squared length of what lies beside the axes
    score  (d - median) / (threshold - median)

What lies beside the main axes is what no training image varies in, and the strongest sign of
another subject (Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, 2022). Lengths
tell contrast and sharpness rather than subjects, so they are left out (Mueller and Hein,
Mahalanobis++: Improving OOD Detection via Feature Normalization, 2025). The score is the same
whatever solver, weights or temperature the final layer has. docs/accuracy.md compares it with the
maximum probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tlcli.arrays import Array, Doubles, Floats, Indices
from tlcli.core.final_layer.centred_vectors import row_blocks
from tlcli.core.final_layer.samples import Samples

UNKNOWN_SCORE = "unknown_score"
"""Name of the output of a graph that gives the score, float32 [?, 1]."""
ALL_OUTPUTS = "unknown_score/all_outputs"
"""Name of a node that gives scores, unknown score and y, float32 [?, L + 1 + P]."""
THRESHOLD = 1.0
"""A score above it is that of an unknown image; 0 is that of a typical training image."""
SHORTEST = 1e-12
"""Added to the squared length of a vector, which can be 0."""
_BLOCK_BYTES = 2 << 20


@dataclass(frozen=True)
class UnknownModel:
    """The numbers of the score, for vectors of D values, of which the first H count.

    Attributes:
        centre: mean of u over the training images, float32 [H].
        axes: the main axes, each of length 1, float32 [H, P].
        scale: 1 / (threshold - median).
        middle: the median of d over held-out training images.
        references: y of some training images, float16 [M, P].
        rows: which training image each reference is, [M].
    """

    centre: Floats
    axes: Floats
    scale: float
    middle: float
    references: Array
    rows: Indices

    @property
    def size(self) -> int:
        """H, how many of the first values of a vector count."""
        return len(self.centre)

    @property
    def nbytes(self) -> int:
        """Bytes in a graph and in its model card."""
        return self.centre.nbytes + self.axes.nbytes + self.references.nbytes

    def scores(self, samples: Samples) -> tuple[Doubles, Floats]:
        """Return the scores of N vectors, [N], and their y, [N, P]."""
        scores = np.zeros(len(samples))
        places = np.zeros((len(samples), self.axes.shape[1]), np.float32)
        for rows, block in row_blocks(samples, _BLOCK_BYTES):
            centred = unit_rows(block[:, : self.size]) - self.centre
            found, places[rows] = distances(centred, self.axes)
            scores[rows] = (found - self.middle) * self.scale
        return scores, places


def unit_rows(vectors: Floats) -> Floats:
    """Return rows of length 1, float32 [N, H]; rows of zeros stay."""
    squares = np.einsum("nh,nh->n", vectors, vectors)[:, np.newaxis]
    found: Floats = vectors / np.sqrt(squares + np.float32(SHORTEST))
    return found


def distances(centred: Floats, axes: Floats) -> tuple[Doubles, Floats]:
    """Return d, [N], and y, [N, P], of rows [N, H]."""
    places = centred @ axes
    squares = np.einsum("nh,nh->n", centred, centred, dtype=np.float64)
    return squares - np.einsum("np,np->n", places, places, dtype=np.float64), places


def nearest_reference(place: Array, references: Array) -> int:
    """Return the number of the reference [M, P] that a y [P] is nearest to."""
    differences = references.astype(np.float32) - place
    return int(np.einsum("mp,mp->m", differences, differences).argmin())
