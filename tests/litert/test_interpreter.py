"""A LiteRT model in an interpreter: its batches, its types and its errors."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tests.runtime.doubling import doubling
from tlcli.errors import GraphError
from tlcli.graph.messages import GraphDef
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.writer import write_model
from tlcli.runtime.tensorflow import GraphEngine


def photos(folder: Path) -> np.ndarray:
    from tlcli.core.images.preprocessing import Preprocessing

    preprocessing = Preprocessing("label_image", 128, 128, 127.5, 127.5)
    paths = sorted((folder / "photos").iterdir())
    return preprocessing.scale(np.stack([preprocessing.read(path) for path in paths]))


def test_a_litert_model_gives_its_graphs_scores_in_any_batch(shared: Path) -> None:
    folder = shared / "legacy" / "plates_128"
    batch = photos(folder)
    graph = GraphDef.FromString((folder / "graph.pb").read_bytes())
    with GraphEngine(graph, "input", "final_result") as reference:
        truth = np.concatenate([reference.run(batch[i : i + 1]) for i in range(len(batch))])
    for source in (folder / "graph.tflite", (folder / "graph.tflite").read_bytes()):
        engine = LiteRTEngine(source)
        assert engine.input_shape == (1, 128, 128, 3)
        assert engine.output_shape == (1, 5)
        np.testing.assert_allclose(engine.run(batch), truth, atol=1e-4)
        np.testing.assert_allclose(engine.run(batch[:1]), truth[:1], atol=1e-4)
        np.testing.assert_allclose(engine.run(batch[:2]), truth[:2], atol=1e-4)
        assert engine.run(batch[:0]).shape == (0, 5)
        engine.close()


def test_a_mapped_file_is_the_same_model(shared: Path, tmp_path: Path) -> None:
    path = shared / "legacy" / "plates_128" / "graph.tflite"
    image = np.random.default_rng(0).random((1, 128, 128, 3), np.float32)
    read, mapped = LiteRTEngine(path, 1), LiteRTEngine(path, 1, mapped=True)
    np.testing.assert_array_equal(mapped.run(image), read.run(image))
    short = tmp_path / "short.tflite"
    short.write_bytes(path.read_bytes()[:-100])
    for place in (short, tmp_path / "absent.tflite", tmp_path):
        with pytest.raises(GraphError, match=place.name):
            LiteRTEngine(place, mapped=True)


def test_a_file_that_is_no_model_is_one_sentence(tmp_path: Path, shared: Path) -> None:
    with pytest.raises(GraphError, match=r"absent\.tflite: No such file"):
        LiteRTEngine(tmp_path / "absent.tflite")
    whole = (shared / "legacy" / "plates_128" / "graph.tflite").read_bytes()
    for bad in (b"", b"no model at all", whole[:1000], whole[: len(whole) // 2]):
        with pytest.raises(GraphError, match="no LiteRT model"):
            LiteRTEngine(bad)


class FakeInterpreter:
    """An interpreter whose model is ``run``; ``stuck`` refuses every other batch than one."""

    details: ClassVar[dict] = {
        "index": 0,
        "name": "images",
        "shape": np.array([1, 2]),
        "dtype": np.float32,
        "quantization": (0, 0),
    }
    stuck = False
    mixes = False
    invocations: ClassVar[list[int]] = []

    def __init__(self, model_content: bytes, num_threads: int) -> None:
        self.value = np.zeros((1, 2), np.float32)

    def allocate_tensors(self) -> None: ...

    def get_input_details(self) -> list[dict]:
        return [self.details]

    get_output_details = get_input_details
    get_tensor_details = get_input_details

    def resize_tensor_input(self, index: int, shape: list[int], strict: bool) -> None:
        if self.stuck and shape[0] != 1:
            raise RuntimeError("num_input_elements != num_output_elements\nmore")

    def set_tensor(self, index: int, value: np.ndarray) -> None:
        assert value.dtype == self.details["dtype"]
        self.value = value

    def invoke(self) -> None:
        self.invocations.append(len(self.value))

    def get_tensor(self, index: int) -> np.ndarray:
        return self.value[::-1] if self.mixes else self.value


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeInterpreter]:
    from ai_edge_litert import interpreter

    class Fake(FakeInterpreter):
        invocations: ClassVar[list[int]] = []

    monkeypatch.setattr(interpreter, "Interpreter", Fake)
    return Fake


@pytest.mark.parametrize("flaw", ["stuck", "mixes"])
def test_a_model_that_takes_one_image_is_fed_one_at_a_time(
    fake: type[FakeInterpreter], flaw: str
) -> None:
    setattr(fake, flaw, True)
    engine = LiteRTEngine(b"model")
    batch = np.arange(8, dtype=np.float32).reshape(4, 2)
    for _ in range(2):
        np.testing.assert_array_equal(engine.run(batch), batch)
    assert fake.invocations[-8:] == [1] * 8


def test_integers_are_scaled_both_ways(fake: type[FakeInterpreter]) -> None:
    fake.details = {**fake.details, "dtype": np.uint8, "quantization": (0.5, 10)}
    engine = LiteRTEngine(b"model")
    out = engine.run(np.array([[1.0, -9.0]], np.float32))
    assert out.dtype == np.float32
    assert out.tolist() == [[1.0, -5.0]]  # -9 is below what the type holds
    assert engine.run(np.array([[12, 10]], np.uint8)).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("number", [1, 3])
def test_pixels_are_scaled_into_the_interpreter(number: int) -> None:
    engine = LiteRTEngine(write_model(doubling(), "x", "y"), 1)
    pixels = np.arange(2 * number, dtype=np.uint8).reshape(number, 2)
    given: list[np.ndarray] = []

    def scale(values: np.ndarray, out: np.ndarray) -> np.ndarray:
        given.append(values)
        return np.divide(values, np.float32(4), out=out)

    for _ in range(3):
        np.testing.assert_array_equal(engine.run(pixels, scale), pixels / 2)
    assert len(given) == 3
    with pytest.raises(GraphError, match="cannot be run"):
        engine.run(np.zeros((number, 5), np.uint8), scale)
    # It can still run: nothing points into its memory.
    del given[:]
    np.testing.assert_array_equal(engine.run(pixels, scale), pixels / 2)
