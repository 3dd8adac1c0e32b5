from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlcli.core.heat_maps.linear_head import NoActivationMapError, find_linear_end
from tlcli.graph.nodes import const, new_graph, node, placeholder


def graph_of(*nodes: Any) -> Any:
    return new_graph([placeholder("Placeholder", np.float32, [None, 4, 4, 3]), *nodes])


def averaged(axes: Any, *more: Any) -> Any:
    return graph_of(
        node("features", "Relu", ["Placeholder"], T=np.float32),
        const("axes", np.array(axes, np.int32)),
        node("same_axes", "Identity", ["axes"], T=np.int32),
        node("pooled", "Mean", ["features", "same_axes"], T=np.float32, Tidx=np.int32),
        node("again", "Identity", ["pooled"], T=np.float32),
        const("shape", np.array([-1, 3], np.int32)),
        node("output", "Reshape", ["again:0", "shape"], T=np.float32),
        *more,
    )


@pytest.mark.parametrize("axes", [[1, 2], [2, 1], [-3, -2], [1, -2]])
@pytest.mark.parametrize("output", ["output", "output:0"])
def test_mean_over_the_places(axes: list[int], output: str) -> None:
    found = find_linear_end(averaged(axes), output)
    (only,) = found.maps
    assert only.features == "features"
    assert only.window is only.weights is found.weights is None


@pytest.mark.parametrize("axes", [[2, 3], [1], [0, 1], [3]])
def test_other_means_are_refused(axes: list[int]) -> None:
    with pytest.raises(NoActivationMapError, match="Mean"):
        find_linear_end(averaged(axes), "output")


def pooled(padding: bytes = b"VALID", data_format: bytes = b"NHWC") -> Any:
    return graph_of(
        node("features", "Relu", ["Placeholder"], T=np.float32),
        node(
            "pool",
            "AvgPool",
            ["features"],
            ksize=[1, 4, 3, 1],
            strides=[1, 1, 1, 1],
            padding=padding,
            data_format=data_format,
        ),
        node("output", "Squeeze", ["pool"]),
    )


def test_average_pool() -> None:
    found = find_linear_end(pooled(), "output")
    assert [(each.features, each.window) for each in found.maps] == [("features", (4, 3))]


@pytest.mark.parametrize("graph", [pooled(b"SAME"), pooled(data_format=b"NCHW")])
def test_other_pools_are_refused(graph: Any) -> None:
    with pytest.raises(NoActivationMapError, match="AvgPool"):
        find_linear_end(graph, "output")


WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)
BIASES = np.array([1, -1], np.float32)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("addition", ["Add", "AddV2", "BiasAdd"])
def test_final_layer(transposed: bool, addition: str) -> None:
    graph = averaged(
        [1, 2],
        const("weights", WEIGHTS.T if transposed else WEIGHTS),
        const("biases", BIASES),
        node("product", "MatMul", ["output", "weights"], transpose_b=transposed),
        node("logits", addition, ["product", "biases"], T=np.float32),
        node("final_result", "Softmax", ["logits"], T=np.float32),
    )
    found = find_linear_end(graph, "final_result")
    assert found.weights is not None
    np.testing.assert_array_equal(found.weights, WEIGHTS)


def test_two_layers_are_one() -> None:
    second = np.array([[2, 0, 1], [0, 3, 1]], np.float32)
    graph = averaged(
        [1, 2],
        const("weights", WEIGHTS),
        const("biases", BIASES),
        const("more", second),
        node("product", "MatMul", ["output", "weights"]),
        node("sum", "Add", ["biases", "product"], T=np.float32),
        node("again_product", "MatMul", ["sum", "more"]),
    )
    found = find_linear_end(graph, "again_product")
    assert found.weights is not None
    np.testing.assert_array_equal(found.weights, WEIGHTS @ second)


@pytest.mark.parametrize(
    ("nodes", "output"),
    [
        ([node("output", "MatMul", ["Placeholder", "Placeholder"])], "output"),
        ([node("output", "Relu", ["Placeholder"])], "output"),
        ([], "nowhere"),
        ([], "Placeholder"),
        ([node("a", "Identity", ["b"]), node("b", "Identity", ["a"])], "a"),
        ([node("output", "Mean", ["Placeholder"])], "output"),
        ([node("output", "AvgPool", [])], "output"),
        ([node("parts", "Split", ["Placeholder"]), node("a", "Identity", ["parts:1"])], "a"),
    ],
)
def test_graphs_that_end_otherwise(nodes: list[Any], output: str) -> None:
    with pytest.raises(NoActivationMapError):
        find_linear_end(graph_of(*nodes), output)


def test_a_softmax_between_two_layers_is_not_linear() -> None:
    graph = averaged(
        [1, 2],
        const("weights", WEIGHTS),
        node("soft", "Softmax", ["output"], T=np.float32),
        node("product", "MatMul", ["soft", "weights"]),
    )
    with pytest.raises(NoActivationMapError, match="Softmax"):
        find_linear_end(graph, "product")


