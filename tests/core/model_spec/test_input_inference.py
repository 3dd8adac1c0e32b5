"""Input specifications of graphs of every generation; no TensorFlow here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.core.model_spec.input_inference import FrozenNetwork, examine
from tlcli.core.model_spec.input_spec import InputOverrides, InputSpec, Scaling
from tlcli.core.model_spec.origins import specify
from tlcli.errors import GraphError
from tlcli.graph.nodes import (
    DataType,
    const,
    new_graph,
    node,
    placeholder,
    tensor_to_array,
)
from tlcli.graph.safety import read_graph

DTYPE_STRING = DataType.STRING
POETS = Scaling(128.0, 128.0)
HUB = Scaling(0.0, 255.0)


@pytest.mark.parametrize(
    ("folder", "wanted"),
    [
        ("plates_128", ("input", 128, POETS, 5)),
        ("banknotes_224", ("input", 224, POETS, 5)),
        ("panels_128_optimized", ("input", 128, POETS, 6)),
        ("mirror_128_quantized", ("input", 128, POETS, 3)),
        ("hub_style_128_synthetic", ("Placeholder", 128, HUB, 5)),
        ("inception2015_style_synthetic", ("ResizeBilinear", 128, Scaling(0.0, 1.0), 5)),
    ],
)
def test_graphs_of_every_generation(
    shared: Path, folder: str, wanted: tuple[str, int, Scaling, int]
) -> None:
    network = examine(read_graph(shared / "legacy" / folder / "graph.pb"))
    found = specify(network.facts, InputOverrides())
    name, size, scaling, labels = wanted
    assert (network.input, found.height, found.width) == (name, size, size)
    assert (found.scaling, found.labels, found.assumed) == (scaling, labels, False)
    assert (network.output, found.dtype) == ("final_result", "float32")
    assert found.activation == "softmax"
    assert found.resizing.name == "label_image"
    assert found.any_batch


def test_a_backbone_gives_its_softmax(shared: Path) -> None:
    path = shared / "legacy/backbones/mobilenet_v1_0.25_224/frozen_graph.pb"
    network = examine(read_graph(path))
    assert (network.output, network.facts.scores) == ("MobilenetV1/Predictions/Softmax", 1001)
    assert network.facts.size == (224, 224)


def test_the_cut_graph_decodes_no_more(shared: Path) -> None:
    found = examine(read_graph(shared / "legacy/inception2015_style_synthetic/graph.pb"))
    inputs = [each for each in found.graph.node if each.op == "Placeholder"]
    assert [each.name for each in inputs] == ["ResizeBilinear"]
    assert [dim.size for dim in inputs[0].attr["shape"].shape.dim] == [-1, 128, 128, 3]
    assert not {"DecodeJpeg", "ResizeBilinear"} & {each.op for each in found.graph.node}


@pytest.mark.parametrize("spelled", ["Mul", "Mul:0", "import/Mul"])
def test_the_layer_that_the_poets_fed(shared: Path, spelled: str) -> None:
    graph = read_graph(shared / "legacy/inception2015_style_synthetic/graph.pb")
    found = spec_of(graph, input_layer=spelled)
    assert (found.input, found.height, found.scaling) == ("Mul", 128, POETS)


def network(
    name: str = "photo",
    shape: Any = (None, 8, 8, 3),
    dtype: Any = "float32",
    last: str = "scores",
    *more: Any,
) -> Any:
    """Return a graph from pixels to two scores."""
    return new_graph(
        [
            placeholder(name, dtype, shape),
            const("axes", np.array([1, 2], np.int32)),
            node("mean", "Mean", [name, "axes"]),
            const("weights", np.zeros((3, 2), np.float32)),
            node("product", "MatMul", ["mean", "weights"]),
            node(last, "Softmax", ["product"]),
            *more,
        ]
    )


def network_of(graph: Any, **options: Any) -> FrozenNetwork:
    return examine(graph, InputOverrides(**options), "old.pb")


def spec_of(graph: Any, **options: Any) -> InputSpec:
    return specify(network_of(graph, **options).facts, InputOverrides(**options))


def test_an_unknown_input_is_scaled_to_one_and_that_is_assumed() -> None:
    found = spec_of(network())
    assert (found.input, found.output, found.scaling, found.labels) == ("photo", "scores", HUB, 2)
    assert found.assumed


def test_zero_is_a_value_and_a_given_scaling_is_not_assumed() -> None:
    for graph, options, scaling in (
        (network(), {"input_mean": 0.0}, Scaling(0.0, 255.0)),
        (network("input"), {"input_mean": 0.0}, Scaling(0.0, 128.0)),
        (network("input"), {"input_std": 1.0}, Scaling(128.0, 1.0)),
    ):
        found = spec_of(graph, **options)
        assert (found.scaling, found.assumed) == (scaling, False)


def test_sizes_are_overridden_one_by_one() -> None:
    found = spec_of(network(), input_height=16)
    assert (found.height, found.width) == (16, 8)


def test_a_size_that_nothing_tells_is_asked_for() -> None:
    with pytest.raises(GraphError, match=r"old\.pb .* --input_height and --input_width"):
        spec_of(network(shape=None))
    found = spec_of(network(shape=None), input_height=4, input_width=6)
    assert (found.height, found.width) == (4, 6)
    assert spec_of(network("Mul", shape=None)).height == 299


def test_an_input_of_bytes_is_fed_raw() -> None:
    found = spec_of(network(dtype="uint8"))
    assert (found.dtype, found.scaling) == ("uint8", Scaling(0.0, 1.0))


def test_a_final_layer_alone_is_said_to_take_bottlenecks() -> None:
    graph = new_graph(
        [
            placeholder("BottleneckInputPlaceholder", "float32", [None, 3]),
            node("final_result", "Softmax", ["BottleneckInputPlaceholder"]),
        ]
    )
    with pytest.raises(GraphError, match="it takes bottlenecks"):
        spec_of(graph)


def test_a_misspelled_layer_gets_a_suggestion() -> None:
    with pytest.raises(GraphError, match=r"no layer 'phto'.*--input_layer.*'photo'"):
        spec_of(network(), input_layer="phto")
    with pytest.raises(GraphError, match=r"--output_layer.*'scores'"):
        spec_of(network(), output_layer="score:0")


def test_an_output_that_does_not_depend_on_the_input_is_refused() -> None:
    with pytest.raises(GraphError, match="does not depend on the input"):
        spec_of(network(), input_layer="photo", output_layer="weights")


def test_two_outputs_are_named_and_asked_for() -> None:
    graph = network("photo", (None, 8, 8, 3), "float32", "one", node("two", "Softmax", ["product"]))
    with pytest.raises(GraphError, match=r"\('one', 'two'\).*--output_layer"):
        spec_of(graph)
    assert spec_of(graph, output_layer="two").output == "two"


def test_two_inputs_are_named_and_asked_for() -> None:
    other = placeholder("second", "float32", [None, 8, 8, 3])
    graph = network("photo", (None, 8, 8, 3), "float32", "one", other)
    graph.node.append(node("final_result", "Mul", ["one", "second"]))
    with pytest.raises(GraphError, match=r"candidates are 'photo', 'second'\).*--input_layer"):
        spec_of(graph)


def test_a_switch_beside_the_images_is_no_image() -> None:
    switch = placeholder("is_training", "bool", [])
    graph = network("photo", (None, 8, 8, 3), "float32", "one", switch)
    graph.node.append(node("final_result", "Select", ["is_training", "one", "one"]))
    assert spec_of(graph).input == "photo"


@pytest.mark.parametrize("op", ["FloorDiv", "Sub"])
def test_pixels_that_are_changed_before_the_resize_are_not_guessed(op: str) -> None:
    graph = new_graph(
        [
            placeholder("bytes", DTYPE_STRING, []),
            node("decode", "DecodeJpeg", ["bytes"]),
            node("cast", "Cast", ["decode"]),
            const("ten", 10.0),
            node("changed", op, ["cast", "ten"]),
            const("axis", 0),
            node("batch", "ExpandDims", ["changed", "axis"]),
            const("size", np.array([8, 8], np.int32)),
            node("resize", "ResizeBilinear", ["batch", "size"]),
            node("final_result", "Softmax", ["resize"]),
        ]
    )
    with pytest.raises(GraphError, match=f"{op}.*--input_layer"):
        spec_of(graph)
    graph.node[4].op = "Mul"
    scaling = spec_of(graph).scaling
    assert scaling.mean == 0.0
    assert scaling.std == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "inception", "scaling", "assumed"),
    [
        ("input", False, POETS, False),
        ("scope/input", False, POETS, False),
        ("input", True, HUB, False),
        ("Mul", False, POETS, False),
        ("Placeholder", False, HUB, True),
        ("x", False, HUB, True),
    ],
)
def test_scaling_by_name(name: str, inception: bool, scaling: Scaling, assumed: bool) -> None:
    graph = network(name)
    if inception:
        graph.node[2].name = "InceptionV3/mean"
        graph.node[4].input[0] = "InceptionV3/mean"
    found = spec_of(graph)
    assert (found.scaling, found.assumed) == (scaling, assumed)


def test_what_is_fed_in_training_gets_its_value_for_inference() -> None:
    graph = network("x", (None, 8, 8, 3), "float32", "one", placeholder("keep_prob", "float32", []))
    graph.node.extend(
        [
            placeholder("dropout_rate", "float32", []),
            placeholder("is_training", "bool", []),
            node("scaled", "RealDiv", ["one", "keep_prob"]),
            node("less", "Sub", ["scaled", "dropout_rate"]),
            node("final_result", "Select", ["is_training", "one", "less"]),
        ]
    )
    found = network_of(graph)
    assert found.input == "x"
    assert [each.name for each in found.graph.node if each.op == "Placeholder"] == ["x"]
    values = {
        each.name: float(tensor_to_array(each.attr["value"].tensor))
        for each in found.graph.node
        if each.name in ("keep_prob", "dropout_rate", "is_training")
    }
    assert values == {"keep_prob": 1.0, "dropout_rate": 0.0, "is_training": 0.0}


@pytest.mark.parametrize("shape", [(None, 8, 8, 1), (None, 8, 8)])
def test_grey_images(shape: tuple[int | None, ...]) -> None:
    graph = network("photo", shape)
    graph.node[3].CopyFrom(const("weights", np.zeros((1, 2), np.float32)))
    found = spec_of(graph)
    assert (found.channels, found.has_channel_axis) == ("grey", len(shape) == 4)


def test_boxes_are_no_labels() -> None:
    graph = network("photo", (None, 8, 8, 3), "float32", "detection_boxes")
    with pytest.raises(GraphError, match="gives boxes, not labels"):
        network_of(graph)


def test_the_number_of_labels_settles_between_two_outputs() -> None:
    other = [
        const("three", np.zeros((3, 3), np.float32)),
        node("wide", "MatMul", ["mean", "three"]),
    ]
    graph = network("photo", (None, 8, 8, 3), "float32", "one", *other)
    graph.node[5].op = "Sigmoid"
    with pytest.raises(GraphError, match="--output_layer"):
        network_of(graph)
    assert examine(graph, labels=3).output == "wide"
    assert examine(graph, labels=2).output == "one"


@pytest.mark.parametrize("width", [0, 1_000_000])
def test_a_size_that_no_image_has(width: int) -> None:
    nodes = [
        placeholder("images", np.float32, [None, 8, width, 3]),
        const("axes", np.array([1, 2], np.int32)),
        node("means", "Mean", ["images", "axes"]),
        node("final_result", "Softmax", ["means"]),
    ]
    with pytest.raises(GraphError, match=f"images of 8 x {width} pixels, which cannot be right"):
        examine(new_graph(nodes))
