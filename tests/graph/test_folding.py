from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from tlcli.graph.folding import fold_batch_norms, fold_constants
from tlcli.graph.nodes import DataType, const, new_graph, node, placeholder, tensor_to_array
from tlcli.graph.shapes import widen_batch
from tlcli.graph.simplify import simplify
from tlcli.graph.surgery import PLAIN_OPERATIONS
from tlcli.runtime.tensorflow import GraphEngine

FLOAT = np.float32
RNG = np.random.default_rng(7)


def values(*shape: int) -> Any:
    return RNG.normal(0, 1, shape).astype(FLOAT)


def positive(*shape: int) -> Any:
    return RNG.uniform(0.5, 2, shape).astype(FLOAT)


def image(channels: int = 3) -> Any:
    return placeholder("x", FLOAT, [None, 5, 5, channels])


def convolution(name: str = "conv", source: str = "x", width: int = 4, depth: int = 3) -> list[Any]:
    return [
        const(f"{name}/weights", values(3, 3, depth, width)),
        node(
            name,
            "Conv2D",
            [source, f"{name}/weights"],
            T=FLOAT,
            strides=[1, 2, 2, 1],
            padding="SAME",
            data_format="NHWC",
        ),
    ]


def norm(op: str, source: str, name: str = "norm", width: int = 4, **attrs: Any) -> list[Any]:
    kinds = {"T": FLOAT} if op == "FusedBatchNorm" else {"T": FLOAT, "U": FLOAT}
    return [
        *(const(f"{name}/{part}", positive(width)) for part in ("gamma", "beta", "mean", "var")),
        node(
            name,
            op,
            [source, *(f"{name}/{part}" for part in ("gamma", "beta", "mean", "var"))],
            **{"is_training": False, "epsilon": 0.01, "data_format": "NHWC", **kinds, **attrs},
        ),
    ]


def operations(graph: Any) -> list[str]:
    return [each.op for each in graph.node if each.op not in ("Const", "Placeholder")]


def folded(nodes: list[Any], output: str, channels: int = 3, shape: Any = None) -> list[str]:
    """Fold, check that TensorFlow gives the same, and return the operations that are left."""
    graph = new_graph(nodes)
    result = fold_batch_norms(fold_constants(graph, [output]), [output])
    batch = values(*(shape or (2, 5, 5, channels)))
    before, after = (GraphEngine(each, "x", output).run(batch) for each in (graph, result))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5 * float(np.abs(before).max()))
    return operations(result)


