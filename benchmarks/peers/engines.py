"""Runtimes behind one interface, each at its own best setting.

An engine takes float32 batches [n, height, width, 3] in [0, 1], as the exported graph does.
`submit` may return before the batch is done; `wait` ends all.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.measuring import UnavailableError

Array = np.ndarray[Any, Any]
INPUT, OUTPUT = "Placeholder", "final_result"
BFLOAT16_FEATURES = ("avx512_bf16", "amx_bf16", "bf16")


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next(
        (line for line in text.lower().splitlines() if line.startswith(("flags", "feat"))), ""
    )
    return not set(flags.split()).isdisjoint(BFLOAT16_FEATURES)


class Engine(Protocol):
    """A loaded network."""

    def submit(self, batch: Array) -> None:
        """Run a batch, or begin to."""

    def wait(self) -> None:
        """Return when all batches are done."""


class TensorFlow:
    """The frozen graph in a v1 session, as it comes."""

    def __init__(self, graph: str, **_: str) -> None:
        import tensorflow as tf

        message = tf.compat.v1.GraphDef()
        message.ParseFromString(Path(graph).read_bytes())
        holder = tf.Graph()
        with holder.as_default():
            tf.import_graph_def(message, name="")
        self._session = tf.compat.v1.Session(graph=holder)

    def submit(self, batch: Array) -> None:
        self._session.run(f"{OUTPUT}:0", {f"{INPUT}:0": batch})

    def wait(self) -> None:
        pass


class OpenVino:
    """The frozen graph, one request at a time ("LATENCY") or as many as it asks for."""

    def __init__(self, graph: str, precision: str = "f32", hint: str = "LATENCY", **_: str) -> None:
        import openvino

        if precision == "bf16" and not has_bfloat16():
            raise UnavailableError("this processor has no bfloat16")
        core = openvino.Core()
        model, settings = core.read_model(graph), {"PERFORMANCE_HINT": hint}
        if precision == "int8":
            model = _in_int8(model)
        else:
            settings["INFERENCE_PRECISION_HINT"] = precision
        self._compiled = core.compile_model(model, "CPU", settings)
        self._queue = openvino.AsyncInferQueue(self._compiled) if hint != "LATENCY" else None

    def submit(self, batch: Array) -> None:
        if self._queue is None:
            self._compiled(batch)
        else:
            self._queue.start_async({0: batch})

    def wait(self) -> None:
        if self._queue is not None:
            self._queue.wait_all()


def _in_int8(model: Any) -> Any:
    """Return the network after NNCF's post-training quantisation, with its own defaults."""
    import nncf

    # What it is calibrated with changes its vectors and not its pace.
    shape = [size if number else 1 for number, size in enumerate(_static_shape(model))]
    random = np.random.default_rng(0)
    images = [random.random(shape, np.float32) for _ in range(16)]
    return nncf.quantize(model, nncf.Dataset(images), subset_size=len(images))


def _static_shape(model: Any) -> list[int]:
    dimensions = list(model.inputs[0].partial_shape)
    return [each.get_length() if each.is_static else 1 for each in dimensions]


class OnnxRuntime:
    """What tf2onnx makes of the frozen graph."""

    def __init__(self, onnx: str, **_: str) -> None:
        import onnxruntime

        if not Path(onnx).is_file():
            raise UnavailableError("there is no ONNX file: tf2onnx is absent or failed")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = processors()
        self._session = onnxruntime.InferenceSession(
            onnx, settings, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def submit(self, batch: Array) -> None:
        self._session.run(None, {self._input: batch})

    def wait(self) -> None:
        pass


class LiteRT:
    """The .tflite file that retrain writes, with all processors."""

    def __init__(self, tflite: str, **_: str) -> None:
        from ai_edge_litert.interpreter import Interpreter

        if not Path(tflite).is_file():
            raise UnavailableError("there is no .tflite file of this graph")
        self._interpreter = Interpreter(model_path=tflite, num_threads=processors())
        self._index = self._interpreter.get_input_details()[0]["index"]
        self._shape: tuple[int, ...] | None = None

    def submit(self, batch: Array) -> None:
        if batch.shape != self._shape:
            self._interpreter.resize_tensor_input(self._index, batch.shape)
            self._interpreter.allocate_tensors()
            self._shape = batch.shape
        self._interpreter.set_tensor(self._index, batch)
        self._interpreter.invoke()
        self._interpreter.get_tensor(self._interpreter.get_output_details()[0]["index"])

    def wait(self) -> None:
        pass


KINDS: dict[str, Any] = {
    "tensorflow": TensorFlow,
    "openvino": OpenVino,
    "onnxruntime": OnnxRuntime,
    "litert": LiteRT,
}


def open_engine(engine: str, files: dict[str, str], **settings: str) -> Engine:
    """Return an engine on the exported files; ModuleNotFoundError where it is not installed."""
    opened: Engine = KINDS[engine](**files, **settings)
    return opened


def settings_of(engine: str, precision: str | None) -> list[dict[str, str]]:
    """Return the settings of an engine that are worth a try."""
    if engine == "openvino":
        hints = ("LATENCY", "THROUGHPUT")
        return [{"precision": precision or "f32", "hint": hint} for hint in hints]
    return [{}]


def bare_rate(engine: Engine, pixels: Array, batch: int) -> float:
    """Return images per second without decoding, over ``pixels`` once, after one batch."""
    whole = len(pixels) // batch * batch
    engine.submit(pixels[:batch])
    engine.wait()
    started = time.perf_counter()
    for start in range(0, whole, batch):
        engine.submit(pixels[start : start + batch])
    engine.wait()
    return whole / (time.perf_counter() - started)
