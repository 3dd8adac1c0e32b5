from __future__ import annotations

from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np
import pytest

from tlcli.backbone import BackboneGraph
from tlcli.core.export.frozen_graph import append_final_layer
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.heat_maps.activation_maps import ActivationMapper, enlarge, note_of_layers
from tlcli.core.heat_maps.linear_head import NoActivationMapError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.graph.surgery import copy_graph
from tlcli.litert.pool import LiteRTPool
from tlcli.litert.writer import write_model

GENERATOR = np.random.default_rng(0)


def tiny_backbone() -> BackboneGraph:
    """Return a backbone whose features are the colours themselves, relu'd."""
    graph = new_graph(
        [
            placeholder("Placeholder", np.float32, [None, 4, 4, 3]),
            node("features", "Relu", ["Placeholder"], T=np.float32),
            const("axes", np.array([1, 2], np.int32)),
            node("pooled", "Mean", ["features", "axes"], T=np.float32, Tidx=np.int32),
        ]
    )
    return BackboneGraph(graph, "pooled", 3)


def layer_of(size: int, labels: int) -> FinalLayer:
    return FinalLayer(
        GENERATOR.normal(size=(size, labels)).astype(np.float32),
        GENERATOR.normal(size=labels).astype(np.float32),
    )


def mapper_of(
    backbone: BackboneGraph, layer: FinalLayer
) -> AbstractContextManager[ActivationMapper]:
    graph = append_final_layer(backbone, layer)
    return closing(ActivationMapper(graph, "Placeholder", "final_result"))


def test_maps_are_features_times_weights() -> None:
    layer = layer_of(3, 2)
    images = GENERATOR.random((2, 4, 4, 3), dtype=np.float32)
    with mapper_of(tiny_backbone(), layer) as mapper:
        every = mapper.maps(images)
        np.testing.assert_allclose(every, images @ layer.weights, atol=1e-6)
        assert every.dtype == np.float32
        chosen = mapper.maps(images, [1, 0])
        np.testing.assert_allclose(chosen[0], every[0, ..., 1], atol=1e-6)
        np.testing.assert_allclose(chosen[1], every[1, ..., 0], atol=1e-6)


def test_the_mean_of_a_map_is_the_logit_of_the_exported_graph() -> None:
    layer = layer_of(3, 4)
    images = GENERATOR.random((3, 4, 4, 3), dtype=np.float32)
    with mapper_of(tiny_backbone(), layer) as mapper:
        found = mapper.maps(images).mean(axis=(1, 2)) + layer.biases
    np.testing.assert_allclose(found, layer.logits(images.mean(axis=(1, 2))), atol=1e-5)


def test_the_maps_of_a_backbone_are_its_features() -> None:
    images = GENERATOR.random((2, 4, 4, 3), dtype=np.float32)
    with closing(ActivationMapper(tiny_backbone().graph, "Placeholder", "pooled")) as mapper:
        np.testing.assert_array_equal(mapper.maps(images), images)
        assert mapper.label_count is None


def test_a_layer_behind_another_linear_layer() -> None:
    # As the original put its final layer behind ImageNet's logits.
    filters = GENERATOR.normal(size=(1, 1, 3, 5)).astype(np.float32)
    added = GENERATOR.normal(size=5).astype(np.float32)
    window = [1, 4, 4, 1]
    graph = new_graph(
        [
            placeholder("Placeholder", np.float32, [None, 4, 4, 3]),
            node("features", "Relu", ["Placeholder"], T=np.float32),
            node(
                "pool", "AvgPool", ["features"], T=np.float32, ksize=window, strides=window,
                padding="VALID", data_format="NHWC",
            ),
            const("filters", filters),
            node(
                "convolved", "Conv2D", ["pool", "filters"], T=np.float32, strides=[1, 1, 1, 1],
                padding="SAME", data_format="NHWC",
            ),
            const("added", added),
            node("biased", "BiasAdd", ["convolved", "added"], T=np.float32, data_format="NHWC"),
            const("shape", np.array([-1, 5], np.int32)),
            node("logits", "Reshape", ["biased", "shape"], T=np.float32, Tshape=np.int32),
        ]
    )  # fmt: skip
    layer = layer_of(5, 2)
    images = GENERATOR.random((2, 4, 4, 3), dtype=np.float32)
    inner = images.mean(axis=(1, 2)) @ filters[0, 0] + added
    with mapper_of(BackboneGraph(graph, "logits", 5), layer) as mapper:
        found = mapper.maps(images).mean(axis=(1, 2)) + added @ layer.weights + layer.biases
    np.testing.assert_allclose(found, layer.logits(inner), atol=1e-5)