@pytest.mark.parametrize("op", ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"])
def test_fused_batch_norm(op: str) -> None:
    assert folded([image(), *convolution(), *norm(op, "conv")], "norm") == ["Conv2D", "BiasAdd"]


def test_bias_between_convolution_and_batch_norm() -> None:
    bias = [const("b", values(1, 1, 1, 4)), node("biased", "AddV2", ["conv", "b"], T=FLOAT)]
    nodes = [image(), *convolution(), *bias, *norm("FusedBatchNormV3", "biased")]
    assert folded(nodes, "norm") == ["Conv2D", "BiasAdd"]


def test_decomposed_batch_norm_with_constants_to_evaluate() -> None:
    nodes = [
        image(),
        *convolution(),
        const("var", positive(4)),
        const("eps", FLOAT(1e-3)),
        node("add", "AddV2", ["var", "eps"], T=FLOAT),
        node("rsqrt", "Rsqrt", ["add"], T=FLOAT),
        node("mul", "Mul", ["conv", "rsqrt"], T=FLOAT),
        const("mean", values(4)),
        node("mul2", "Mul", ["mean", "rsqrt"], T=FLOAT),
        const("beta", values(4)),
        node("sub", "Sub", ["beta", "mul2"], T=FLOAT),
        node("out", "AddV2", ["sub", "mul"], T=FLOAT),
    ]
    assert folded(nodes, "out") == ["Conv2D", "BiasAdd"]


@pytest.mark.parametrize("constant_first", [True, False])
@pytest.mark.parametrize("op", ["Sub", "Mul", "Add", "RealDiv"])
def test_single_steps(op: str, constant_first: bool) -> None:
    inputs = ["c", "conv"] if constant_first else ["conv", "c"]
    nodes = [image(), *convolution(), const("c", positive(4)), node("out", op, inputs, T=FLOAT)]
    left = folded(nodes, "out")
    assert left == (
        ["Conv2D", "RealDiv"] if op == "RealDiv" and constant_first else ["Conv2D", "BiasAdd"]
    )


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise(multiplier: int) -> None:
    nodes = [
        image(),
        const("w", values(3, 3, 3, multiplier)),
        node(
            "conv",
            "DepthwiseConv2dNative",
            ["x", "w"],
            T=FLOAT,
            strides=[1, 1, 1, 1],
            padding="VALID",
        ),
        *norm("FusedBatchNormV3", "conv", width=3 * multiplier),
    ]
    assert folded(nodes, "norm") == ["DepthwiseConv2dNative", "BiasAdd"]


@pytest.mark.parametrize("transposed", [True, False])
def test_matrix_product(transposed: bool) -> None:
    nodes = [
        placeholder("x", FLOAT, [None, 3]),
        const("w", values(4, 3) if transposed else values(3, 4)),
        node("dot", "MatMul", ["x", "w"], T=FLOAT, transpose_b=transposed),
        const("s", values(4)),
        node("mul", "Mul", ["dot", "s"], T=FLOAT),
        const("b", values(1, 4)),
        node("out", "Add", ["mul", "b"], T=FLOAT),
    ]
    assert folded(nodes, "out", shape=(2, 3)) == ["MatMul", "BiasAdd"]


def test_norm_after_something_else_becomes_two_steps() -> None:
    nodes = [
        image(),
        node("relu", "Relu", ["x"], T=FLOAT),
        *norm("FusedBatchNormV3", "relu", width=3),
    ]
    assert folded(nodes, "norm") == ["Relu", "Mul", "AddV2"]


def test_chain_after_something_else_becomes_two_steps() -> None:
    steps = [image(), const("a", values(3)), const("b", FLOAT(2)), const("c", values(3))]
    steps += [
        node("sub", "Sub", ["a", "x"], T=FLOAT),
        node("div", "RealDiv", ["sub", "b"], T=FLOAT),
        node("neg", "Neg", ["div"], T=FLOAT),
        node("out", "Add", ["neg", "c"], T=FLOAT),
    ]
    assert folded(steps, "out") == ["Mul", "AddV2"]


def test_convolution_read_twice_keeps_its_values() -> None:
    nodes = [
        image(),
        *convolution(),
        *norm("FusedBatchNormV3", "conv"),
        node("out", "Add", ["norm", "conv"], T=FLOAT),
    ]
    assert sorted(folded(nodes, "out")) == ["Add", "AddV2", "Conv2D", "Mul"]


def test_convolution_that_is_an_output_keeps_its_values() -> None:
    graph = new_graph([image(), *convolution(), *norm("FusedBatchNormV3", "conv")])
    result = fold_batch_norms(graph, ["norm", "conv"])
    assert operations(result) == ["Conv2D", "Mul", "AddV2"]
    batch = values(1, 5, 5, 3)
    before, after = (GraphEngine(each, "x", "conv").run(batch) for each in (graph, result))
    np.testing.assert_array_equal(before, after)


def test_weights_read_twice_are_folded_apart() -> None:
    first, second = convolution(), convolution("other")[1:]
    second[0].input[1] = "conv/weights"
    nodes = [
        image(),
        *first,
        *second,
        *norm("FusedBatchNormV3", "conv"),
        *norm("FusedBatchNormV3", "other", "norm2"),
        node("out", "Add", ["norm", "norm2"], T=FLOAT),
    ]
    assert sorted(folded(nodes, "out")) == ["Add", "BiasAdd", "BiasAdd", "Conv2D", "Conv2D"]


def test_hard_swish_is_left_alone() -> None:
    nodes = [
        image(),
        *convolution(),
        *norm("FusedBatchNormV3", "conv"),
        const("three", FLOAT(3)),
        const("sixth", FLOAT(1 / 6)),
        node("shifted", "AddV2", ["norm", "three"], T=FLOAT),
        node("relu", "Relu6", ["shifted"], T=FLOAT),
        node("scaled", "Mul", ["relu", "sixth"], T=FLOAT),
        node("out", "Mul", ["norm", "scaled"], T=FLOAT),
    ]
    assert folded(nodes, "out") == ["Conv2D", "BiasAdd", "AddV2", "Relu6", "Mul", "Mul"]


def test_constants_that_are_not_per_channel_are_left_alone() -> None:
    nodes = [
        image(),
        *convolution(),
        const("map", values(1, 3, 3, 1)),
        node("out", "Mul", ["conv", "map"], T=FLOAT),
    ]
    assert folded(nodes, "out") == ["Conv2D", "Mul"]


def test_constant_that_raises_the_rank_is_left_alone() -> None:
    nodes = [
        placeholder("x", FLOAT, [None, 3]),
        const("w", values(3, 4)),
        node("dot", "MatMul", ["x", "w"], T=FLOAT),
        const("c", values(1, 1, 1, 4)),
        node("out", "Mul", ["dot", "c"], T=FLOAT),
    ]
    assert folded(nodes, "out", shape=(2, 3)) == ["MatMul", "Mul"]


def test_norm_in_training_stays() -> None:
    training = norm("FusedBatchNormV3", "conv", is_training=True)
    graph = new_graph([image(), *convolution(), *training])
    operations = {each.op for each in fold_batch_norms(graph, ["norm"]).node}
    assert operations - PLAIN_OPERATIONS == {"FusedBatchNormV3"}
    assert widen_batch(graph, "x", ["norm"])[1] is False


def test_new_names_do_not_collide() -> None:
    nodes = [image(), *convolution(), *norm("FusedBatchNormV3", "conv")]
    nodes += [const("norm/bias", values(4)), node("out", "Maximum", ["norm", "norm/bias"], T=FLOAT)]
    assert folded(nodes, "out") == ["Conv2D", "BiasAdd", "Maximum"]


@pytest.mark.parametrize("scaled", [True, False])
def test_old_norm_and_concat_of_2015(scaled: bool) -> None:
    parts = {"mean": values(4), "var": positive(4), "beta": values(4), "gamma": values(4)}
    nodes = [
        image(),
        *convolution(),
        *(const(name, value) for name, value in parts.items()),
        node(
            "norm",
            "BatchNormWithGlobalNormalization",
            ["conv", *parts],
            T=FLOAT,
            variance_epsilon=0.001,
            scale_after_normalization=scaled,
        ),
        const("axis", np.int32(3)),
        node("x2", "Relu", ["conv"], T=FLOAT),
        node("out", "Concat", ["axis", "norm", "x2"], T=FLOAT, N=2),
    ]
    alone = [each for each in nodes if each.name not in ("axis", "x2", "out")]
    for chosen, output, left in (
        (nodes, "out", ["AddV2", "ConcatV2", "Conv2D", "Mul", "Relu"]),
        (alone, "norm", ["BiasAdd", "Conv2D"]),
    ):
        graph = new_graph(chosen)
        graph.versions.producer = 8  # the last that had this operation
        result = simplify(graph, "x", [output])
        assert sorted(operations(result)) == left
        batch = values(2, 5, 5, 3)
        before, after = (GraphEngine(each, "x", output).run(batch) for each in (graph, result))
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_folding_imports_no_tensorflow_for_usual_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    quantised = const("q", np.array([0, 255], np.uint8))
    quantised.attr["dtype"].type = quantised.attr["value"].tensor.dtype = DataType.QUINT8
    graph = new_graph(
        [
            placeholder("x", FLOAT, [None, 2]),
            quantised,
            const("lo", FLOAT(-1)),
            const("hi", FLOAT(1)),
            node("w", "Dequantize", ["q", "lo", "hi"], T=DataType.QUINT8, mode="MIN_COMBINED"),
            node("out", "Mul", ["x", "w"], T=FLOAT),
        ]
    )
    result = fold_constants(graph, ["out"])
    assert operations(result) == ["Mul"]
    [weights] = [each for each in result.node if each.op == "Const"]
    assert tensor_to_array(weights.attr["value"].tensor).tolist() == [-1.0, 1.0]


def test_the_rest_is_left_to_tensorflow() -> None:
    nodes = [
        placeholder("x", FLOAT, [None, 2]),
        const("c", np.array([[1, 3]], FLOAT)),
        node("soft", "Softmax", ["c"], T=FLOAT),
        node("out", "Mul", ["x", "soft"], T=FLOAT),
    ]
    assert folded(nodes, "out", shape=(2, 2)) == ["Mul"]


def test_operations_outside_inference_are_never_run() -> None:
    graph = new_graph(
        [
            placeholder("x", FLOAT, [None]),
            const("path", np.array(b"/etc/hostname", object)),
            node("read", "ReadFile", ["path"]),
            node("raw", "DecodeRaw", ["read"], out_type=FLOAT),
            node("out", "Mul", ["x", "raw"], T=FLOAT),
        ]
    )
    assert operations(fold_constants(graph, ["out"])) == ["ReadFile", "DecodeRaw", "Mul"]
