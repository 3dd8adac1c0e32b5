"""The rewrite to bfloat16: which layers, where the casts are, and the values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from tlcli.backbones.resolve import resolve
from tlcli.graph.bfloat16 import bfloat16_graph, to_bfloat16
from tlcli.graph.nodes import DataType, const, new_graph, node, placeholder
from tlcli.graph.surgery import needed_nodes, nodes_by_name
from tlcli.runtime.tensorflow import GraphEngine

F = np.float32
Array = np.ndarray[Any, Any]
ONES = [1, 1, 1, 1]


def from_bfloat16(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the values of bfloat16 bits as float32, which represents them all."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(values: Array) -> Array:
    return from_bfloat16(to_bfloat16(values))


def integers(seed: int, *shape: int) -> Array:
    """Return small integers: their products and sums are exact in float32."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(F)


def convolution(name: str, source: str, kernel: Array, op: str = "Conv2D") -> list[Any]:
    return [
        const(f"{name}/kernel", kernel),
        node(
            name, op, [source, f"{name}/kernel"],
            T=F, strides=ONES, padding="SAME", data_format="NHWC",
        ),
    ]  # fmt: skip


def binary(name: str, op: str, source: str, values: Array) -> list[Any]:
    return [const(f"{name}/values", values), node(name, op, [source, f"{name}/values"], T=F)]


def mean(name: str, source: str) -> list[Any]:
    axes = const(f"{name}/axes", np.array([1, 2], np.int32))
    return [axes, node(name, "Mean", [source, f"{name}/axes"], T=F, Tidx=np.int32, keep_dims=False)]


def types(graph: Any) -> dict[str, str]:
    """Return the precision of every operation that has one."""
    found = {}
    for each in graph.node:
        kind = each.attr["dtype" if each.op in ("Const", "Placeholder") else "T"].type
        if kind:
            found[each.name] = DataType(kind).name
    return found


def casts(graph: Any) -> list[tuple[str, str]]:
    return [(each.name, each.input[0]) for each in graph.node if each.op == "Cast"]


KERNEL = integers(1, 1, 1, 3, 4) / F(700)


def network() -> Any:
    """Return a network with all that the backbones have: scaling, a branch, a mean, a product."""
    return new_graph([
        placeholder("in", F, [None, 4, 4, 3]),
        *binary("scale", "Mul", "in", np.array(255, F)),
        *binary("shift", "Sub", "scale", np.array(127, F)),
        *convolution("first", "shift", KERNEL),
        *binary("bias", "BiasAdd", "first", integers(2, 4)),
        node("active", "Relu6", ["bias"], T=F),
        *convolution("deep", "active", integers(3, 3, 3, 4, 1), "DepthwiseConv2dNative"),
        node("sum", "AddV2", ["active", "deep"], T=F),
        node(
            "window", "MaxPool", ["sum"],
            T=F, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME", data_format="NHWC",
        ),
        const("axis", np.array(3, np.int32)),
        node("joined", "ConcatV2", ["window", "window", "axis"], T=F, Tidx=np.int32, N=2),
        *mean("pooled", "joined"),
        const("weights", integers(4, 8, 5)),
        node("scores", "MatMul", ["pooled", "weights"], T=F),
    ])  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(
    hypothesis_numpy.arrays(F, st.integers(0, 20), elements=st.floats(width=32, allow_nan=False))
)
def test_rounding_is_to_the_nearest_of_two_neighbours(values: Array) -> None:
    given_bits = to_bfloat16(values)
    below = values.view(np.uint32) >> 16
    candidates = [from_bfloat16(bits.astype(np.uint16)) for bits in (below, below + 1)]
    with np.errstate(over="ignore", invalid="ignore"):
        distances = [np.abs(each.astype(float) - values.astype(float)) for each in candidates]
    up = given_bits == (below + 1).astype(np.uint16)
    assert (up | (given_bits == below.astype(np.uint16))).all()
    finite = np.isfinite(candidates[1]) & np.isfinite(values)
    assert (distances[0][up & finite] >= distances[1][up & finite]).all()
    assert (distances[0][~up & finite] <= distances[1][~up & finite]).all()


