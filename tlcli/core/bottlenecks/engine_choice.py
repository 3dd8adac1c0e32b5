"""Which engine runs a backbone over many images: LiteRT, or TensorFlow where that pays.

LiteRT starts in a tenth of a second and TensorFlow in four seconds, and in float32 on CPUs LiteRT
needs about the same CPU time per image or less (EfficientNet-Lite0: 12 ms against 22 on two Zen 3
cores, 9.1 against 9.9 on two Zen 4 cores). TensorFlow runs on GPUs, and runs the graphs that
`tlcli.litert.writer` cannot convert. Vectors of both agree to 1e-5, so one fingerprint covers them.
"""

from __future__ import annotations

import logging
import sys

import numpy as np

from tlcli.arrays import Array
from tlcli.backbone import INPUT, BackboneGraph
from tlcli.core.bottlenecks.engines import (
    GPU,
    NO_BACKEND,
    BackboneEngine,
    LiteRTBackbone,
    TensorFlowBackbone,
)
from tlcli.errors import GraphError, OutputError
from tlcli.litert.writer import write_model
from tlcli.runtime.tensorflow import import_tensorflow
from tlcli.system.machine import bfloat16_instructions, has_gpu

logger = logging.getLogger("tlcli")

AGREEMENT = 1e-4
"""Largest difference between two engines' vectors, relative to the largest value, to mix them."""

# NVIDIA GPUs multiply in bfloat16 from this compute capability on.
_GPU_CAPABILITY = (8, 0)
# Below this number of images TensorFlow's import takes longer than a GPU saves.
_WORTH_A_GPU = 1000


def backbone_engine(
    graph: BackboneGraph, height: int, width: int, image_count: int
) -> BackboneEngine:
    """Return the engine that computes ``image_count`` vectors of a loaded backbone soonest.

    Raises:
        GraphError: no engine runs the graph.
    """
    if image_count >= _WORTH_A_GPU and has_gpu():
        tensorflow = import_tensorflow()
        if tensorflow.config.list_physical_devices("GPU"):
            # TensorFloat-32 would give vectors of another precision.
            tensorflow.config.experimental.enable_tensor_float_32_execution(False)
            return TensorFlowBackbone(graph, gpu=True)
    try:
        engine = LiteRTBackbone(write_model(graph.graph, INPUT, graph.output))
    except (GraphError, OutputError) as error:
        logger.debug("LiteRT does not run the backbone: %s", error)
        return TensorFlowBackbone(graph)
    if "tensorflow" not in sys.modules:
        return engine
    # TensorFlow is already imported, as after freezing a Keras model: a session costs little.
    return _checked(engine, graph, height, width)


def bfloat16_backend() -> str:
    """Return this machine's bfloat16 backend.

    `GPU`, the CPU's instructions ("amx_bf16", "avx512_bf16") or `NO_BACKEND`. Backends round sums
    in different orders, so their vectors differ. Imports TensorFlow where there is a GPU, as only
    TensorFlow finds out whether the GPU is usable.
    """
    if has_gpu():
        tensorflow = import_tensorflow()
        gpus = tensorflow.config.list_physical_devices("GPU")
        details = [tensorflow.config.experimental.get_device_details(gpu) for gpu in gpus]
        # A session uses the first.
        if details and details[0].get("compute_capability", (0, 0)) >= _GPU_CAPABILITY:
            return GPU
    return bfloat16_instructions() or NO_BACKEND


def largest_difference(given: Array, expected: Array) -> float:
    """Return the largest difference relative to the largest value; NaN counts as infinity."""
    if given.shape != expected.shape:
        return float("inf")
    largest = float(np.max(np.abs(expected), initial=0.0))
    distance = float(np.max(np.abs(given - expected), initial=0.0)) / (largest or 1.0)
    return distance if np.isfinite(distance) else float("inf")


def _checked(
    engine: LiteRTBackbone, graph: BackboneGraph, height: int, width: int
) -> BackboneEngine:
    """Return LiteRT's engine if its vectors agree with TensorFlow's, else TensorFlow's."""
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
