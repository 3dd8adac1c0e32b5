from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.backbones.base import BackboneGraph
from tlcli.core.activation_map import activation_map, activation_maps, feature_map
from tlcli.core.graph_messages import GraphDef
from tlcli.core.graph_nodes import const, new_graph, node, placeholder
from tlcli.core.images import Preprocessing


def graph_of(*nodes: Any) -> Any:
    return new_graph([placeholder("Placeholder", np.float32, [None, 4, 4, 3]), *nodes])


def averaged(axes: Any) -> Any:
    return graph_of(
        node("features", "Relu", ["Placeholder"], T=np.float32),
        const("axes", np.array(axes, np.int32)),
        node("pooled", "Mean", ["features", "axes"], T=np.float32, Tidx=np.int32),
        node("again", "Identity", ["pooled"], T=np.float32),
        const("shape", np.array([-1, 3], np.int32)),
        node("output", "Reshape", ["again:0", "shape"], T=np.float32),
    )


@pytest.mark.parametrize("axes", [[1, 2], [2, 1], [-3, -2], [1, -2]])
def test_mean_over_the_places(axes: list[int]) -> None:
    assert feature_map(averaged(axes), "output") == "features"
    assert feature_map(averaged(axes), "output:0") == "features"


@pytest.mark.parametrize("axes", [[2, 3], [1], [0, 1], [3]])
def test_other_means_are_refused(axes: list[int]) -> None:
    assert feature_map(averaged(axes), "output") is None


def pooled(ksize: list[int], padding: bytes = b"VALID", data_format: bytes = b"NHWC") -> Any:
    return graph_of(
        node(
            "pool",
            "AvgPool",
            ["Placeholder"],
            ksize=ksize,
            strides=[1, 1, 1, 1],
            padding=padding,
            data_format=data_format,
        ),
        node("output", "Squeeze", ["pool"]),
    )


def test_average_pool() -> None:
    assert feature_map(pooled([1, 4, 4, 1]), "output") == "Placeholder"
    assert feature_map(pooled([1, 4, 4, 1], b"SAME"), "output") is None
    assert feature_map(pooled([1, 1, 4, 4], data_format=b"NCHW"), "output") is None


def test_graphs_where_the_bottleneck_is_something_else() -> None:
    dense = graph_of(node("output", "MatMul", ["Placeholder", "Placeholder"]))
    assert feature_map(dense, "output") is None
    assert feature_map(dense, "nowhere") is None
    circle = graph_of(node("a", "Identity", ["b"]), node("b", "Identity", ["a"]))
    assert feature_map(circle, "a") is None
    bare = graph_of(node("output", "Mean", ["Placeholder"]))
    assert feature_map(bare, "output") is None


def test_the_mean_of_the_map_is_the_logit() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(7, 5, 16)).astype(np.float32)
    weights = generator.normal(size=16).astype(np.float32)
    found = activation_map(features, weights)
    assert found is not None
    assert found.shape == (7, 5)
    assert found.dtype == np.float32
    assert found.mean() == pytest.approx(features.mean(axis=(0, 1)) @ weights, abs=1e-5)


def test_sizes_that_do_not_fit() -> None:
    assert activation_map(np.zeros((2, 2, 3)), np.zeros(12)) is None
    assert activation_map(np.zeros((2, 3)), np.zeros(3)) is None


def test_default_backbone_has_a_map() -> None:
    from tlcli.backbones import efficientnet_lite

    variant = efficientnet_lite.find("efficientnet_lite0")
    backbone = variant.load_graph()
    name = feature_map(backbone.graph, backbone.output)
    assert name is not None
    assert name.startswith("efficientnet_lite/head")


@pytest.mark.parametrize(
    ("folder", "output", "expected"),
    [
        ("inception2015_style_synthetic", "pool_3/_reshape", True),
        # ImageNet logits behind a convolution: not an average.
        ("backbones/mobilenet_v1_0.25_128", "MobilenetV1/Predictions/Reshape", False),
    ],
)
def test_older_graphs(shared: Path, folder: str, output: str, expected: bool) -> None:
    found = sorted((shared / "legacy" / folder).glob("*.pb"))
    if not found:
        pytest.skip(f"no graph in {folder}")
    graph = GraphDef.FromString(found[0].read_bytes())
    assert (feature_map(graph, output) is not None) is expected


def test_maps_of_images(tmp_path: Path) -> None:
    from PIL import Image

    backbone = BackboneGraph(averaged([1, 2]), "output", 3)
    half = Image.new("RGB", (4, 4), "black")
    half.paste("red", (0, 0, 2, 4))
    half.save(tmp_path / "half.png")
    column = np.array([1.0, 0, 0], np.float32)
    maps = activation_maps(
        backbone, Preprocessing("tlcli-1", 4, 4), [tmp_path / "half.png", b"junk"], [column] * 2
    )
    assert maps[1] is None
    assert maps[0] is not None
    np.testing.assert_allclose(maps[0][:, :2], 1)
    np.testing.assert_allclose(maps[0][:, 2:], 0)
    other = BackboneGraph(averaged([2, 3]), "output", 3)
    assert activation_maps(other, Preprocessing("tlcli-1", 4, 4), [b"junk"], [column]) == [None]
