"""What runs a backbone over many images: LiteRT's interpreters, or a session of TensorFlow.

On a processor both let each thread compute what it has decoded: nothing is handed over, and
no more threads compute than there are processors. Measured with two Zen 4 cores (AVX512-BF16),
in milliseconds of processor time an image, bfloat16: of EfficientNet-Lite0 5.1 where each of
two threads runs four images by itself, 5.6 to 5.9 where a run takes both processors; a single
image 5.8, eight 5.4. For Inception-v3 the ways hardly differ.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from tlcli.backbone import INPUT, BackboneGraph
from tlcli.graph.bfloat16 import bfloat16_graph
from tlcli.litert.interpreter import Scale
from tlcli.litert.pool import LiteRTPool
from tlcli.runtime.cpus import available_cpus
from tlcli.runtime.tensorflow import GraphEngine, import_tensorflow

Array = np.ndarray[Any, Any]

BATCH_SIZE = 8
"""Images at once where one run takes the whole machine; few for a kill to lose."""

SHARE = 8
"""Images that a thread decodes before it runs them.

Going back and forth between decoder and network for each costs a quarter of the decoder's
time.
"""
PART = 4
"""Images that a thread runs at once in TensorFlow; LiteRT's interpreters take one."""

CARD = "card"
"""Unit: bfloat16 on a graphics card."""
NO_UNIT = "none"
"""Unit: bfloat16 on a processor without instructions for it; right, but slow."""


class BackboneEngine(Protocol):
    """What runs a backbone.

    Attributes:
        batch_size: how many images `run` likes at once.
        share: how many images a thread is to decode and then give to `run_here`; 0 where
            there is only `run`.
    """

    batch_size: int
    share: int

    def run(self, batch: Array) -> Array:
        """Return the vectors [n, D] of float32 [n, height, width, 3], by all processors."""
        ...

    def run_here(self, pictures: Sequence[Array], scale: Scale) -> Array:
        """Return the vectors by the calling thread; others may do so at the same time.

        Args:
            pictures: n arrays [height, width, 3], 1 or more.
            scale: makes float32 in [0, 1] of them.
        """
        ...

    def close(self) -> None:
        """Release what the engine holds."""
        ...


class TensorFlowBackbone(GraphEngine):
    """A backbone in TensorFlow.

    Args:
        graph: the backbone.
        card: it runs on a graphics card, which takes one batch after the other.

    Raises:
        GraphError: TensorFlow refuses the graph.
    """

    def __init__(self, graph: BackboneGraph, card: bool = False) -> None:
        super().__init__(graph.graph, INPUT, graph.output, not card)
        whole, self._part = (BATCH_SIZE, PART) if graph.any_batch else (1, 1)
        self._card = card
        self.share = 0 if card else SHARE
        self.batch_size = whole if card else self._part * available_cpus()
        self._size = graph.bottleneck_size
        # New memory for each image would cost a tenth of a small network's time.
        self._buffers = threading.local()
        self._executor: ThreadPoolExecutor | None = None
        self._making = threading.Lock()
        self._prepared, self._preparing = False, threading.Lock()

    def run(self, batch: Array) -> Array:
        """Return the vectors of a batch; `BackboneEngine` says of which shapes.

        Raises:
            GraphError: TensorFlow could not compute it.
        """
        if not len(batch):
            # oneDNN's convolution gives no images a wrong number of channels.
            return np.zeros((0, self._size), np.float32)
        if self._card or len(batch) <= self._part:
            return self._run(batch)
        with self._making:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(available_cpus(), "tlcli-tensorflow")
        return np.concatenate(list(self._executor.map(self._run, self._parts(batch))))

    def run_here(self, pictures: Sequence[Array], scale: Scale) -> Array:
        """Return the vectors of pictures, computed by the calling thread.

        Raises:
            GraphError: TensorFlow could not compute them.
        """
        room: Array | None = getattr(self._buffers, "batch", None)
        if room is None or len(room) < len(pictures):
            room = self._buffers.batch = np.empty((len(pictures), *pictures[0].shape), np.float32)
        batch: Array = room[: len(pictures)]
        for row, pixels in zip(batch, pictures, strict=True):
            scale(pixels, row)
        return np.concatenate([self._run(part) for part in self._parts(batch)])

    def _run(self, batch: Array) -> Array:
        # In its first run a session prepares the graph. Two at once would both do so, which
        # takes 0.7 GB more with Inception-v3.
        if not self._prepared:
            with self._preparing:
                if not self._prepared:
                    vectors = super().run(batch)
                    self._prepared = True
                    return vectors
        return super().run(batch)

    def _parts(self, batch: Array) -> list[Array]:
        step = self._part
        return [batch[start : start + step] for start in range(0, len(batch), step)]

    def close(self) -> None:
        """Release the session; nothing can be run afterwards."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)
            self._executor = None
        super().close()


class Bfloat16Backbone(TensorFlowBackbone):
    """A backbone in TensorFlow whose heavy layers run in bfloat16; its vectors are float32.

    Args:
        graph: the backbone in float32.
        unit: what computes, as `engine_choice.bfloat16_unit` gave it.

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
        super().__init__(replace(graph, graph=changed), unit == CARD)


class LiteRTBackbone(LiteRTPool):
    """A backbone in several LiteRT interpreters, each with one image at a time.

    Args:
        model: content of a .tflite file that takes one image.
        processors: how many to use; default: the available ones.

    Raises:
        GraphError: LiteRT refuses the model.
    """

    share = SHARE

    def __init__(self, model: bytes, processors: int | None = None) -> None:
        super().__init__(model, processors, many=True)
        self.batch_size = max(BATCH_SIZE, 2 * self.workers)

    def run_here(self, pictures: Sequence[Array], scale: Scale) -> Array:
        """Return the vectors of pictures, computed by the calling thread.

        Raises:
            GraphError: the model cannot be run on them.
        """
        return np.concatenate(
            [self.run_one(pixels[np.newaxis], scale=scale) for pixels in pictures]
        )
