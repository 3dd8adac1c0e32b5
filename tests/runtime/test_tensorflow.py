"""TensorFlow and LiteRT behind one face, and both silent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tlcli.errors import GraphError
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.writer import write_model
from tlcli.runtime import tensorflow as engines
from tlcli.runtime import watchdog as running
from tlcli.runtime.cpus import available_cpus
from tlcli.runtime.tensorflow import GraphEngine, import_tensorflow


def doubling() -> GraphDef:
    return new_graph(
        [
            placeholder("x", np.float32, [None, 2]),
            const("two", np.array(2, np.float32)),
            node("y", "Mul", ["x", "two"], T=np.float32),
        ]
    )


def test_a_graph_is_run_for_any_batch() -> None:
    with GraphEngine(doubling(), "x", "y:0") as engine:
        for count in (1, 3, 0):
            batch = np.ones((count, 2), np.float32)
            np.testing.assert_array_equal(engine.run(batch), 2 * batch)


@pytest.mark.parametrize(("input", "output"), [("z", "y"), ("x", "z"), ("x", "y:1")])
def test_an_absent_layer_is_named(input: str, output: str) -> None:
    with pytest.raises(GraphError, match=f"no layer {input} or no layer {output}"):
        GraphEngine(doubling(), input, output)


@pytest.mark.parametrize(
    "bad",
    [
        new_graph([node("y", "NoSuchOperation")]),
        new_graph([node("y", "Mul", ["x", "z"], T=np.float32)]),
        new_graph([node("y", "Mul")]),
    ],
    ids=["operation", "inputs", "attributes"],
)
def test_a_graph_that_is_none_is_one_sentence(bad: GraphDef) -> None:
    with pytest.raises(GraphError, match="refuses the graph") as caught:
        GraphEngine(bad, "y", "y")
    assert "\n" not in str(caught.value)


def test_a_batch_that_does_not_fit_is_one_sentence() -> None:
    with GraphEngine(doubling(), "x", "y") as engine, pytest.raises(GraphError, match="run"):
        engine.run(np.ones((1, 3), np.float32))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "Graph execution error:\n\nDetected at node x\n<stack traces\nBad shape.\n\t [[x]]",
            "Bad shape.",
        ),
        ("Graph execution error:\n\nOOM when allocating tensor with shape[9]", "more memory than"),
        ("Cannot parse tensor from proto: dtype: DT_FLOAT", "more memory than there is"),
        ("\nOne line", "One line"),
        ("", "ValueError"),
    ],
)
def test_the_line_that_says_why_is_taken(text: str, line: str) -> None:
    assert line in running.first_line(ValueError(text))


def test_closing_twice_is_allowed() -> None:
    engine = GraphEngine(doubling(), "x", "y")
    engine.close()
    engine.close()


def test_the_processors_of_this_process_are_counted() -> None:
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)


# -- LiteRT


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


# -- silence


def test_tensorflow_is_imported_once() -> None:
    assert import_tensorflow() is import_tensorflow() is sys.modules["tensorflow"]


QUIET = """
import json, sys, logging
import numpy as np
from tests.runtime.test_tensorflow import doubling
from tlcli.runtime.tensorflow import GraphEngine, LiteRTEngine
assert "tensorflow" not in sys.modules and "ai_edge_litert" not in sys.modules
with GraphEngine(doubling(), "x", "y") as engine:
    engine.run(np.ones((1, 2), np.float32))
LiteRTEngine(sys.argv[1])
print(json.dumps("done"))
"""


@pytest.mark.slow
def test_neither_writes_a_line(shared: Path) -> None:
    model = shared / "legacy" / "plates_128" / "graph.tflite"
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(model)],
        capture_output=True, text=True, check=False, cwd=Path(engines.__file__).parents[2],
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == "done"
