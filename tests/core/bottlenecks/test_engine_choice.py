"""The engine that runs a backbone, and that engines may share one cache."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.backbone import BackboneGraph
from tlcli.backbones.resolve import resolve
from tlcli.core.bottlenecks import engine_choice
from tlcli.core.bottlenecks.engine_choice import AGREEMENT, backbone_engine, largest_difference
from tlcli.core.bottlenecks.engines import (
    BATCH_SIZE,
    TENSORFLOW_BATCH_SIZE,
    THREAD_BATCH_SIZE,
    LiteRTBackbone,
    TensorFlowBackbone,
)
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import GraphError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.litert.writer import write_model
from tlcli.runtime.tensorflow import SessionEngine
from tlcli.system.cpus import available_cpus
from tlcli.system.machine import has_gpu

F = np.float32
Array = np.ndarray[Any, Any]


def backbone(operation: str = "Relu", any_batch: bool = True) -> BackboneGraph:
    kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 3, 4)).astype(F)
    nodes = [
        placeholder("Placeholder", F, [None if any_batch else 1, 8, 10, 3]),
        const("kernel", kernel),
        node(
            "convolution", "Conv2D", ["Placeholder", "kernel"],
            T=F, strides=[1, 1, 1, 1], padding="SAME", data_format="NHWC",
        ),
        node("active", operation, ["convolution"], T=F),
        const("axes", np.array([1, 2], np.int32)),
        node("mean", "Mean", ["active", "axes"], T=F, keep_dims=False),
    ]  # fmt: skip
    return BackboneGraph(new_graph(nodes), "mean", 4, any_batch)


def images(number: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).random((number, 8, 10, 3), dtype=F)


@pytest.mark.parametrize("processors", [1, 2, 5])
@pytest.mark.parametrize("number", [1, 2, 7, 0])
def test_rows_come_back_in_their_order(processors: int, number: int) -> None:
    content = write_model(backbone().graph, "Placeholder", "mean")
    engine = LiteRTBackbone(content, processors)
    batch = images(number)
    given = engine.run(batch)
    assert given.shape == (number, 4)
    reference = TensorFlowBackbone(backbone())
    np.testing.assert_allclose(given, reference.run(batch), rtol=1e-5, atol=1e-6)
    engine.close()
    reference.close()


def test_more_processors_take_larger_batches() -> None:
    content = write_model(backbone().graph, "Placeholder", "mean")
    assert LiteRTBackbone(content, 2).batch_size == 8
    assert LiteRTBackbone(content, 16).batch_size == 32


def test_an_error_in_an_interpreter_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LiteRTBackbone(write_model(backbone().graph, "Placeholder", "mean"), 2)
    with pytest.raises(GraphError, match="cannot be run"):
        engine.run(np.zeros((3, 8, 10, 4), F))


def test_litert_is_the_first_choice() -> None:
    engine = backbone_engine(backbone(), 8, 10, 10)
    assert isinstance(engine, LiteRTBackbone)
    assert backbone_engine(backbone(any_batch=False), 8, 10, 10).run(images(3)).shape == (3, 4)


def test_tensorflow_runs_what_litert_does_not() -> None:
    engine = backbone_engine(backbone("Softplus"), 8, 10, 10)
    assert isinstance(engine, TensorFlowBackbone)
    assert engine.batch_size == TENSORFLOW_BATCH_SIZE * available_cpus()
    assert engine.run(images(2)).shape == (2, 4)


def half(pixels: Array, out: Array) -> Array:
    return np.multiply(pixels, F(0.5), out=out)


@pytest.mark.parametrize("litert", [True, False])
@pytest.mark.parametrize("any_batch", [True, False])
@pytest.mark.parametrize("number", [1, THREAD_BATCH_SIZE, 3 * THREAD_BATCH_SIZE + 1])
def test_threads_run_pictures_by_themselves(litert: bool, any_batch: bool, number: int) -> None:
    graph = backbone(any_batch=any_batch)
    engine: Any = TensorFlowBackbone(graph)
    if litert:
        engine = LiteRTBackbone(write_model(graph.graph, "Placeholder", "mean"), 2)
    pictures = images(number)
    whole = engine.run(pictures * F(0.5))
    assert whole.shape == (number, 4)
    np.testing.assert_allclose(engine.run_here(list(pictures), half), whole, rtol=1e-5, atol=1e-6)
    with ThreadPoolExecutor(3) as threads:
        crowded = list(threads.map(lambda one: engine.run_here([one], half), pictures))
    np.testing.assert_allclose(np.concatenate(crowded), whole, rtol=1e-5, atol=1e-6)
    assert engine.thread_batch_size == THREAD_BATCH_SIZE
    engine.close()


def test_a_session_prepares_itself_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TensorFlowBackbone(backbone())
    begun: list[int] = []
    first_is_done = threading.Event()
    run = SessionEngine.run

    def watched(self: SessionEngine, batch: Array) -> Array:
        begun.append(len(batch))
        if len(begun) == 1:
            time.sleep(0.1)
            assert len(begun) == 1
            first_is_done.set()
        assert first_is_done.is_set()
        return run(self, batch)

    monkeypatch.setattr(SessionEngine, "run", watched)
    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(lambda one: engine.run_here([one], half), images(6)))
    assert len(begun) == len(done) == 6
    engine.close()


def test_no_image_gives_no_vector() -> None:
    assert TensorFlowBackbone(backbone()).run(images(0)).shape == (0, 4)


def test_a_gpu_takes_one_batch_after_the_other() -> None:
    engine = TensorFlowBackbone(backbone(), gpu=True)
    assert (engine.thread_batch_size, engine.batch_size) == (0, BATCH_SIZE)
    assert engine.run(images(20)).shape == (20, 4)
    assert TensorFlowBackbone(backbone(any_batch=False), gpu=True).batch_size == 1
    engine.close()


def test_tensorflow_runs_what_litert_gives_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    engine_choice.import_tensorflow()
    wrong = write_model(backbone("Tanh").graph, "Placeholder", "mean")
    monkeypatch.setattr(engine_choice, "write_model", lambda *_: wrong)
    assert isinstance(backbone_engine(backbone(), 8, 10, 10), TensorFlowBackbone)


@pytest.mark.parametrize(("gpu", "number", "chosen"), [(True, 1000, True), (True, 999, False)])
def test_gpus_are_left_to_tensorflow(
    gpu: bool, number: int, chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorflow = engine_choice.import_tensorflow()
    monkeypatch.setattr(engine_choice, "has_gpu", lambda: gpu)
    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: [kind])
    precise: list[bool] = []
    monkeypatch.setattr(
        tensorflow.config.experimental, "enable_tensor_float_32_execution", precise.append
    )
    engine = backbone_engine(backbone(), 8, 10, number)
    assert isinstance(engine, TensorFlowBackbone) is chosen
    assert precise == ([False] if chosen else [])


def test_a_gpu_that_tensorflow_does_not_see_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    tensorflow = engine_choice.import_tensorflow()
    monkeypatch.setattr(engine_choice, "has_gpu", lambda: True)
    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: [])
    assert isinstance(backbone_engine(backbone(), 8, 10, 5000), LiteRTBackbone)


def test_a_hidden_gpu_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda self: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert has_gpu()
    for value in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert not has_gpu()


def test_difference_is_a_part_of_the_largest_value() -> None:
    expected = np.array([[0.0, 8.0]])
    assert largest_difference(np.array([[0.4, 8.0]]), expected) == pytest.approx(0.05)
    assert largest_difference(np.array([[np.nan, 8.0]]), expected) == float("inf")
    assert largest_difference(np.array([[8.0]]), expected) == float("inf")
    assert largest_difference(expected * 0, expected * 0) == 0


# Vectors of both engines lie in one cache under one fingerprint.
@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_lite0",
        pytest.param("efficientnet_lite1", marks=pytest.mark.slow),
        pytest.param("efficientnet_lite2", marks=pytest.mark.slow),
        "legacy/backbones/mobilenet_v1_0.25_128/frozen_graph.pb",
        "legacy/backbones/mobilenet_v1_0.25_224/frozen_graph.pb",
    ],
)
def test_engines_agree_on_photos(name: str, shared: Path) -> None:
    found = resolve(str(shared / name) if "/" in name else name)
    graph = found.load_graph()
    read = Preprocessing("tlcli-1", found.height, found.width)
    photos = [next(iter(sorted(folder.iterdir())))
              for folder in sorted((shared / "flowers" / "photos").iterdir())]  # fmt: skip
    batch = read.scale(np.stack([read.read(photo) for photo in photos]))
    litert = LiteRTBackbone(write_model(graph.graph, "Placeholder", graph.output), 2)
    tensorflow = TensorFlowBackbone(graph)
    assert largest_difference(litert.run(batch), tensorflow.run(batch)) <= AGREEMENT / 10
    litert.close()
    tensorflow.close()


def test_a_cold_extraction_imports_no_tensorflow(tmp_path: Path, shared: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tlcli.backbones.resolve import resolve\n"
        "from tlcli.core.bottlenecks.extraction import Request, compute\n"
        "from tlcli.core.bottlenecks.cache import BottleneckStore\n"
        "photos = [Path(name) for name in sys.argv[1:]]\n"
        "with BottleneckStore(Path('cache')) as store:\n"
        "    found = store.contents(photos)\n"
        "    requests = [Request(*pair) for pair in zip(photos, found)]\n"
        "    done = compute(resolve('efficientnet_lite0'), requests, store)\n"
        "print(done.computed, done.failures, 'tensorflow' in sys.modules)\n"
    )
    photos = sorted((shared / "flowers" / "photos" / "daisy").iterdir())[:3]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, photos)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.stdout == "3 {} False\n"
