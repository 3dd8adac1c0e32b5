"""Which precision a run gets, and that two of them never meet in the cache."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlcli.backbone import Backbone, BackboneGraph
from tlcli.core.bottlenecks import engine_choice, precision
from tlcli.core.bottlenecks import engines as backbone_engines
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.engine_choice import bfloat16_backend
from tlcli.core.bottlenecks.engines import CARD, NO_UNIT, SHARE, Bfloat16Backbone
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


def test_each_unit_has_a_fingerprint_of_its_own() -> None:
    units = [NO_UNIT, CARD, "amx_bf16", "avx512_bf16"]
    changed = [in_bfloat16(BACKBONE, unit) for unit in units]
    prints = [each.fingerprint for each in changed]
    assert len({BACKBONE.fingerprint, *prints}) == 5
    assert all(len(each) == 64 for each in prints)
    assert prints == [in_bfloat16(BACKBONE, unit).fingerprint for unit in units]
    assert {each.precision for each in changed} == {"bfloat16"}
    assert [each.bfloat16 for each in changed] == units
    assert (BACKBONE.precision, BACKBONE.bfloat16) == ("float32", None)


class Asked:
    """Answers what `choose` asks, and notes the questions."""

    def __init__(self, unit: str, new: int, float32: float, bfloat16: float | None) -> None:
        self.unit, self.new, self.times = unit, new, (float32, bfloat16)
        self.questions: list[str] = []

    def choose(self, new_in_float32: int) -> precision.Choice:
        return choose(new_in_float32, self._new, self._unit, self)

    def _unit(self) -> str:
        self.questions.append("unit")
        return self.unit

    def _new(self, unit: str) -> int:
        assert unit == self.unit
        self.questions.append("cache")
        return self.new

    def float32(self) -> float:
        self.questions.append("float32")
        return self.times[0]

    def bfloat16(self, unit: str) -> float:
        assert unit == self.unit
        self.questions.append("bfloat16")
        if self.times[1] is None:
            raise GraphError("no")
        return self.times[1]


MANY = WORTH_MEASURING
BOTH = ["unit", "cache", "float32", "bfloat16"]


@pytest.mark.parametrize(
    ("new_in_float32", "asked", "unit", "questions"),
    [
        # Too few, though everything else speaks for it.
        (MANY - 1, Asked("amx_bf16", 0, 1.0, 0.1), None, []),
        (0, Asked("amx_bf16", 0, 1.0, 0.1), None, []),
        # No such machine.
        (MANY, Asked(NO_UNIT, MANY, 1.0, 0.1), None, ["unit"]),
        # Not even half the time would pay for importing TensorFlow; with more images it does.
        (MANY, Asked("amx_bf16", MANY, 0.029, 0.001), None, BOTH[:3]),
        (MANY + 100, Asked("amx_bf16", MANY, 0.029, 0.001), "amx_bf16", BOTH),
        # Measured: a good share quicker, a little quicker, slower.
        (MANY, Asked("amx_bf16", MANY, 1.0, 0.79), "amx_bf16", BOTH),
        (MANY, Asked("amx_bf16", MANY, 1.0, 0.81), None, BOTH),
        (MANY, Asked(CARD, MANY, 1.0, 2.0), None, BOTH),
        (MANY, Asked(CARD, MANY, 1.0, None), None, BOTH),
        # An earlier run took it: nothing is measured again.
        (MANY, Asked("avx512_bf16", 0, 1.0, 2.0), "avx512_bf16", ["unit", "cache"]),
        (MANY, Asked("avx512_bf16", MANY // 2, 1.0, 2.0), "avx512_bf16", ["unit", "cache"]),
        (MANY, Asked("amx_bf16", MANY - 9, 1.0, 2.0), None, BOTH),
    ],
)
def test_auto(
    new_in_float32: int, asked: Asked, unit: str | None, questions: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    asked.questions.clear()
    choice = asked.choose(new_in_float32)
    assert choice.unit == unit
    assert asked.questions == questions
    assert choice.reason


def test_an_imported_tensorflow_costs_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    assert Asked("amx_bf16", MANY, 0.029, 0.001).choose(MANY).unit == "amx_bf16"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any]], None]:
    """Return what lets TensorFlow see cards of the given compute capabilities."""
    tensorflow = engine_choice.import_tensorflow()
    monkeypatch.setattr(engine_choice, "has_gpu", lambda: True)
    monkeypatch.setattr(engine_choice, "bfloat16_instructions", lambda: "avx512_bf16")

    def see(details: list[Any]) -> None:
        monkeypatch.setattr(
            tensorflow.config, "list_physical_devices", lambda kind: list(range(len(details)))
        )
        monkeypatch.setattr(
            tensorflow.config.experimental, "get_device_details", lambda card: details[card]
        )

    return see


@pytest.mark.parametrize(
    ("details", "unit"),
    [
        ([{"compute_capability": (8, 0)}], CARD),
        ([{"compute_capability": (12, 0)}], CARD),
        ([{"compute_capability": (7, 5)}], "avx512_bf16"),
        ([{"compute_capability": (7, 5)}, {"compute_capability": (9, 0)}], "avx512_bf16"),
        ([{}], "avx512_bf16"),
        ([], "avx512_bf16"),
    ],
)
def test_cards_from_compute_capability_8_on(
    details: list[Any], unit: str, card: Callable[[list[Any]], None]
) -> None:
    card(details)
    assert bfloat16_backend() == unit


def test_processors_without_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_choice, "has_gpu", lambda: False)
    monkeypatch.setattr(engine_choice, "import_tensorflow", lambda: pytest.fail("imported"))
    monkeypatch.setattr(engine_choice, "bfloat16_instructions", lambda: None)
    assert bfloat16_backend() == NO_UNIT
    monkeypatch.setattr(engine_choice, "bfloat16_instructions", lambda: "amx_bf16")
    assert bfloat16_backend() == "amx_bf16"


@pytest.mark.parametrize(
    ("unit", "device", "depthwise"),
    [
        (NO_UNIT, {"/device:CPU:0"}, False),
        ("amx_bf16", {"/device:CPU:0"}, True),
        ("avx512_bf16", {"/device:CPU:0"}, True),
        (CARD, {""}, False),
    ],
)
def test_what_a_unit_is_given(
    unit: str, device: set[str], depthwise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensorflow = engine_choice.import_tensorflow()
    precise: list[bool] = []
    monkeypatch.setattr(
        tensorflow.config.experimental, "enable_tensor_float_32_execution", precise.append
    )
    asked: list[bool] = []
    rewrite = backbone_engines.bfloat16_graph

    def spy(*arguments: Any, depthwise: bool) -> Any:
        asked.append(depthwise)
        return rewrite(*arguments, depthwise=depthwise)

    monkeypatch.setattr(backbone_engines, "bfloat16_graph", spy)
    given: list[Any] = []
    monkeypatch.setattr(
        backbone_engines.GraphEngine,
        "__init__",
        lambda self, graph, input, output, in_caller: given.append((graph, in_caller)),
    )
    assert Bfloat16Backbone(network(), unit).share == (0 if unit == CARD else SHARE)
    [(graph, in_caller)] = given
    assert {each.device for each in graph.node} == device
    assert in_caller is (unit != CARD)
    assert asked == [depthwise]
    assert precise == ([False] if unit == CARD else [])


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for number in range(11):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_the_cache_never_mixes_precisions(tmp_path: Path, photos: list[Path]) -> None:
    low = in_bfloat16(BACKBONE, NO_UNIT)
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
    loaded = []

    def load() -> BackboneGraph:
        loaded.append(network())
        return loaded[-1]

    trial = Trial(replace(BACKBONE, load_graph=load), [tmp_path / "broken.png", *photos], 5000)
    assert trial.backbone.load_graph is load
    assert 0 < trial.float32() < 60
    assert 0 < trial.bfloat16(NO_UNIT) < 60
    assert trial.backbone.load_graph() is loaded[0]
    assert len(loaded) == 1
    with pytest.raises(GraphError, match="no image can be read"):
        Trial(BACKBONE, [tmp_path / "broken.png"], 5000).float32()


def test_the_quickest_round_counts_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([10.0, 14.0, 20.0, 26.0])
    monkeypatch.setattr(precision.time, "perf_counter", lambda: next(moments))
    sizes = []
    closed = []

    class Engine:
        batch_size = 5
        share = 0

        def run(self, batch: np.ndarray) -> np.ndarray:
            sizes.append(batch.shape)
            return batch

        def close(self) -> None:
            closed.append(self)

    assert precision._seconds(Engine(), np.zeros((3, 2, 2, 3), F)) == 4.0 / 5
    assert sizes == [(5, 2, 2, 3)] * 3
    assert len(closed) == 1
