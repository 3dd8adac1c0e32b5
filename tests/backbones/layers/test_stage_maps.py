from __future__ import annotations

import numpy as np
import pytest

from tests.backbones.layers.networks import FLOAT, Network, inverted, residual
from tlcli.backbone import INPUT, BackboneGraph
from tlcli.backbones.layers.stage_maps import find_stage_maps
from tlcli.backbones.resolve import resolve
from tlcli.errors import BackboneError, GraphError
from tlcli.graph.nodes import const


def found(loaded: BackboneGraph, side: int = 16) -> list[tuple[str, str, int, float]]:
    maps = find_stage_maps(loaded, side, side)
    return [(each.name, each.tensor, each.size, each.weight) for each in maps]


def test_inverted_residuals_give_the_end_of_each_stage_and_activated_spatial_maps() -> None:
    assert found(inverted()) == [
        ("b4/add", "b4/add", 4, 0.5),
        ("b4/spatial", "b4/spatial/mul", 8, 1.0),
        ("b3/spatial", "b3/spatial/mul", 8, 1.0),
        ("b2/add", "b2/add", 4, 0.5),
        ("b2/spatial", "b2/spatial/mul", 8, 0.5),
    ]


def test_a_sum_that_is_averaged_itself_is_no_map_beside_the_head() -> None:
    assert found(residual()) == [
        ("b2/two", "b2/two/Relu", 4, 1.0),
        ("b1/out/Relu", "b1/out/Relu", 4, 0.5),
        ("b1/two", "b1/two/Relu", 4, 0.5),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet_lite0", "block 15, depthwise 15, depthwise 14, block 10, depthwise 10"),
        ("efficientnet_lite1", "block 20, depthwise 20, depthwise 19, depthwise 16"),
        ("efficientnet_lite2", "block 20, depthwise 20, depthwise 19, depthwise 16"),
    ],
)
def test_the_maps_of_efficientnet_lite(name: str, expected: str) -> None:
    try:
        backbone = resolve(name)
    except BackboneError:
        pytest.skip(f"the wheel of {name} is not installed")

    maps = find_stage_maps(backbone.load_graph(), backbone.height, backbone.width)

    assert ", ".join(each.name for each in maps) == expected


def test_a_map_that_is_joined_to_the_last_one_is_left_out() -> None:
    network = Network(4)
    first = network.relu(network.convolution("first", INPUT, (3, 3, 3, 2)))
    inner = network.relu(network.convolution("inner", first, (3, 3, 2, 2)))
    parts = [
        network.relu(network.convolution(name, inner, (1, 3, 2, 2))) for name in ("wide", "wider")
    ]
    network.nodes.append(const("axis", np.array(3, np.int32)))
    joined = network.add("joined", "ConcatV2", [*parts, "axis"], N=2, Tidx=np.int32)

    maps = found(network.loaded(network.pooled(joined), 4), 4)

    assert maps == [("inner", "inner/Relu", 2, 1.0), ("first", "first/Relu", 2, 1.0)]


def test_a_last_map_that_is_pooled_belongs_to_the_stage_before_it() -> None:
    network = Network(8)
    maps = INPUT
    for stage in ("1", "2"):
        for layer in ("a", "b"):
            shape = (3, 3, 3 if maps == INPUT else 4, 4)
            maps = network.relu(network.convolution(stage + layer, maps, shape))
        maps = network.add(
            f"pool{stage}", "MaxPool", [maps],
            ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID", data_format="NHWC",
        )  # fmt: skip

    assert found(network.loaded(network.pooled(maps), 4), 8) == [
        ("2b", "2b/Relu", 4, 0.5),
        ("2a", "2a/Relu", 4, 1.0),
        ("1b", "1b/Relu", 4, 0.5),
        ("1a", "1a/Relu", 4, 0.5),
    ]


def flattened() -> BackboneGraph:
    network = Network(4)
    wide = network.relu(network.convolution("only", INPUT, (3, 3, 3, 2)))
    network.nodes.append(const("sizes", np.array([-1, 32], np.int32)))
    return network.loaded(network.add("flat", "Reshape", [wide, "sizes"], Tshape=np.int32), 32)


def of_two_maps() -> BackboneGraph:
    network = Network(4)
    one, two = (
        network.pooled(network.relu(network.convolution(name, INPUT, (3, 3, 3, 2))), f"of_{name}")
        for name in ("one", "two")
    )
    network.nodes.append(const("axis", np.array(1, np.int32)))
    both = network.add("both", "ConcatV2", [one, two, "axis"], N=2, Tidx=np.int32)
    return network.loaded(both, 4)


def without_convolutions() -> BackboneGraph:
    network = Network(4)
    return network.loaded(network.pooled(INPUT), 3)


@pytest.mark.parametrize(
    ("loaded", "reason"),
    [
        (flattened(), "no average of a map"),
        (of_two_maps(), "not the average of one map"),
        (without_convolutions(), "no convolutions before"),
    ],
)
def test_other_graphs_are_refused_with_a_reason(loaded: BackboneGraph, reason: str) -> None:
    with pytest.raises(GraphError, match=reason):
        find_stage_maps(loaded, 4, 4)


def test_layers_after_the_average_make_the_last_map_one_more() -> None:
    network = Network(4)
    last = network.relu(network.convolution("last", INPUT, (3, 3, 3, 2)))
    network.nodes.append(const("dense", np.ones((2, 5), FLOAT)))
    scores = network.add(
        "scores", "MatMul", [network.pooled(last), "dense"], transpose_a=False, transpose_b=False
    )

    assert found(network.loaded(scores, 5), 4) == [("last", "last/Relu", 2, 0.5)]