def test_rounding_of_ties_limits_and_numbers_that_are_none() -> None:
    values = np.array([1.00390625, 1.01171875, -0.0, np.inf, -np.inf, 3.4e38], F)
    assert rounded(values).tolist() == [1.0, 1.015625, 0.0, np.inf, -np.inf, np.inf]
    assert np.isnan(rounded(np.array([np.nan, -np.nan], F))).all()
    assert np.isnan(from_bfloat16(to_bfloat16(np.array([0x7F800001], np.uint32).view(F)))).all()
    assert to_bfloat16(F(1.0)).shape == ()


def test_heavy_layers_and_what_lies_between_them_change() -> None:
    changed = bfloat16_graph(network(), "in", "scores")
    found = types(changed)
    low = {"first", "bias", "active", "deep", "sum", "window", "joined"}
    assert {name for name in low if found[name] == "BFLOAT16"} == low
    # Scaling, the mean and the last product keep their digits.
    for name in ("in", "scale", "shift", "pooled", "scores", "weights", "scale/values"):
        assert found[name] == "FLOAT", name
    assert sorted(casts(changed)) == [
        ("joined/to_float32", "joined"),
        ("shift/to_bfloat16", "shift"),
    ]
    nodes = nodes_by_name(changed)
    # Weights are stored in two bytes and their float32 is gone.
    kernel = nodes["first"].input[1]
    assert nodes[kernel].attr["value"].tensor.tensor_content == (
        to_bfloat16(KERNEL).astype("<u2").tobytes()
    )
    assert "first/kernel" not in nodes
    assert found["axis"] == "INT32"
    assert network() == network()  # what was given is not changed


def test_depthwise_layers_may_stay_float32() -> None:
    changed = bfloat16_graph(network(), "in", "scores", depthwise=False)
    found = types(changed)
    assert found["deep"] == found["deep/kernel"] == "FLOAT"
    assert found["sum"] == found["active"] == "BFLOAT16"
    assert sorted(casts(changed)) == [
        ("active/to_float32", "active"),
        ("deep/to_bfloat16", "deep"),
        ("joined/to_float32", "joined"),
        ("shift/to_bfloat16", "shift"),
    ]


def test_an_output_in_bfloat16_keeps_its_name_as_float32() -> None:
    nodes = [
        placeholder("in", F, [None, 2, 2, 3]),
        *convolution("conv", "in", integers(1, 1, 1, 3, 4)),
        const("shape", np.array([-1, 16], np.int32)),
        node("vector", "Reshape", ["conv", "shape"], T=F, Tshape=np.int32),
    ]
    changed = bfloat16_graph(new_graph(nodes), "in", "vector")
    assert casts(changed) == [("in/to_bfloat16", "in"), ("vector", "vector/bfloat16")]
    assert types(changed)["vector/bfloat16"] == "BFLOAT16"
    assert len(needed_nodes(changed, ["vector"])) == len(changed.node)


def test_one_pixel_and_the_last_product_stay_float32() -> None:
    nodes = [
        placeholder("in", F, [None, 4, 4, 3]),
        *convolution("conv", "in", integers(1, 1, 1, 3, 4)),
        node(
            "pool", "AvgPool", ["conv"],
            T=F, ksize=[1, 4, 4, 1], strides=ONES, padding="VALID", data_format="NHWC",
        ),
        *convolution("squeezed", "pool", integers(2, 1, 1, 4, 4)),
        node("gate", "Sigmoid", ["squeezed"], T=F),
        node("gated", "Mul", ["conv", "gate"], T=F),
        *convolution("next", "gated", integers(3, 1, 1, 4, 4)),
        const("shape", np.array([-1, 4], np.int32)),
        node("rows", "Reshape", ["next", "shape"], T=F, Tshape=np.int32),
        const("one", integers(4, 4, 4)),
        node("middle", "MatMul", ["rows", "one"], T=F),
        const("two", integers(5, 4, 2)),
        node("last", "MatMul", ["middle", "two"], T=F),
    ]  # fmt: skip
    found = types(bfloat16_graph(new_graph(nodes), "in", "last"))
    for name in ("pool", "squeezed", "gate", "last", "two"):
        assert found[name] == "FLOAT", name
    for name in ("conv", "gated", "next", "rows", "middle"):
        assert found[name] == "BFLOAT16", name


