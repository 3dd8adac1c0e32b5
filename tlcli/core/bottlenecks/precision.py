"""Whether a run's vectors are computed in float32 or in bfloat16.

float32 is what the exported graph computes in, so that the test accuracy is exactly that of
`tlcli label`. bfloat16 moves it by a fraction of a point and needs TensorFlow, which takes
seconds to import; it pays on processors and cards made for it, with many new images.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from tlcli.backbone import Backbone, BackboneGraph
from tlcli.core.bottlenecks.engine_choice import backbone_engine
from tlcli.core.bottlenecks.engines import NO_UNIT, BackboneEngine, Bfloat16Backbone
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import GraphError, ImageError
from tlcli.graph.bfloat16 import REWRITE

Array = np.ndarray[Any, Any]

WORTH_MEASURING = 1000
"""New images below which float32 is taken unseen.

Measuring a network of 6 ms an image takes 0.2 s, which is a thirtieth of what a thousand of
its images take. Fewer pay for the import of TensorFlow only where an image takes 30 ms or more.
"""
WORTH_FEWER_DIGITS = 0.8
"""Largest share of float32's time at which bfloat16 is taken.

On two cores with AVX512-BF16 EfficientNet-Lite0 takes 0.57 and Inception-v3 0.47 of it. For a
few per cent nobody would give away that the accuracy is exactly the exported graph's.
"""
SAMPLES = 8
"""Images of the run that are measured with."""

# A cold import of TensorFlow. Three times that is to be saved at best: it is lost where
# measuring then says float32, and takes a gigabyte of memory in any case.
_IMPORT_SECONDS = 5.0
# Instructions for bfloat16 make twice the products a cycle.
_LOWEST_SHARE = 0.5
_ROUNDS = 2


@dataclass(frozen=True)
class Choice:
    """The precision of a run.

    Attributes:
        unit: what computes in bfloat16; None for float32.
        reason: why, as a part of a sentence.
    """

    unit: str | None
    reason: str


def in_bfloat16(backbone: Backbone, unit: str) -> Backbone:
    """Return the backbone with vectors in bfloat16, which have a fingerprint of their own.

    Args:
        backbone: in float32.
        unit: what computes, as `engine_choice.bfloat16_unit` gave it; it is part of the
            fingerprint, since units round differently.
    """
    parts = json.dumps([backbone.fingerprint, "bfloat16", REWRITE, unit])
    fingerprint = hashlib.sha256(parts.encode()).hexdigest()
    return replace(backbone, fingerprint=fingerprint, bfloat16=unit)


class Measured(Protocol):
    """What `choose` asks for the seconds that the network takes for an image."""

    def float32(self) -> float:
        """Return them in float32."""
        ...

    def bfloat16(self, unit: str) -> float:
        """Return them in bfloat16."""
        ...


def choose(
    new_in_float32: int,
    new_in_bfloat16: Callable[[str], int],
    unit: Callable[[], str],
    measured: Measured,
) -> Choice:
    """Choose for ``--precision auto``; what costs time is asked last.

    Args:
        new_in_float32: vectors that the float32 cache lacks.
        new_in_bfloat16: gives those that the cache of a unit lacks.
        unit: gives what computes in bfloat16 here.
        measured: the network on this machine.
    """
    if new_in_float32 < WORTH_MEASURING:
        return Choice(
            None, f"new images: {new_in_float32}, fewer than the {WORTH_MEASURING} that pay"
        )
    found = unit()
    if found == NO_UNIT:
        return Choice(None, "this machine does not compute in bfloat16")
    # Also so that a run that was cut short, or is repeated, stays with what it took at first.
    if 2 * new_in_bfloat16(found) <= new_in_float32:
        return Choice(found, "the cache holds most vectors in bfloat16 and few in float32")
    try:
        float32 = measured.float32()
        if "tensorflow" not in sys.modules:
            saved = new_in_float32 * float32 * (1 - _LOWEST_SHARE)
            if saved < 3 * _IMPORT_SECONDS:
                return Choice(
                    None,
                    f"new images: {new_in_float32} of {float32 * 1e3:.2f} ms in float32, too few "
                    "to pay for importing TensorFlow",
                )
        bfloat16 = measured.bfloat16(found)
    except GraphError as error:
        return Choice(None, f"it cannot be measured ({error})")
    figures = f"an image takes {bfloat16 * 1e3:.2f} ms in bfloat16, {float32 * 1e3:.2f} in float32"
    return Choice(found if bfloat16 <= WORTH_FEWER_DIGITS * float32 else None, figures)


class Trial:
    """Measures a backbone on this machine, on the first images of a run that can be read.

    Args:
        backbone: in float32.
        files: images of the run.
        image_count: how many images there are to compute.
    """

    def __init__(self, backbone: Backbone, files: Sequence[Any], image_count: int) -> None:
        self._backbone, self._files, self._count = backbone, files, image_count
        self._graph: BackboneGraph | None = None
        self._pixels: Array | None = None

    @property
    def backbone(self) -> Backbone:
        """The backbone; where its graph was loaded for measuring it is not loaded again."""
        graph = self._graph
        return (
            self._backbone if graph is None else replace(self._backbone, load_graph=lambda: graph)
        )

    def float32(self) -> float:
        """Return the seconds that the network takes for an image in float32.

        Raises:
            BackboneError: the backbone cannot be loaded.
            GraphError: no engine runs it, or no image can be read.
        """
        pixels, graph = self._ready()
        height, width = self._backbone.height, self._backbone.width
        return _seconds(backbone_engine(graph, height, width, self._count), pixels)

    def bfloat16(self, unit: str) -> float:
        """Return the same in bfloat16.

        Args:
            unit: what computes in bfloat16.
        """
        pixels, graph = self._ready()
        return _seconds(Bfloat16Backbone(graph, unit), pixels)

    def _ready(self) -> tuple[Array, BackboneGraph]:
        if self._pixels is None:
            self._pixels = _pixels(self._backbone, self._files)
        if self._graph is None:
            self._graph = self._backbone.load_graph()
        return self._pixels, self._graph


def _pixels(backbone: Backbone, files: Sequence[Any]) -> Array:
    preprocessing = Preprocessing("tlcli-1", backbone.height, backbone.width)
    found: list[Array] = []
    # A folder of damaged files is not searched from end to end.
    for file in files[: 10 * SAMPLES]:
        try:
            found.append(preprocessing.read(file))
        except (ImageError, MemoryError):
            continue
        if len(found) == SAMPLES:
            break
    if not found:
        raise GraphError("no image can be read")
    return preprocessing.scale(np.stack(found))


def _seconds(engine: BackboneEngine, pixels: Array) -> float:
    """Return the quickest of some rounds, per image, and close the engine.

    The round before them, in which it makes itself ready, is not counted.
    """
    try:
        size = engine.batch_size
        batch = np.resize(pixels, (size, *pixels.shape[1:]))
        engine.run(batch)
        best = float("inf")
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            engine.run(batch)
            best = min(best, time.perf_counter() - start)
        return best / size
    finally:
        engine.close()
