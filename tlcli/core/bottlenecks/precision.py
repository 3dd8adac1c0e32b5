"""Whether a run's vectors are computed in float32 or in bfloat16.

The exported graph computes in float32, so with float32 the test accuracy is exactly that of
`tlcli label`. bfloat16 moves it by a fraction of a point and needs TensorFlow, which takes
seconds to import; it pays on CPUs and GPUs made for it, with many new images.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.backbone import Backbone
from tlcli.core.bottlenecks.engine_choice import backbone_engine
from tlcli.core.bottlenecks.engines import NO_BACKEND, BackboneEngine, Bfloat16Backbone
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import GraphError, ImageError
from tlcli.graph.bfloat16 import REWRITE

WORTH_MEASURING = 1000
"""New images below which float32 is chosen without measuring.

Measuring a network of 6 ms per image takes 0.2 s, a thirtieth of the time of a thousand images.
Fewer images pay for the import of TensorFlow only where an image takes 30 ms or more.
"""
WORTH_LOWER_PRECISION = 0.8
"""Largest proportion of float32's time at which bfloat16 is chosen.

On two cores with AVX512-BF16 EfficientNet-Lite0 takes 0.57 of it and Inception-v3 0.47. A few per
cent would not justify an accuracy that is not exactly the exported graph's.
"""
SAMPLES = 8
"""Images of the run that are used for measuring."""

# A cold import of TensorFlow. The best case must save three times that: the import is wasted
# where float32 then measures better, and takes a gigabyte of memory in any case.
_IMPORT_SECONDS = 5.0
# bfloat16 instructions compute twice as many products per cycle.
_LOWEST_TIME_RATIO = 0.5
_ROUNDS = 2


@dataclass(frozen=True)
class Choice:
    """The precision of a run.

    Attributes:
        backend: of bfloat16; None for float32.
        reason: why, as a part of a sentence.
    """

    backend: str | None
    reason: str


def in_bfloat16(backbone: Backbone, backend: str) -> Backbone:
    """Return the backbone with vectors in bfloat16, which have a fingerprint of their own.

    Args:
        backbone: in float32.
        backend: result of `engine_choice.bfloat16_backend`; part of the fingerprint, since
            backends round differently.
    """
    mark = json.dumps([backbone.fingerprint, "bfloat16", REWRITE, backend])
    fingerprint = hashlib.sha256(mark.encode()).hexdigest()
    parts = tuple(in_bfloat16(part, backend) for part in backbone.parts)
    return replace(backbone, fingerprint=fingerprint, bfloat16=backend, parts=parts)


def choose(
    new_in_float32: int,
    new_in_bfloat16: Callable[[str], int],
    backend: Callable[[], str],
    float32_seconds: Callable[[], float],
    bfloat16_seconds: Callable[[str], float],
) -> Choice:
    """Choose for ``--precision auto``; costly questions come last.

    Args:
        new_in_float32: vectors that the float32 cache lacks.
        new_in_bfloat16: returns the number of those that the cache of a backend lacks.
        backend: returns this machine's bfloat16 backend.
        float32_seconds: measures the network's seconds per image on this machine.
        bfloat16_seconds: the same in bfloat16, by a backend.
    """
    if new_in_float32 < WORTH_MEASURING:
        return Choice(
            None, f"new images: {new_in_float32}, fewer than the {WORTH_MEASURING} that pay"
        )
    found = backend()
    if found == NO_BACKEND:
        return Choice(None, "this machine does not compute in bfloat16")
    # An interrupted or repeated run thereby stays with its first choice.
    if 2 * new_in_bfloat16(found) <= new_in_float32:
        return Choice(found, "the cache contains most vectors in bfloat16 and few in float32")
    try:
        float32 = float32_seconds()
        if "tensorflow" not in sys.modules:
            saved = new_in_float32 * float32 * (1 - _LOWEST_TIME_RATIO)
            if saved < 3 * _IMPORT_SECONDS:
                return Choice(
                    None,
                    f"new images: {new_in_float32} of {float32 * 1e3:.2f} ms in float32, too few "
                    "to pay for importing TensorFlow",
                )
        bfloat16 = bfloat16_seconds(found)
    except GraphError as error:
        return Choice(None, f"it cannot be measured ({error})")
    figures = f"an image takes {bfloat16 * 1e3:.2f} ms in bfloat16, {float32 * 1e3:.2f} in float32"
    return Choice(found if bfloat16 <= WORTH_LOWER_PRECISION * float32 else None, figures)


class Trial:
    """Measures a backbone on this machine, on the first images of a run that can be read.

    Args:
        backbone: in float32; its graph is loaded for each precision.
        files: images of the run.
        image_count: how many images there are to compute.
    """

    def __init__(self, backbone: Backbone, files: Sequence[Any], image_count: int) -> None:
        self._backbone, self._files, self._count = backbone, files, image_count

    def float32(self) -> float:
        """Return the seconds per image in float32.

        Raises:
            BackboneError: the backbone cannot be loaded.
            GraphError: no engine runs it, or no image can be read.
        """
        height, width = self._backbone.height, self._backbone.width
        pixels, graph = self._pixels, self._backbone.load_graph()
        return _seconds(backbone_engine(graph, height, width, self._count), pixels)

    def bfloat16(self, backend: str) -> float:
        """Return the seconds per image in bfloat16 by a backend."""
        pixels, graph = self._pixels, self._backbone.load_graph()
        return _seconds(Bfloat16Backbone(graph, backend), pixels)

    @functools.cached_property
    def _pixels(self) -> Array:
        preprocessing = Preprocessing("tlcli-1", self._backbone.height, self._backbone.width)
        found: list[Array] = []
        # A folder of damaged files is not searched from end to end.
        for file in self._files[: 10 * SAMPLES]:
            with contextlib.suppress(ImageError, MemoryError):
                found.append(preprocessing.read(file))
            if len(found) == SAMPLES:
                break
        if not found:
            raise GraphError("no image can be read")
        return preprocessing.scale(np.stack(found))


def _seconds(engine: BackboneEngine, pixels: Array) -> float:
    """Return the fastest of some rounds, per image, and close the engine.

    A first round, in which the engine prepares itself, does not count.
    """
    with contextlib.closing(engine):
        size = engine.batch_size
        batch = np.resize(pixels, (size, *pixels.shape[1:]))
        engine.run(batch)
        best = float("inf")
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            engine.run(batch)
            best = min(best, time.perf_counter() - start)
        return best / size
