"""The range of a network's input, by its first operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlcli.core.model_spec.first_operations import GraphSteps
from tlcli.core.model_spec.input_spec import PIXELS, SIGNED, UNIT, Scaling, shown_range
from tlcli.graph.nodes import const, new_graph, node, placeholder

IMAGENET_MEAN, IMAGENET_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ("steps", "scaling"),
    [
        ([("times", 1 / 255)], PIXELS),
        ([("by", 255.0)], PIXELS),
        ([("times", 1 / 127.5), ("plus", -1.0)], PIXELS),
        ([("minus", 127.5), ("by", 127.5)], PIXELS),
        ([("minus", np.array([123.68, 116.78, 103.94]))], PIXELS),
        ([("minus", 255 * IMAGENET_MEAN), ("by", 255 * IMAGENET_STD)], PIXELS),
        ([("minus", IMAGENET_MEAN), ("by", IMAGENET_STD)], UNIT),
        ([("times", 2.0), ("minus", 1.0)], UNIT),
        ([("minus", 0.5), ("times", 2.0)], UNIT),
        ([("times", 255.0)], UNIT),
        ([("plus", 1.0), ("times", 127.5)], SIGNED),
        ([("between", [0.0, 1.0])], UNIT),
        ([("between", [-1.0, 0.992])], SIGNED),
        ([("between", [0.0, 255.0])], PIXELS),
        ([("between", [-2.1, 2.6])], None),
        ([("between", [-2.1, 2.6]), ("times", 1 / 255)], PIXELS),
        ([], None),
        ([("times", 1.0)], None),
        ([("times", 0.0)], None),
        ([("plus", np.nan)], None),
    ],
)
def test_the_range_that_arithmetic_shows(steps: list[Any], scaling: Scaling | None) -> None:
    found = shown_range([(kind, np.asarray(value, np.float64)) for kind, value in steps])
    assert (None if found is None else found[0]) == scaling


def graph(*nodes: Any) -> Any:
    return new_graph([placeholder("x", "float32", (None, 8, 8, 3)), *nodes])


def kinds(steps: list[Any]) -> list[tuple[str, float]]:
    return [(kind, pytest.approx(float(np.mean(value)))) for kind, value in steps]


def test_steps_end_at_the_first_layer_that_learns() -> None:
    network = graph(
        node("same", "Identity", ["x"]),
        const("factor", 0.5),
        node("scaled", "Mul", ["factor", "same"]),
        const("shift", np.array([1.0, 2.0, 3.0], np.float32)),
        node("shifted", "Sub", ["scaled", "shift"]),
        node("shape", "Shape", ["shifted"]),
        node("pooled", "MaxPool", ["shifted"]),
        node("later", "Mul", ["pooled", "factor"]),
        node("weights", "MatMul", ["later", "factor"]),
        node("sliced", "StridedSlice", ["weights"]),
        node("scores", "Softmax", ["sliced"]),
        node("mean", "Mul", ["scores", "factor"]),
    )
    shown = GraphSteps(network)
    assert kinds(shown.steps("x")) == [("times", 0.5), ("minus", 2.0)]
    assert shown.activation("scores") == "softmax"
    assert shown.activation("sliced:0") == "logits"
    assert shown.activation("mean") is None
    assert shown.activation("absent") is None


def test_a_batch_normalisation_of_pixels_is_seen() -> None:
    three = np.full(3, 1.0, np.float32)
    network = graph(
        *(
            const(name, three * value)
            for name, value in (("s", 1), ("o", 0), ("m", 120), ("v", 3600))
        ),
        node("normalised", "FusedBatchNormV3", ["x", "s", "o", "m", "v"], epsilon=0.001),
        node("convolved", "Conv2D", ["normalised", "s"]),
    )
    found = shown_range(GraphSteps(network).steps("x"))
    assert found is not None
    assert found[0] == PIXELS


def test_what_is_subtracted_from_a_constant_is_no_step() -> None:
    network = graph(const("c", 255.0), node("inverted", "Sub", ["c", "x"]))
    assert GraphSteps(network).steps("x") == []


def calling(body: list[Any], result: str) -> Any:
    network = graph(const("factor", np.float32(1 / 255)))
    function = network.library.function.add()
    function.signature.name = "network"
    for name in ("pixels", "given"):
        function.signature.input_arg.add().name = name
    function.signature.output_arg.add().name = "result"
    function.node_def.extend(body)
    function.ret["result"] = result
    call = node("call", "PartitionedCall", ["x", "factor"])
    call.attr["f"].func.name = "network"
    network.node.append(call)
    network.node.append(node("out", "Identity", ["call"]))
    return network


def test_steps_and_scores_inside_a_function() -> None:
    body = [
        node("scaled", "Mul", ["pixels", "given"]),
        node("pool", "AvgPool", ["scaled:z:0"]),
        node("probabilities", "Sigmoid", ["pool:output:0"]),
        node("same", "Identity", ["probabilities:y:0"]),
    ]
    shown = GraphSteps(calling(body, "same:output:0"))
    assert kinds(shown.steps("x")) == [("times", 1 / 255)]
    assert shown.activation("out:0") == "sigmoid"


def test_a_function_that_calls_itself_ends() -> None:
    inner = node("again", "PartitionedCall", ["pixels", "given"])
    inner.attr["f"].func.name = "network"
    shown = GraphSteps(calling([inner], "again:output:0"))
    assert shown.steps("x") == []
    assert shown.activation("out") is None