@pytest.mark.parametrize(
    ("op", "found"), [("Identity", True), ("StopGradient", True), ("Dequantize", False)]
)
def test_weights_behind_what_leaves_their_values_unchanged(op: str, found: bool) -> None:
    stored = WEIGHTS if found else WEIGHTS.astype(np.uint8)
    graph = averaged(
        [1, 2],
        const("stored", stored),
        node("weights", op, ["stored"], T=np.float32),
        node("logits", "MatMul", ["output", "weights"], T=np.float32),
    )
    if found:
        np.testing.assert_array_equal(find_linear_end(graph, "logits").weights, WEIGHTS)
    else:
        with pytest.raises(NoActivationMapError, match="MatMul"):
            find_linear_end(graph, "logits")


def joint(name: str, parts: list[str], axis: int = 1, rank: int = 0) -> list[Any]:
    stored = np.array([axis] * rank if rank else axis, np.int32)
    read = [*parts, f"{name}/axis"]
    return [
        const(f"{name}/axis", stored),
        node(name, "ConcatV2", read, T=np.float32, N=len(parts), Tidx=np.int32),
    ]


def two_averages(*more: Any) -> Any:
    return averaged(
        [1, 2],
        node("small", "MaxPool", ["Placeholder"], T=np.float32),
        node("mean", "Mean", ["small", "same_axes"], T=np.float32, Tidx=np.int32),
        *more,
    )


@pytest.mark.parametrize("axis", [1, -1])
def test_joined_averages(axis: int) -> None:
    graph = two_averages(
        *joint("inner", ["mean", "output"], axis),
        const("weights", np.ones((9, 2), np.float32)),
        node("same", "Identity", ["inner"], T=np.float32),
        *joint("outer", ["output", "same"], axis, rank=1),
        node("logits", "MatMul", ["outer", "weights"]),
        node("scores", "Softmax", ["logits"], T=np.float32),
    )
    found = find_linear_end(graph, "scores")
    assert [(each.values, each.features) for each in found.maps] == [
        ("output", "features"),
        ("mean", "small"),
        ("output", "features"),
    ]
    assert found.weights is not None
    assert found.weights.shape == (9, 2)


def test_a_linear_layer_before_the_joint() -> None:
    graph = two_averages(
        const("weights", WEIGHTS),
        node("product", "MatMul", ["mean", "weights"]),
        *joint("all", ["output", "product"]),
    )
    found = find_linear_end(graph, "all")
    assert found.weights is found.maps[0].weights is None
    assert (found.maps[1].values, found.maps[1].features) == ("product", "small")
    np.testing.assert_array_equal(found.maps[1].weights, WEIGHTS)


def test_a_part_that_is_no_average_has_a_reason() -> None:
    graph = two_averages(
        node("curved", "Relu", ["mean"], T=np.float32), *joint("all", ["curved", "output"])
    )
    curved, linear = find_linear_end(graph, "all").maps
    assert (curved.values, curved.features) == ("curved", None)
    assert curved.reason == "its operation Relu ('curved') is not linear in averaged features"
    assert linear.features == "features"
    with pytest.raises(NoActivationMapError, match="Relu"):
        find_linear_end(two_averages(*curved_only()), "all")


def curved_only() -> list[Any]:
    return [
        node("curved", "Relu", ["mean"], T=np.float32),
        node("again_curved", "Relu", ["output"], T=np.float32),
        *joint("all", ["curved", "again_curved"]),
    ]


@pytest.mark.parametrize(
    "nodes",
    [
        joint("all", ["output", "mean"], axis=0),
        [node("all", "ConcatV2", ["output", "mean", "Placeholder"], T=np.float32)],
        [node("all", "ConcatV2", ["same_axes"], T=np.float32)],
    ],
)
def test_other_joints_are_refused(nodes: list[Any]) -> None:
    with pytest.raises(NoActivationMapError, match="ConcatV2"):
        find_linear_end(two_averages(*nodes), "all")


def test_weights_between_two_joints_are_a_reason() -> None:
    graph = two_averages(
        *joint("inner", ["output", "mean"]),
        const("weights", np.ones((6, 2), np.float32)),
        node("product", "MatMul", ["inner", "weights"]),
        *joint("all", ["output", "product"]),
    )
    assert "before they are joined again" in find_linear_end(graph, "all").maps[1].reason


def test_joints_that_read_joints_end() -> None:
    levels = [joint(f"joint_{n + 1}", [f"joint_{n}", f"joint_{n}"]) for n in range(40)]
    nodes = [*joint("joint_0", ["output", "mean"]), *(each for level in levels for each in level)]
    with pytest.raises(NoActivationMapError, match="more than 256 parts"):
        find_linear_end(two_averages(*nodes), "joint_40")