def test_an_average_of_only_a_part_is_refused() -> None:
    window = [1, 2, 2, 1]
    graph = new_graph(
        [
            placeholder("Placeholder", np.float32, [None, 4, 4, 3]),
            node("features", "Relu", ["Placeholder"], T=np.float32),
            node(
                "pool", "AvgPool", ["features"], T=np.float32, ksize=window, strides=window,
                padding="VALID", data_format="NHWC",
            ),
            const("shape", np.array([-1, 12], np.int32)),
            node("flat", "Reshape", ["pool", "shape"], T=np.float32, Tshape=np.int32),
        ]
    )  # fmt: skip
    with (
        closing(ActivationMapper(graph, "Placeholder", "flat")) as mapper,
        pytest.raises(NoActivationMapError, match=r"\[4, 4, 3\] is not averaged as a whole"),
    ):
        mapper.maps(np.zeros((1, 4, 4, 3), np.float32))


def test_a_label_in_one_corner_is_found_there(tmp_path: Path) -> None:
    layer = FinalLayer(np.array([[1, -1], [0, 0], [-1, 1]], np.float32), np.zeros(2, np.float32))
    image = np.zeros((1, 4, 4, 3), np.float32)
    image[0, :2, :2, 0] = 1
    with mapper_of(tiny_backbone(), layer) as mapper:
        found = mapper.maps(image, [0])[0]
    assert (found[:2, :2] == 1).all()
    assert found.sum() == 4


def test_final_layer_alone_has_no_places() -> None:
    from tlcli.core.export.frozen_graph import final_layer_graph

    graph = final_layer_graph(layer_of(3, 2))
    with pytest.raises(NoActivationMapError, match="no average over positions"):
        ActivationMapper(graph, "BottleneckInputPlaceholder", "final_result")


def test_enlarging_keeps_means_and_bounds() -> None:
    for small in (*range(1, 10), 15, 17):
        for large in range(small, 36, 3):
            maps = GENERATOR.normal(size=(2, small, large, 1)).astype(np.float32)
            found = enlarge(maps, large, large)
            assert (found.shape, found.dtype) == ((2, large, large, 1), np.float32)
            np.testing.assert_allclose(found.mean((1, 2)), maps.mean((1, 2)), atol=1e-5)
            assert found.min() >= maps.min() - 1e-5
            assert found.max() <= maps.max() + 1e-5
    assert enlarge(maps, *maps.shape[1:3]) is maps


