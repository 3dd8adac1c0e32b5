"""Which engine runs a backbone over many images: LiteRT, or TensorFlow where that pays.

LiteRT starts in a tenth of a second, TensorFlow in four, and on processors LiteRT is the
faster one at float32 as well: on two Zen 3 cores it took 12 ms of processor time for an image
of EfficientNet-Lite0 where TensorFlow took 22, 10 and 17 for MobileNetV2, 134 and 179 for
Inception-v3, 106 and 124 for ResNet50; two interpreters with a thread each took the same
time as one with two, and less of the clock. TensorFlow is left the graphics cards and what
`litert_writer` cannot say. Vectors of both agree to 1e-5, so one fingerprint covers them.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from tlcli.backbones.base import INPUT, BackboneGraph
from tlcli.core.bfloat16_graph import bfloat16_graph
from tlcli.core.engines import GraphEngine, import_tensorflow
from tlcli.core.litert_pool import LiteRTPool
from tlcli.core.litert_writer import write_model
from tlcli.core.machine import bfloat16_instructions, has_graphics_card
from tlcli.errors import GraphError, OutputError

logger = logging.getLogger("tlcli")

Array = np.ndarray[Any, Any]

AGREEMENT = 1e-4
"""Largest difference of two engines' vectors, as a part of the largest value, to mix them."""

BATCH_SIZE = 8
"""Images at once: what TensorFlow likes best on a processor, and few for a kill to lose.

LiteRT's interpreters take one image each whatever the batch.
"""

CARD = "card"
"""Unit: bfloat16 on a graphics card."""
NO_UNIT = "none"
"""Unit: bfloat16 on a processor without instructions for it; right, but slow."""

# NVIDIA's cards multiply in bfloat16 from this compute capability on.
_CARD_CAPABILITY = (8, 0)
# Below this TensorFlow's import takes longer than a graphics card saves.
_WORTH_A_CARD = 1000


class BackboneEngine(Protocol):
    """What runs a backbone.

    Attributes:
        batch_size: how many images it likes at once.
    """

    batch_size: int

    def run(self, batch: Array) -> Array:
        """Return the vectors [n, D] of float32 [n, height, width, 3]."""
        ...

    def close(self) -> None:
        """Release what the engine holds."""
        ...


class TensorFlowBackbone(GraphEngine):
    """A backbone in TensorFlow."""

    def __init__(self, graph: BackboneGraph) -> None:
        super().__init__(graph.graph, INPUT, graph.output)
        self.batch_size = BATCH_SIZE if graph.any_batch else 1


class Bfloat16Backbone(TensorFlowBackbone):
    """A backbone in TensorFlow whose heavy layers run in bfloat16; its vectors are float32.

    Args:
        graph: the backbone in float32.
        unit: what computes, as `bfloat16_unit` gave it.

    Raises:
        GraphError: TensorFlow refuses the graph.
    """

    def __init__(self, graph: BackboneGraph, unit: str) -> None:
        # Only oneDNN's kernel, which needs the instructions, sums depthwise layers in float32.
        changed = bfloat16_graph(
            graph.graph, INPUT, graph.output, depthwise=unit not in (CARD, NO_UNIT)
        )
        if unit == CARD:
            # What stays float32 is to have all its digits.
            import_tensorflow().config.experimental.enable_tensor_float_32_execution(False)
        else:
            # An older card must not take what was meant for the processor.
            for node in changed.node:
                node.device = "/device:CPU:0"
        super().__init__(replace(graph, graph=changed))


class LiteRTBackbone(LiteRTPool):
    """A backbone in several LiteRT interpreters, each with one image at a time.

    Args:
        model: content of a .tflite file that takes one image.
        processors: how many to use; default: the available ones.

    Raises:
        GraphError: LiteRT refuses the model.
    """

    def __init__(self, model: bytes, processors: int | None = None) -> None:
        super().__init__(model, processors, many=True)
        self.batch_size = max(BATCH_SIZE, 2 * self.workers)


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
    if image_count >= _WORTH_A_CARD and has_graphics_card():
        tensorflow = import_tensorflow()
        if tensorflow.config.list_physical_devices("GPU"):
            # The cards' shorter numbers would give vectors of another precision.
            tensorflow.config.experimental.enable_tensor_float_32_execution(False)
            return TensorFlowBackbone(graph)
    try:
        engine = LiteRTBackbone(write_model(graph.graph, INPUT, graph.output))
    except (GraphError, OutputError) as error:
        logger.debug("LiteRT does not run the backbone: %s", error)
        return TensorFlowBackbone(graph)
    if "tensorflow" not in sys.modules:
        return engine
    # It is there anyway, as after freezing a Keras model, and a session takes little.
    return _checked(engine, graph, height, width)


def bfloat16_unit() -> str:
    """Return what multiplies in bfloat16 on this machine.

    `CARD`, the processor's instructions ("amx_bf16", "avx512_bf16") or `NO_UNIT`. Units round
    sums in different orders, so vectors of one are not those of another. Imports TensorFlow
    where there is a card, as only that can tell whether it can be used.
    """
    if has_graphics_card():
        tensorflow = import_tensorflow()
        cards = tensorflow.config.list_physical_devices("GPU")
        details = [tensorflow.config.experimental.get_device_details(card) for card in cards]
        # A session takes the first.
        if details and details[0].get("compute_capability", (0, 0)) >= _CARD_CAPABILITY:
            return CARD
    return bfloat16_instructions() or NO_UNIT


def difference(given: Array, expected: Array) -> float:
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
        distance = difference(engine.run(image), reference.run(image))
    except GraphError:
        distance = float("inf")
    if distance <= AGREEMENT:
        reference.close()
        return engine
    logger.debug("LiteRT's vectors differ from TensorFlow's by %.2g", distance)
    engine.close()
    return reference