def test_sizes_are_read_without_a_cast() -> None:
    nodes = [
        placeholder("in", F, [None, 2, 2, 3]),
        *convolution("conv", "in", integers(1, 1, 1, 3, 4)),
        node("shape", "Shape", ["conv"], T=F, out_type=np.int32),
        node("again", "Reshape", ["conv", "shape"], T=F, Tshape=np.int32),
        *mean("vector", "again"),
    ]
    changed = bfloat16_graph(new_graph(nodes), "in", "vector")
    assert nodes_by_name(changed)["shape"].input[0] == "conv"
    assert len(casts(changed)) == 2
    with GraphEngine(changed, "in", "vector") as engine:
        assert engine.run(np.ones((1, 2, 2, 3), F)).shape == (1, 4)


def test_other_types_and_graphs_without_a_heavy_layer_stay() -> None:
    graph = new_graph([
        placeholder("in", F, [None, 4, 4, 3]),
        node("active", "Relu", ["in"], T=F),
        *mean("vector", "active"),
    ])  # fmt: skip
    assert nodes_by_name(bfloat16_graph(graph, "in", "vector")) == nodes_by_name(graph)
    double = new_graph([placeholder("in", np.float64, [None, 3]), const("w", np.ones((3, 3)))])
    double.node.extend([
        node("a", "MatMul", ["in", "w"], T=np.float64),
        node("b", "MatMul", ["a", "w"], T=np.float64),
    ])  # fmt: skip
    assert nodes_by_name(bfloat16_graph(double, "in", "b")) == nodes_by_name(double)


def test_values_are_those_of_an_emulation() -> None:
    first, second = integers(1, 3, 40), integers(2, 40, 7)
    graph = new_graph([
        placeholder("in", F, [None, 4, 4, 3]),
        *convolution("first", "in", first[None, None]),
        *convolution("second", "first", second[None, None]),
        *mean("vector", "second"),
    ])  # fmt: skip
    images = integers(3, 5, 4, 4, 3) * F(7.125)
    # Sums of these are exact in float32, so that only the roundings between layers count.
    middle = rounded(rounded(images) @ first)
    expected = rounded(middle @ second).mean((1, 2))
    plain = (images @ first @ second).mean((1, 2))
    assert np.abs(expected - plain).max() > 0.3
    with GraphEngine(bfloat16_graph(graph, "in", "vector"), "in", "vector") as engine:
        given_vectors = engine.run(images)
    assert given_vectors.dtype == np.float32
    np.testing.assert_allclose(given_vectors, expected, rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("depthwise", [True, False])
def test_a_whole_network_runs_and_stays_near(depthwise: bool) -> None:
    images = np.random.default_rng(5).random((3, 4, 4, 3), dtype=F)
    graph = network()
    changed = bfloat16_graph(graph, "in", "scores", depthwise)
    with GraphEngine(graph, "in", "scores") as full, GraphEngine(changed, "in", "scores") as low:
        expected, found = full.run(images), low.run(images)
    assert found.shape == expected.shape
    assert 0 < np.abs(found - expected).max() <= 0.03 * np.abs(expected).max()


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_lite0",
        "legacy/backbones/mobilenet_v1_0.25_128/frozen_graph.pb",
        "legacy/inception2015_style_synthetic/graph.pb",
    ],
)
def test_all_large_layers_of_real_networks_change(name: str, shared: Path) -> None:
    graph = resolve(str(shared / name) if "/" in name else name).load_graph()
    changed = bfloat16_graph(graph.graph, "Placeholder", graph.output)
    found = types(changed)
    kinds = [found[each.name] for each in changed.node if "Conv2" in each.op]
    # MobileNet's scores are a convolution over one pixel.
    assert len(kinds) - kinds.count("BFLOAT16") == (1 if "0.25_128" in name else 0)
    assert len(kinds) > 25
    assert len(casts(changed)) == 2
    assert changed.ByteSize() < 0.8 * graph.graph.ByteSize()
