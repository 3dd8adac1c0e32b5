"""Which engine runs a backbone over many images: LiteRT, or TensorFlow where that pays.

LiteRT starts in a tenth of a second, TensorFlow in four, and on processors LiteRT is the
faster one at float32 as well: on two Zen 3 cores it took 12 ms of processor time for an image
of EfficientNet-Lite0 where TensorFlow took 22, 10 and 17 for MobileNetV2, 134 and 179 for
Inception-v3, 106 and 124 for ResNet50; two interpreters with a thread each took the same
time as one with two, and less of the clock. On two Zen 4 cores, each thread of TensorFlow on
its own as well, 9.1 and 9.9, 6.7 and 8.4, 113 and 104, 74 and 71. TensorFlow is left the
graphics cards and what `litert_writer` cannot say. Vectors of both agree to 1e-5, so one
fingerprint covers them.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import numpy as np

from tlcli.backbone import INPUT, BackboneGraph
from tlcli.core.bottlenecks.engines import (
    CARD,
    NO_UNIT,
    BackboneEngine,
    LiteRTBackbone,
    TensorFlowBackbone,
)
from tlcli.errors import GraphError, OutputError
from tlcli.litert.writer import write_model
from tlcli.runtime.tensorflow import import_tensorflow
from tlcli.system.machine import bfloat16_instructions, has_gpu

logger = logging.getLogger("tlcli")

Array = np.ndarray[Any, Any]

AGREEMENT = 1e-4
"""Largest difference of two engines' vectors, as a part of the largest value, to mix them."""

# NVIDIA's cards multiply in bfloat16 from this compute capability on.
_CARD_CAPABILITY = (8, 0)
# Below this TensorFlow's import takes longer than a graphics card saves.
_WORTH_A_CARD = 1000


def backbone_engine(
    graph: BackboneGraph, height: int, width: int, image_count: int
) -> BackboneEngine:
    """Return the engine that has ``image_count`` vectors first.

    Args:
        graph: the loaded backbone.
        height: of its input, in pixels.
        width: of its input, in pixels.
        image_count: how many images there are to compute.

    Raises:
        GraphError: no engine runs the graph.
    """
    if image_count >= _WORTH_A_CARD and has_gpu():
        tensorflow = import_tensorflow()
        if tensorflow.config.list_physical_devices("GPU"):
            # The cards' shorter numbers would give vectors of another precision.
            tensorflow.config.experimental.enable_tensor_float_32_execution(False)
            return TensorFlowBackbone(graph, card=True)
    try:
        engine = LiteRTBackbone(write_model(graph.graph, INPUT, graph.output))
    except (GraphError, OutputError) as error:
        logger.debug("LiteRT does not run the backbone: %s", error)
        return TensorFlowBackbone(graph)
    if "tensorflow" not in sys.modules:
        return engine
    # It is there anyway, as after freezing a Keras model, and a session takes little.
    return _checked(engine, graph, height, width)


def bfloat16_backend() -> str:
    """Return what multiplies in bfloat16 on this machine.

    `CARD`, the processor's instructions ("amx_bf16", "avx512_bf16") or `NO_UNIT`. Units round
    sums in different orders, so vectors of one are not those of another. Imports TensorFlow
    where there is a card, as only that can tell whether it can be used.
    """
    if has_gpu():
        tensorflow = import_tensorflow()
        cards = tensorflow.config.list_physical_devices("GPU")
        details = [tensorflow.config.experimental.get_device_details(card) for card in cards]
        # A session takes the first.
        if details and details[0].get("compute_capability", (0, 0)) >= _CARD_CAPABILITY:
            return CARD
    return bfloat16_instructions() or NO_UNIT


def largest_difference(given: Array, expected: Array) -> float:
    """Return the largest difference as a part of the largest value; NaN counts as infinity."""
    if given.shape != expected.shape:
        return float("inf")
    largest = float(np.max(np.abs(expected), initial=0.0))
    distance = float(np.max(np.abs(given - expected), initial=0.0)) / (largest or 1.0)
    return distance if np.isfinite(distance) else float("inf")


def _checked(
    engine: LiteRTBackbone, graph: BackboneGraph, height: int, width: int
) -> BackboneEngine:
    """Return LiteRT's engine if it gives the vectors of TensorFlow's, else the latter."""
    image = np.random.default_rng(0).random((1, height, width, 3), dtype=np.float32)
    reference = TensorFlowBackbone(graph)
    try:
        distance = largest_difference(engine.run(image), reference.run(image))
    except GraphError:
        distance = float("inf")
    if distance <= AGREEMENT:
        reference.close()
        return engine
    logger.debug("LiteRT's vectors differ from TensorFlow's by %.2g", distance)
    engine.close()
    return reference
