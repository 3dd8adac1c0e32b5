"""Vectors by integers of 8 bits for training, and of float32 for testing.

The exported graph computes in float32. So the test images are computed in float32, too: the test
accuracy is exactly that of the graph. And the mean difference between both precisions, which
depends on what the photos show, is measured on a few training images and added to all vectors of
8 bits, or the final layer would fit a network that the graph does not have.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tlcli.backbone import Backbone
from tlcli.core.bottlenecks.extraction import Request, compute
from tlcli.text import counted

if TYPE_CHECKING:
    from retrain.inputs import Inputs
    from tlcli.core.bottlenecks.cache import BottleneckStore
    from tlcli.progress import Progress

COMPARED = 64
"""Training images that are computed in both precisions."""

# Rows changed at once: vectors may lie in a file.
_ROWS = 4096


def matched(
    inputs: Inputs, backbone: Backbone, store: BottleneckStore, progress: Progress | None, seed: int
) -> Inputs:
    """Return inputs whose vectors of 8 bits fit the network in float32, tested in float32.

    Args:
        inputs: with vectors and views by the backbone of 8 bits; the vectors are changed in place.
        backbone: the same in float32.
        store: the cache of vectors.
        progress: called while the others are computed.
        seed: draws the training images that are compared.

    Raises:
        BackboneError: the backbone cannot be loaded or run.
        CacheError: the store cannot be read or written.
    """
    testing, training = inputs.rows("testing"), inputs.rows("training")
    drawn = np.random.default_rng(seed).permutation(training)[:COMPARED]
    rows = np.concatenate([testing, np.sort(drawn)])
    requests = [Request(inputs.images[row].file or "", inputs.contents[row] or "") for row in rows]
    found = compute(backbone, requests, store, progress=progress)
    # An image that changed meanwhile keeps its old vector.
    tested = found.found[: len(testing)]
    compared = found.found[len(testing) :]
    before = inputs.vectors[rows[len(testing) :][compared]]
    if len(before):
        expected = found.vectors[len(testing) :][compared]
        shift = (expected.astype(np.float64) - before).mean(0).astype(np.float32)
        for array in (inputs.vectors, inputs.views):
            for start in range(0, len(array), _ROWS):
                array[start : start + _ROWS] += shift
    inputs.vectors[testing[tested]] = found.vectors[: len(testing)][tested]
    cache = dict(inputs.cache)
    cache["hits"] += found.hits
    cache["computed"] += found.computed
    return replace(inputs, cache=cache)


def described(inputs: Inputs) -> str:
    """Return what `matched` computes, for the progress of a run."""
    rows = len(inputs.rows("testing")), min(COMPARED, len(inputs.rows("training")))
    return f"{counted(rows[0], 'test image')} and {counted(rows[1], 'training image')} in float32"
