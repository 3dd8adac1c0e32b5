"""Engines that run a backbone over many images: LiteRT interpreters or a TensorFlow session.

On a CPU each thread runs the images it has decoded, so that nothing passes between threads and
no more threads compute than there are CPUs. That takes less CPU time per image than runs that
spread over all CPUs: 5.1 ms against 5.6 to 5.9 for EfficientNet-Lite0 in bfloat16 on two Zen 4
cores.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import numpy as np

from tlcli.arrays import Array
from tlcli.backbone import INPUT, BackboneGraph
from tlcli.graph.bfloat16 import bfloat16_graph
from tlcli.litert.interpreter import Scale
from tlcli.litert.pool import LiteRTPool
from tlcli.runtime.tensorflow import GraphEngine, import_tensorflow
from tlcli.system.cpus import available_cpus

BATCH_SIZE = 8
"""Images per run where a run takes the whole machine; small, as a killed run loses them."""

THREAD_BATCH_SIZE = 8
"""Images that a thread decodes before it runs them.

Switching between decoder and network for each image costs a quarter of the decoder's time.
"""
TENSORFLOW_BATCH_SIZE = 4
"""Images per run of a thread in TensorFlow; a LiteRT interpreter takes one."""

# The values are part of cached fingerprints.
GPU = "card"
"""Backend: bfloat16 on a GPU."""
NO_BACKEND = "none"
"""Backend: bfloat16 on a CPU without instructions for it; correct, but slow."""


class BackboneEngine(Protocol):
    """An engine that runs a backbone.

    Attributes:
        batch_size: best number of images for `run`.
        thread_batch_size: how many images a thread decodes and then passes to `run_here`; 0
            where only `run` is of use.
    """

    batch_size: int
    thread_batch_size: int

    def run(self, batch: Array) -> Array:
        """Return the vectors [n, D] of float32 [n, height, width, 3], on all CPUs."""
        ...

    def run_here(self, pictures: Sequence[Array], scale: Scale) -> Array:
        """Return the vectors, computed in the calling thread; threads may call it concurrently.

        Args:
            pictures: n arrays [height, width, 3], 1 or more.
            scale: converts them to float32 in [0, 1].
        """
        ...

    def close(self) -> None:
        """Release the engine's resources."""
        ...


class TensorFlowBackbone(GraphEngine):
    """A backbone in TensorFlow.

    Args:
        graph: the backbone.
        gpu: run on a GPU, which takes one batch after the other.

    Raises:
        GraphError: TensorFlow refuses the graph.
    """

    def __init__(self, graph: BackboneGraph, gpu: bool = False) -> None:
        super().__init__(graph.graph, INPUT, graph.output, not gpu)
        whole, self._part = (BATCH_SIZE, TENSORFLOW_BATCH_SIZE) if graph.any_batch else (1, 1)
        self._gpu = gpu
        self.thread_batch_size = 0 if gpu else THREAD_BATCH_SIZE
        self.batch_size = whole if gpu else self._part * available_cpus()
        self._size = graph.bottleneck_size
        # New memory for each image would cost a tenth of a small network's time.
        self._buffers = threading.local()
        self._executor = ThreadPoolExecutor(available_cpus(), "tlcli-tensorflow")
        self._prepared, self._preparing = False, threading.Lock()

    def run(self, batch: Array) -> Array:
        """Return the vectors of a batch, of the shapes given at `BackboneEngine`.

        Raises:
            GraphError: TensorFlow could not compute it.
        """
        if not len(batch):
            # For an empty batch oneDNN's convolution returns a wrong number of channels.
            return np.zeros((0, self._size), np.float32)
        if self._gpu or len(batch) <= self._part:
            return self._run(batch)
        return np.concatenate(list(self._executor.map(self._run, self._parts(batch))))

    def run_here(self, pictures: Sequence[Array], scale: Scale) -> Array:
        """Return the vectors of pictures, computed in the calling thread.

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
        self._executor.shutdown()
        super().close()


class Bfloat16Backbone(TensorFlowBackbone):
    """A backbone in TensorFlow whose heavy layers run in bfloat16; its vectors are float32.

    Args:
        graph: the backbone in float32.
        backend: result of `engine_choice.bfloat16_backend`.

    Raises:
        GraphError: TensorFlow refuses the graph.
    """

    def __init__(self, graph: BackboneGraph, backend: str) -> None:
        # Only the oneDNN kernel, which needs the instructions, sums depthwise layers in float32.
        changed = bfloat16_graph(
            graph.graph, INPUT, graph.output, depthwise=backend not in (GPU, NO_BACKEND)
        )
        if backend == GPU:
            # Layers that stay float32 are computed in full precision.
            import_tensorflow().config.experimental.enable_tensor_float_32_execution(False)
        else:
            # An older GPU must not run what was chosen for the CPU.
            for node in changed.node:
                node.device = "/device:CPU:0"
        super().__init__(replace(graph, graph=changed), backend == GPU)


class LiteRTBackbone(LiteRTPool):
    """A backbone in several LiteRT interpreters, each with one image at a time.

    Args:
        model: content of a .tflite file that takes one image.
        processors: how many CPUs to use; default: the available ones.

    Raises:
        GraphError: LiteRT refuses the model.
    """

    thread_batch_size = THREAD_BATCH_SIZE

    def __init__(self, model: bytes, processors: int | None = None) -> None:
        super().__init__(model, processors, many=True)
        self.batch_size = max(BATCH_SIZE, 2 * self.workers)

    def run_here(self, pictures: Sequence[Array], scale: Scale) -> Array:
        """Return the vectors of pictures, computed in the calling thread.

        Raises:
            GraphError: the model cannot be run on them.
        """
        return np.concatenate(
            [self.run_one(pixels[np.newaxis], scale=scale) for pixels in pictures]
        )
