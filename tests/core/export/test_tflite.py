"""The LiteRT file: it runs, it agrees with the graph, and a failure is one sentence."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tlcli.backbone import BackboneGraph
from tlcli.core.export import tflite
from tlcli.core.export.frozen_graph import ClassifierGraph, append_final_layer
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import OutputError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.runtime.tensorflow import import_tensorflow

LAYER = FinalLayer(
    weights=np.random.default_rng(0).normal(0, 1, (4, 3)).astype(np.float32),
    biases=np.array([0.1, -0.1, 0.0], np.float32),
)


def graph(
    operation: str = "Relu", batch: int | None = None, activation: str = "softmax"
) -> ClassifierGraph:
    """Return a small convolutional classifier for images of 8 x 10 pixels."""
    kernel = np.random.default_rng(1).normal(0, 1, (3, 3, 3, 4)).astype(np.float32)
    nodes = [
        placeholder("Placeholder", np.float32, [batch, 8, 10, 3]),
        const("kernel", kernel),
        node(
            "convolution", "Conv2D", ["Placeholder", "kernel"], T=np.float32,
            strides=[1, 2, 2, 1], padding="SAME", data_format="NHWC",
        ),
        node("active", operation, ["convolution"], T=np.float32),
        const("axes", np.array([1, 2], np.int32)),
        node("mean", "Mean", ["active", "axes"], T=np.float32, Tidx=np.int32, keep_dims=False),
    ]  # fmt: skip
    backbone = BackboneGraph(new_graph(nodes), "mean", 4, batch is None)
    layer = replace(LAYER, activation=activation)
    return ClassifierGraph(append_final_layer(backbone, layer), 8, 10)


@pytest.fixture(scope="module")
def model() -> bytes:
    return tflite.convert(graph())


def test_names_and_shapes(model: bytes) -> None:
    engine = LiteRTEngine(model)
    assert engine.input_shape == (None, 8, 10, 3)
    assert engine.output_shape == (None, 3)


@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch_gives_the_probabilities_of_the_graph(model: bytes, batch: int) -> None:
    from tlcli.runtime.tensorflow import GraphEngine

    images = np.random.default_rng(2).random((batch, 8, 10, 3), dtype=np.float32)
    with GraphEngine(graph().graph, "Placeholder", "final_result") as engine:
        expected = engine.run(images)
    np.testing.assert_allclose(LiteRTEngine(model).run(images), expected, atol=1e-5)


def test_input_is_one_image_until_it_is_resized(model: bytes) -> None:
    from ai_edge_litert.interpreter import Interpreter

    [details] = Interpreter(model_content=model).get_input_details()
    assert list(details["shape"]) == [1, 8, 10, 3]
    assert details["dtype"] is np.float32


def test_the_same_graph_gives_the_same_bytes(model: bytes) -> None:
    assert tflite.convert(graph()) == model


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    tflite.convert(graph())
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_tensorflow_converts_what_the_writer_does_not_know() -> None:
    model = tflite.convert(graph("Softplus"))
    assert tflite.output_difference(model, graph("Softplus")) < 1e-5


def test_tensorflow_converts_where_the_writer_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tflite.write_model(graph("Tanh").graph, "Placeholder", "final_result")
    monkeypatch.setattr(tflite, "write_model", lambda *_: wrong)
    import_tensorflow()  # where it is imported already, the probabilities are checked
    right = tflite.convert(graph())
    assert right != wrong
    assert tflite.output_difference(right, graph()) < 1e-5


def test_a_known_graph_is_converted_without_tensorflow(
    model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise AssertionError("TensorFlow is not needed")

    monkeypatch.setattr(tflite, "import_tensorflow", refuse)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    assert tflite.convert(graph()) == model


def test_a_model_that_returns_nan_is_not_taken(
    model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    monkeypatch.setattr(LiteRTEngine, "run", lambda self, batch: np.full((1, 3), np.nan))
    # So TensorFlow converts the graph, and the check of that fails for the same reason.
    with pytest.raises(OutputError, match="differ from the graph's by inf"):
        tflite.convert(graph())


def test_a_graph_for_one_image_is_converted(model: bytes) -> None:
    fixed = tflite.convert(graph(batch=1))
    assert LiteRTEngine(fixed).input_shape == (1, 8, 10, 3)


def test_an_operation_that_litert_lacks_is_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OutputError, match=r"^no LiteRT file can be made.*--output_tflite") as error:
        tflite.convert(graph("Erfinv"))
    assert "\n" not in str(error.value)
    assert "Erfinv" in str(error.value)
    assert "Traceback" not in capfd.readouterr().err


def test_a_model_that_differs_is_refused(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tflite.output_difference(model, graph()) < 1e-5
    other = graph("Softsign")
    assert tflite.output_difference(model, other) > tflite.TOLERANCE
    converter = import_tensorflow().compat.v1.lite.TFLiteConverter
    made = SimpleNamespace(convert=lambda: model)
    monkeypatch.setattr(converter, "from_frozen_graph", lambda *_: made)
    with pytest.raises(OutputError, match="differ from the graph's by 0"):
        tflite.convert(other)


def test_nan_is_a_difference(monkeypatch: pytest.MonkeyPatch, model: bytes) -> None:
    monkeypatch.setattr(LiteRTEngine, "run", lambda self, batch: np.full((1, 3), np.nan))
    assert tflite.output_difference(model, graph()) == float("inf")
