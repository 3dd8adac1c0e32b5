"""The frozen graph and the labels file, made without TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.backbone import BackboneGraph
from tlcli.core.export import frozen_graph
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError, GraphError, UsageError
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import const, new_graph, node, placeholder, tensor_to_array

LAYER = FinalLayer(
    weights=np.array([[1.0, -1.0], [0.5, 0.0], [0.0, 2.0]], np.float32),
    biases=np.array([0.25, -0.25], np.float32),
)


def mean_backbone(*more: Any, output: str = "features") -> BackboneGraph:
    """Return a backbone whose three bottleneck values are the mean red, green and blue."""
    graph = new_graph(
        [
            placeholder("Placeholder", np.float32, [None, 4, 4, 3]),
            const("axes", np.array([1, 2], np.int32)),
            node(
                output,
                "Mean",
                ["Placeholder", "axes"],
                T=np.float32,
                Tidx=np.int32,
                keep_dims=False,
            ),
            *more,
        ]
    )
    return BackboneGraph(graph=graph, output=output, bottleneck_size=3)


def operations(graph: Any) -> dict[str, str]:
    return {item.name: item.op for item in graph.node}


def run(graph: Any, given: dict[str, np.ndarray], output: str) -> np.ndarray:
    from tlcli.runtime.tensorflow import GraphEngine

    [(name, batch)] = given.items()
    with GraphEngine(graph, name, output) as engine:
        return engine.run(batch)


def test_nodes_have_the_names_that_retrain_py_gave_them() -> None:
    graph = frozen_graph.append_final_layer(mean_backbone(), LAYER)
    assert operations(graph) == {
        "Placeholder": "Placeholder",
        "axes": "Const",
        "features": "Mean",
        "final_retrain_ops/weights/final_weights": "Const",
        "final_retrain_ops/biases/final_biases": "Const",
        "final_retrain_ops/Wx_plus_b/MatMul": "MatMul",
        "final_retrain_ops/Wx_plus_b/add": "Add",
        "final_result": "Softmax",
    }
    weights = next(item for item in graph.node if item.name == frozen_graph.WEIGHTS)
    np.testing.assert_array_equal(tensor_to_array(weights.attr["value"].tensor), LAYER.weights)


@pytest.mark.parametrize("batch", [1, 3])
def test_graph_gives_the_probabilities_of_the_layer(batch: int) -> None:
    images = np.random.default_rng(0).random((batch, 4, 4, 3), dtype=np.float32)
    graph = frozen_graph.append_final_layer(mean_backbone(), LAYER, "scores/flowers")
    given = run(graph, {"Placeholder": images}, "scores/flowers")
    expected = LAYER.probabilities(images.mean(axis=(1, 2)))
    np.testing.assert_allclose(given, expected, atol=1e-6)


def test_the_backbone_is_left_as_it_was() -> None:
    backbone = mean_backbone()
    before = backbone.graph.SerializeToString(deterministic=True)
    frozen_graph.append_final_layer(backbone, LAYER)
    assert backbone.graph.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("taken", ["final_result", frozen_graph.LOGITS])
def test_nodes_of_the_backbone_make_room(taken: str) -> None:
    backbone = mean_backbone(output=taken)
    images = np.random.default_rng(1).random((2, 4, 4, 3), dtype=np.float32)
    graph = frozen_graph.append_final_layer(backbone, LAYER)
    names = [item.name for item in graph.node]
    assert len(names) == len(set(names))
    assert operations(graph)["final_result"] == "Softmax"
    assert operations(graph)[f"backbone/{taken}"] == "Mean"
    given = run(graph, {"Placeholder": images}, "final_result")
    np.testing.assert_allclose(given, LAYER.probabilities(images.mean(axis=(1, 2))), atol=1e-6)


def test_a_collision_does_not_cause_another() -> None:
    relu = node("backbone/final_result", "Relu", ["Placeholder"], T=np.float32)
    mean = node(
        "final_result", "Mean", ["backbone/final_result", "axes"],
        T=np.float32, Tidx=np.int32, keep_dims=False,
    )  # fmt: skip
    backbone = mean_backbone(relu, mean)
    graph = frozen_graph.append_final_layer(BackboneGraph(backbone.graph, "final_result", 3), LAYER)
    found = operations(graph)
    assert found["backbone/final_result"] == "Relu"
    assert found["backbone/final_result_1"] == "Mean"
    assert found["final_result"] == "Softmax"


def test_what_the_output_does_not_need_is_left_out() -> None:
    backbone = mean_backbone(node("loose", "Relu", ["Placeholder"], T=np.float32))
    assert "loose" not in operations(frozen_graph.append_final_layer(backbone, LAYER))


@pytest.mark.parametrize(
    "name", ["", "final result", "final_result:0", "_final", "a/", "naïve", "a\n", "-a", "^a"]
)
def test_names_that_tensorflow_refuses_are_wrong_use(name: str) -> None:
    with pytest.raises(UsageError, match="final_tensor_name"):
        frozen_graph.append_final_layer(mean_backbone(), LAYER, name)
    with pytest.raises(UsageError, match="final_tensor_name"):
        frozen_graph.final_layer_graph(LAYER, name)


@pytest.mark.parametrize("name", ["a", "0", ".a", "scope/final-result_2.0"])
def test_names_that_tensorflow_takes_are_taken(name: str) -> None:
    frozen_graph.check_final_tensor_name(name)


@pytest.mark.parametrize(
    "name", ["Placeholder", "BottleneckInputPlaceholder", frozen_graph.WEIGHTS]
)
def test_the_output_cannot_have_the_name_of_another_node(name: str) -> None:
    with pytest.raises(UsageError, match="another node"):
        frozen_graph.check_final_tensor_name(name)


def test_a_layer_for_another_backbone_is_refused() -> None:
    layer = FinalLayer(np.zeros((4, 2), np.float32), np.zeros(2, np.float32))
    with pytest.raises(GraphError, match="takes 4 values and the backbone gives 3"):
        frozen_graph.append_final_layer(mean_backbone(), layer)
    crooked = FinalLayer(np.zeros((3, 2), np.float32), np.zeros(5, np.float32))
    with pytest.raises(GraphError, match="do not fit"):
        frozen_graph.append_final_layer(mean_backbone(), crooked)


def test_a_backbone_that_does_not_look_at_its_input_is_refused() -> None:
    graph = new_graph([const("features", np.zeros((1, 3), np.float32))])
    with pytest.raises(GraphError, match="does not depend on its input"):
        frozen_graph.append_final_layer(BackboneGraph(graph, "features", 3), LAYER)


def test_final_layer_alone() -> None:
    graph = frozen_graph.final_layer_graph(LAYER)
    entry = graph.node[0]
    assert (entry.name, entry.op) == ("BottleneckInputPlaceholder", "Placeholder")
    assert entry.attr["shape"].shape.dim[0].size == -1
    assert entry.attr["shape"].shape.dim[1].size == 3
    vectors = np.array([[1, 2, 3], [0, 0, 0]], np.float32)
    given = run(graph, {"BottleneckInputPlaceholder": vectors}, "final_result")
    np.testing.assert_allclose(given, LAYER.probabilities(vectors), atol=1e-6)


def test_the_same_graph_gives_the_same_bytes() -> None:
    first = frozen_graph.serialise(frozen_graph.append_final_layer(mean_backbone(), LAYER))
    again = GraphDef.FromString(first)
    for item in again.node:  # attributes put in the other way round
        attributes = {key: item.attr[key].SerializeToString() for key in item.attr}
        item.attr.clear()
        for key in sorted(attributes, reverse=True):
            item.attr[key].ParseFromString(attributes[key])
    assert frozen_graph.serialise(again) == first


def test_tensorflow_reads_what_was_serialised() -> None:
    content = frozen_graph.serialise(frozen_graph.append_final_layer(mean_backbone(), LAYER))
    from tlcli.runtime.tensorflow import import_tensorflow

    message = import_tensorflow().compat.v1.GraphDef.FromString(content)
    assert [item.name for item in message.node][-1] == "final_result"
    assert message.versions.producer > 0


def test_no_tensorflow_is_imported() -> None:
    code = (
        "import sys, tlcli.core.export.frozen_graph, tlcli.core.export.model_card;"
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'click')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_labels_one_a_line(tmp_path: Path) -> None:
    frozen_graph.write_labels(tmp_path / "labels.txt", ["daisy", "수영장 있음", " a "])
    assert (tmp_path / "labels.txt").read_bytes() == "daisy\n수영장 있음\n a \n".encode()


@pytest.mark.parametrize("label", ["", "a\nb", "a\r", "a\u2028b", "\x85", "\udcff"])
def test_labels_that_take_no_line_of_their_own_are_refused(tmp_path: Path, label: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("old\n")
    with pytest.raises(DataError, match="rename its folder"):
        frozen_graph.write_labels(path, ["daisy", label])
    assert path.read_text() == "old\n"


def test_a_batch_of_one_stays_fixed() -> None:
    backbone = mean_backbone()
    backbone.graph.node[0].attr["shape"].CopyFrom(
        placeholder("x", np.float32, [1, 4, 4, 3]).attr["shape"]
    )
    graph = frozen_graph.append_final_layer(
        BackboneGraph(backbone.graph, "features", 3, False), LAYER
    )
    entry = next(item for item in graph.node if item.name == "Placeholder")
    assert entry.attr["shape"].shape.dim[0].size == 1
