"""Whether a run's vectors are computed in float32 or in bfloat16.

float32 is what the exported graph computes in, so that the test accuracy is exactly that of
`tlcli label`. bfloat16 moves it by a fraction of a point and needs TensorFlow, which takes
seconds to import; it pays on processors and cards made for it, with many new images.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tlcli.backbones.base import Backbone
from tlcli.core.backbone_engines import NO_UNIT, BackboneEngine, Bfloat16Backbone
from tlcli.core.bfloat16_graph import REWRITE
from tlcli.core.engine_choice import backbone_engine
from tlcli.core.images import Preprocessing
from tlcli.errors import GraphError, ImageError

Array = np.ndarray[Any, Any]

# Measured with EfficientNet-Lite0 on two cores with AVX512-BF16: images a second in float32
# (LiteRT) and in bfloat16 (TensorFlow), and the seconds that importing TensorFlow takes.
_FLOAT32_RATE, _BFLOAT16_RATE, _IMPORT_SECONDS = 180.0, 248.0, 5.0
# 3283 images: the seconds saved are those of the import.
_BREAK_EVEN = _IMPORT_SECONDS / (1 / _FLOAT32_RATE - 1 / _BFLOAT16_RATE)
WORTH_MEASURING = round(2 * _BREAK_EVEN)
"""6565 new images: fewer cannot save what the import of TensorFlow costs once again.

Twice the break-even, as the import is lost where measuring then says float32.
"""
WORTH_FEWER_DIGITS = 0.8
"""Largest share of float32's time at which bfloat16 is taken.

The figures above give 0.73. For a few per cent nobody would give away that the accuracy is
exactly the exported graph's.
"""
SAMPLES = 8
"""Images of the run that are measured with."""

_ROUNDS = 3


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


def choose(
    new_in_float32: int,
    new_in_bfloat16: Callable[[str], int],
    unit: Callable[[], str],
    measure: Callable[[str], tuple[float, float]],
) -> Choice:
    """Choose for ``--precision auto``; what costs time is asked last.

    Args:
        new_in_float32: vectors that the float32 cache lacks.
        new_in_bfloat16: gives those that the cache of a unit lacks.
        unit: gives what computes in bfloat16 here.
        measure: gives the seconds for an image in float32 and in bfloat16.
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
        float32, bfloat16 = measure(found)
    except GraphError as error:
        return Choice(None, f"bfloat16 cannot be measured ({error})")
    figures = f"an image takes {bfloat16 * 1e3:.2f} ms in bfloat16, {float32 * 1e3:.2f} in float32"
    return Choice(found if bfloat16 <= WORTH_FEWER_DIGITS * float32 else None, figures)


def measure(
    backbone: Backbone, unit: str, files: Sequence[Any], image_count: int
) -> tuple[float, float]:
    """Return the seconds that the network takes for an image in float32 and in bfloat16.

    Args:
        backbone: in float32.
        unit: what computes in bfloat16.
        files: images of the run; the first `SAMPLES` that can be read are used.
        image_count: how many images there are to compute.

    Raises:
        BackboneError: the backbone cannot be loaded.
        GraphError: one of the engines cannot run it, or no image can be read.
    """
    pixels = _pixels(backbone, files)
    graph = backbone.load_graph()
    # In this order LiteRT is measured before TensorFlow has started threads of its own.
    first = backbone_engine(graph, backbone.height, backbone.width, image_count)
    try:
        float32 = _seconds(first, pixels)
    finally:
        first.close()
    second = Bfloat16Backbone(graph, unit)
    try:
        return float32, _seconds(second, pixels)
    finally:
        second.close()


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
    """Return the quickest of some rounds, per image; the first one is not counted."""
    size = engine.batch_size
    batch = np.resize(pixels, (size, *pixels.shape[1:]))
    engine.run(batch)
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        engine.run(batch)
        best = min(best, time.perf_counter() - start)
    return best / size
