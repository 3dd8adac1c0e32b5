"""Which precision a run gets, and that two of them never meet in the cache."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlcli.backbone import Backbone, BackboneGraph
from tlcli.core.bottlenecks import engine_choice, engines, precision
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.engine_choice import bfloat16_backend
from tlcli.core.bottlenecks.engines import GPU, NO_BACKEND, THREAD_BATCH_SIZE, Bfloat16Backbone
from tlcli.core.bottlenecks.extraction import Request, compute
from tlcli.core.bottlenecks.precision import WORTH_MEASURING, Trial, choose, in_bfloat16
from tlcli.errors import GraphError
from tlcli.graph.nodes import const, new_graph, node, placeholder

F = np.float32


def network() -> BackboneGraph:
    kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 3, 4)).astype(F)
    nodes = [
        placeholder("Placeholder", F, [None, 8, 8, 3]),
        const("kernel", kernel),
        node(
            "convolution", "Conv2D", ["Placeholder", "kernel"],
            T=F, strides=[1, 1, 1, 1], padding="SAME", data_format="NHWC",
        ),
        node("active", "Relu", ["convolution"], T=F),
        const("axes", np.array([1, 2], np.int32)),
        node("mean", "Mean", ["active", "axes"], T=F, keep_dims=False),
    ]  # fmt: skip
    return BackboneGraph(new_graph(nodes), "mean", 4)


BACKBONE = Backbone("small", "nowhere", "unknown", 8, 8, "f" * 64, 4, network)


def test_each_backend_has_a_fingerprint_of_its_own() -> None:
    backends = [NO_BACKEND, GPU, "amx_bf16", "avx512_bf16"]
    changed = [in_bfloat16(BACKBONE, backend) for backend in backends]
    prints = [each.fingerprint for each in changed]
    assert len({BACKBONE.fingerprint, *prints}) == 5
    assert all(len(each) == 64 for each in prints)
    assert prints == [in_bfloat16(BACKBONE, backend).fingerprint for backend in backends]
    assert {each.precision for each in changed} == {"bfloat16"}
    assert [each.bfloat16 for each in changed] == backends
    assert (BACKBONE.precision, BACKBONE.bfloat16) == ("float32", None)


class Asked:
    """Answers what `choose` asks, and notes the questions."""

    def __init__(self, backend: str, new: int, float32: float, bfloat16: float | None) -> None:
        self.backend, self.new, self.times = backend, new, (float32, bfloat16)
        self.questions: list[str] = []

    def choose(self, new_in_float32: int) -> precision.Choice:
        return choose(new_in_float32, self._new, self._backend, self.float32, self.bfloat16)

    def _backend(self) -> str:
        self.questions.append("backend")
        return self.backend

    def _new(self, backend: str) -> int:
        assert backend == self.backend
        self.questions.append("cache")
        return self.new

    def float32(self) -> float:
        self.questions.append("float32")
        return self.times[0]

    def bfloat16(self, backend: str) -> float:
        assert backend == self.backend
        self.questions.append("bfloat16")
        if self.times[1] is None:
            raise GraphError("no")
        return self.times[1]


MANY = WORTH_MEASURING
BOTH = ["backend", "cache", "float32", "bfloat16"]


@pytest.mark.parametrize(
    ("new_in_float32", "asked", "backend", "questions"),
    [
        # Too few, though everything else speaks for it.
        (MANY - 1, Asked("amx_bf16", 0, 1.0, 0.1), None, []),
        (0, Asked("amx_bf16", 0, 1.0, 0.1), None, []),
        # No such machine.
        (MANY, Asked(NO_BACKEND, MANY, 1.0, 0.1), None, ["backend"]),
        # Not even half the time would pay for importing TensorFlow; with more images it does.
        (MANY, Asked("amx_bf16", MANY, 0.029, 0.001), None, BOTH[:3]),
        (MANY + 100, Asked("amx_bf16", MANY, 0.029, 0.001), "amx_bf16", BOTH),
        # Measured: much faster, a little faster, slower.
        (MANY, Asked("amx_bf16", MANY, 1.0, 0.79), "amx_bf16", BOTH),
        (MANY, Asked("amx_bf16", MANY, 1.0, 0.81), None, BOTH),
        (MANY, Asked(GPU, MANY, 1.0, 2.0), None, BOTH),
        (MANY, Asked(GPU, MANY, 1.0, None), None, BOTH),
        # An earlier run took it: nothing is measured again.
        (MANY, Asked("avx512_bf16", 0, 1.0, 2.0), "avx512_bf16", ["backend", "cache"]),
        (MANY, Asked("avx512_bf16", MANY // 2, 1.0, 2.0), "avx512_bf16", ["backend", "cache"]),
        (MANY, Asked("amx_bf16", MANY - 9, 1.0, 2.0), None, BOTH),
    ],
)
def test_auto(
    new_in_float32: int, asked: Asked, backend: str | None, questions: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    asked.questions.clear()
    choice = asked.choose(new_in_float32)
    assert choice.backend == backend
    assert asked.questions == questions
    assert choice.reason


def test_an_imported_tensorflow_costs_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    assert Asked("amx_bf16", MANY, 0.029, 0.001).choose(MANY).backend == "amx_bf16"


@pytest.fixture
def see_gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any]], None]:
    """Return a function that shows TensorFlow GPUs of the given compute capabilities."""
    tensorflow = engine_choice.import_tensorflow()
    monkeypatch.setattr(engine_choice, "has_gpu", lambda: True)
    monkeypatch.setattr(engine_choice, "bfloat16_instructions", lambda: "avx512_bf16")

    def see(details: list[Any]) -> None:
        monkeypatch.setattr(
            tensorflow.config, "list_physical_devices", lambda kind: list(range(len(details)))
        )
        monkeypatch.setattr(
            tensorflow.config.experimental, "get_device_details", lambda gpu: details[gpu]
        )

    return see


@pytest.mark.parametrize(
    ("details", "backend"),
    [
        ([{"compute_capability": (8, 0)}], GPU),
        ([{"compute_capability": (12, 0)}], GPU),
        ([{"compute_capability": (7, 5)}], "avx512_bf16"),
        ([{"compute_capability": (7, 5)}, {"compute_capability": (9, 0)}], "avx512_bf16"),
        ([{}], "avx512_bf16"),
        ([], "avx512_bf16"),
    ],
)
def test_gpus_from_compute_capability_8_on(
    details: list[Any], backend: str, see_gpus: Callable[[list[Any]], None]
) -> None:
    see_gpus(details)
    assert bfloat16_backend() == backend


def test_cpus_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "has_gpu", lambda: False)
    monkeypatch.setattr(engine_choice, "import_tensorflow", lambda: pytest.fail("imported"))
    monkeypatch.setattr(engine_choice, "bfloat16_instructions", lambda: None)
    assert bfloat16_backend() == NO_BACKEND
    monkeypatch.setattr(engine_choice, "bfloat16_instructions", lambda: "amx_bf16")
    assert bfloat16_backend() == "amx_bf16"


@pytest.mark.parametrize(
    ("backend", "device", "depthwise"),
    [
        (NO_BACKEND, {"/device:CPU:0"}, False),
        ("amx_bf16", {"/device:CPU:0"}, True),
        ("avx512_bf16", {"/device:CPU:0"}, True),
        (GPU, {""}, False),
    ],
)
def test_what_a_backend_is_given(
    backend: str, device: set[str], depthwise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorflow = engine_choice.import_tensorflow()
    precise: list[bool] = []
    monkeypatch.setattr(
        tensorflow.config.experimental, "enable_tensor_float_32_execution", precise.append
    )
    rewrite = engines.bfloat16_graph
    rewritten: list[tuple[Any, bool]] = []

    def spy(*arguments: Any, depthwise: bool) -> Any:
        graph = rewrite(*arguments, depthwise=depthwise)
        rewritten.append((graph, depthwise))
        return graph

    monkeypatch.setattr(engines, "bfloat16_graph", spy)
    engine = Bfloat16Backbone(network(), backend)
    engine.close()
    assert engine.thread_batch_size == (0 if backend == GPU else THREAD_BATCH_SIZE)
    [(graph, in_depthwise)] = rewritten
    assert {each.device for each in graph.node} == device
    assert in_depthwise is depthwise
    assert precise == ([False] if backend == GPU else [])


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for number in range(11):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_the_cache_never_mixes_precisions(tmp_path: Path, photos: list[Path]) -> None:
    low = in_bfloat16(BACKBONE, NO_BACKEND)
    with BottleneckStore(tmp_path / "cache") as store:
        contents = store.contents(photos)
        requests = [Request(*pair) for pair in zip(photos, contents, strict=True)]
        first = compute(BACKBONE, requests, store)
        second = compute(low, requests, store)
        assert (first.computed, first.hits) == (second.computed, second.hits) == (11, 0)
        assert not (first.vectors == second.vectors).all(axis=1).any()
        np.testing.assert_allclose(first.vectors, second.vectors, rtol=0.02)
        other = compute(in_bfloat16(BACKBONE, "avx512_bf16"), requests[:3], store)
        assert other.computed == 3
        for backbone, expected in ((BACKBONE, first), (low, second)):
            again = compute(backbone, requests, store)
            assert (again.hits, again.computed) == (11, 0)
            np.testing.assert_array_equal(again.vectors, expected.vectors)


def test_measuring_runs_both_engines_on_readable_images(tmp_path: Path, photos: list[Path]) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    trial = Trial(BACKBONE, [tmp_path / "broken.png", *photos], 5000)
    assert 0 < trial.float32() < 60
    assert 0 < trial.bfloat16(NO_BACKEND) < 60
    with pytest.raises(GraphError, match="no image can be read"):
        Trial(BACKBONE, [tmp_path / "broken.png"], 5000).float32()


def test_the_quickest_round_counts_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([10.0, 14.0, 20.0, 26.0])
    monkeypatch.setattr(precision.time, "perf_counter", lambda: next(moments))
    sizes = []
    closed = []

    class Engine:
        batch_size = 5
        thread_batch_size = 0

        def run(self, batch: np.ndarray) -> np.ndarray:
            sizes.append(batch.shape)
            return batch

        def close(self) -> None:
            closed.append(self)

    assert precision._seconds(Engine(), np.zeros((3, 2, 2, 3), F)) == 4.0 / 5
    assert sizes == [(5, 2, 2, 3)] * 3
    assert len(closed) == 1