def joined_backbone(generator: np.random.Generator) -> tuple[BackboneGraph, list[tuple[int, ...]]]:
    """Return a network whose bottleneck joins the averages of two to six maps, in two parts.

    Each part resizes the image by itself, as those of joined backbones do.
    """
    nodes = [
        placeholder("Placeholder", np.float32, [None, 24, 24, 3]),
        const("axes", np.array([1, 2], np.int32)),
        const("joint/axis", np.array(-1, np.int32)),
    ]
    parts, shapes = [], []
    for part in range(2):
        side = int(generator.integers(10, 30))
        nodes += [
            const(f"{part}/size", np.array([side, side], np.int32)),
            node(
                f"{part}/resized", "ResizeBilinear", ["Placeholder", f"{part}/size"],
                T=np.float32, half_pixel_centers=True,
            ),
        ]  # fmt: skip
        above, means = f"{part}/resized", []
        for layer in range(int(generator.integers(1, 4))):
            name, channels = f"{part}/{layer}", int(generator.integers(1, 6))
            stride, before = int(generator.integers(1, 4)), shapes[-1][2] if layer else 3
            filters = generator.normal(size=(3, 3, before, channels)).astype(np.float32)
            nodes += [
                const(f"{name}/filters", filters),
                node(
                    f"{name}/conv", "Conv2D", [above, f"{name}/filters"], T=np.float32,
                    strides=[1, stride, stride, 1], padding="SAME", data_format="NHWC",
                ),
                node(f"{name}/map", "Relu", [f"{name}/conv"], T=np.float32),
                node(f"{name}/mean", "Mean", [f"{name}/map", "axes"], T=np.float32, Tidx=np.int32),
            ]  # fmt: skip
            above, side = f"{name}/map", -(-side // stride)
            means.append(f"{name}/mean")
            shapes.append((side, side, channels))
        nodes.append(node(f"{part}/joint", "ConcatV2", [*means, "joint/axis"], N=len(means)))
        parts.append(f"{part}/joint")
    nodes.append(node("joint", "ConcatV2", [*parts, "joint/axis"], N=2))
    size = sum(shape[2] for shape in shapes)
    return BackboneGraph(new_graph(nodes), "joint", size), shapes


@pytest.mark.parametrize("seed", range(4))
def test_the_mean_of_joined_maps_is_the_logit(seed: int) -> None:
    generator = np.random.default_rng(seed)
    backbone, shapes = joined_backbone(generator)
    layer = layer_of(backbone.bottleneck_size, 3)
    images = generator.random((2, 24, 24, 3), dtype=np.float32)
    with closing(LiteRTPool(write_model(backbone.graph, "Placeholder", "joint"))) as engine:
        logits = layer.logits(engine.run(images))
    with mapper_of(backbone, layer) as mapper:
        found = mapper.maps(images)
        assert found.shape == (2, max(s[0] for s in shapes), max(s[1] for s in shapes), 3)
        np.testing.assert_allclose(
            found.mean(axis=(1, 2)) + layer.biases, logits, rtol=1e-4, atol=1e-4
        )
        chosen = mapper.maps(images, [2, 0])
        np.testing.assert_allclose(chosen[0], found[0, ..., 2], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(chosen[1], found[1, ..., 0], rtol=1e-4, atol=1e-4)
        assert mapper.shown == (True,) * len(shapes)
    with closing(ActivationMapper(backbone.graph, "Placeholder", "joint")) as mapper:
        features = mapper.maps(images)
    np.testing.assert_allclose(features @ layer.weights, found, rtol=1e-4, atol=1e-4)


def test_the_share_of_a_part_without_a_map_is_left_out() -> None:
    backbone = tiny_backbone()
    graph = copy_graph(backbone.graph, backbone.graph.node)
    graph.node.extend(
        [
            node("highest", "Max", ["features", "axes"], T=np.float32, Tidx=np.int32),
            const("axis", np.array(1, np.int32)),
            node("joint", "ConcatV2", ["highest", "pooled", "axis"], T=np.float32, N=2),
        ]
    )
    layer = layer_of(6, 2)
    images = GENERATOR.random((2, 4, 4, 3), dtype=np.float32)
    with mapper_of(BackboneGraph(graph, "joint", 6), layer) as mapper:
        np.testing.assert_allclose(mapper.maps(images), images @ layer.weights[3:], atol=1e-5)
        assert mapper.shown == (False, True)


def test_a_final_layer_that_does_not_fit_the_joined_values_is_refused() -> None:
    backbone = tiny_backbone()
    graph = copy_graph(backbone.graph, backbone.graph.node)
    graph.node.extend(
        [
            const("axis", np.array(1, np.int32)),
            node("joint", "ConcatV2", ["pooled", "pooled", "axis"], T=np.float32, N=2),
            const("weights", np.ones((5, 2), np.float32)),
            node("logits", "MatMul", ["joint", "weights"], T=np.float32),
        ]
    )
    with pytest.raises(NoActivationMapError, match="does not fit the values that are joined"):
        ActivationMapper(graph, "Placeholder", "logits")


@pytest.mark.parametrize(
    ("shown", "names", "note"),
    [
        ((), ["head"], ""),
        ((True, True), [], "Heat maps add up the shares of 2 layers."),
        ((True, True), ["head", "block 15"], "Heat maps add up the shares of 2 layers: head, b"),
        ((True, True), ["head"], "Heat maps add up the shares of 2 layers."),
        ((True, False), [], "Heat maps show 1 of 2 layers; the others have no map."),
        (
            (True, False),
            ["head", "token"],
            "Heat maps show 1 of 2 layers (head); the others (token) have no map.",
        ),
    ],
)
def test_the_layers_are_named(shown: tuple[bool, ...], names: list[str], note: str) -> None:
    assert note_of_layers(shown, names).startswith(note)
    assert bool(note) == bool(note_of_layers(shown, names))
