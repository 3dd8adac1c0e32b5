from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tlcli
from tests.support import Trained
from tlcli.backbone import BackboneGraph
from tlcli.core.classifier.activation_maps import ActivationMapper, NoActivationMapError, overlay
from tlcli.core.export.frozen_graph import append_final_layer
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import ImageError, UsageError
from tlcli.graph.nodes import const, new_graph, node, placeholder

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


def test_a_bottleneck_without_a_final_layer_has_no_labels(tmp_path: Path) -> None:
    (tmp_path / "graph.pb").write_bytes(tiny_backbone().graph.SerializeToString())
    (tmp_path / "labels.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    with (
        tlcli.load(tmp_path / "graph.pb", labels=tmp_path / "labels.txt") as classifier,
        pytest.raises(NoActivationMapError, match="no linear layer"),
    ):
        ActivationMapper.for_classifier(classifier)


@pytest.mark.parametrize("name", ["output_graph.pb", "output_graph.tflite"])
def test_maps_of_an_exported_graph_add_up_to_its_scores(trained: Trained, name: str) -> None:
    photos = sorted((trained.folder / "photos" / "house_with_pool").glob("[!b]*.jpg"))
    with (
        tlcli.load(trained.folder / name) as classifier,
        closing(ActivationMapper.for_classifier(classifier)) as mapper,
    ):
        maps = mapper.maps(classifier.read(photos[0]))
        assert maps.shape == (1, 7, 7, len(classifier.labels))
        assert_maps_give_scores(classifier, mapper, photos[:2])


def test_a_litert_file_alone_has_no_maps(trained: Trained, tmp_path: Path) -> None:
    import shutil

    for name in ("output_graph.tflite", "output_labels.txt"):
        shutil.copy(trained.folder / name, tmp_path)
    with (
        tlcli.load(tmp_path / "output_graph.tflite") as classifier,
        pytest.raises(NoActivationMapError, match="without the frozen graph"),
    ):
        ActivationMapper.for_classifier(classifier)


@pytest.mark.parametrize(
    "folder",
    [
        "plates_128",
        "panels_128_optimized",
        "mirror_128_quantized",
        "hub_style_128_synthetic",
        "inception2015_style_synthetic",
    ],
)
def test_maps_of_older_graphs_add_up_to_their_scores(shared: Path, folder: str) -> None:
    place = shared / "legacy" / folder
    expected = json.loads((place / "expected.json").read_text(encoding="utf-8"))
    photos = [shared / photo for photo in photos_of(expected)[:2]]
    with (
        tlcli.load(place / "graph.pb") as classifier,
        closing(ActivationMapper.for_classifier(classifier)) as mapper,
    ):
        assert_maps_give_scores(classifier, mapper, photos)


def test_a_loaded_graph_explains_one_image(trained: Trained, tmp_path: Path) -> None:
    photo = sorted((trained.photos / "house_with_pool").glob("aerial_*"))[0]
    with tlcli.load(trained.graph) as classifier:
        found = classifier.explain(photo)
        (prediction,) = classifier.label(photo)
        assert (found.image, found.label, found.score) == (
            str(photo),
            prediction.label,
            prediction.score,
        )
        assert (found.heat_map.dtype, found.heat_map.shape) == (np.float32, (7, 7))
        with ActivationMapper.for_classifier(classifier) as mapper:
            (expected,) = mapper.maps(
                classifier.read(photo), [classifier.labels.index(found.label)]
            )
        np.testing.assert_array_equal(found.heat_map, expected)
        assert max(found.picture.size) <= 384
        with Image.open(photo) as opened:
            other = classifier.explain(opened, "house without pool")
        assert other.label == "house without pool"
        assert not np.array_equal(other.heat_map, expected)
        assert (
            repr(other)
            == f"<Explanation of house without pool in {photo}: score {other.score:.3f}>"
        )
        assert "data:image/jpeg;base64," in other._repr_html_()
        with pytest.raises(UsageError, match="no label 'pond'; choose one of house with pool, ho"):
            classifier.explain(photo, "pond")
        with pytest.raises(UsageError, match="is a folder; give one image"):
            classifier.explain(trained.photos)
        with pytest.raises(ImageError, match=r"absent\.jpg: no such file"):
            classifier.explain(tmp_path / "absent.jpg")


def assert_maps_give_scores(
    classifier: tlcli.Classifier, mapper: ActivationMapper, photos: Sequence[Path]
) -> None:
    """Compare two photos: a label's bias is the same in both, so the maps are what differs."""
    one, two = (mapper.maps(classifier.read(photo)).mean(axis=(1, 2))[0] for photo in photos)
    said = []
    for photo in photos:
        scores = {score.label: score.score for score in classifier.label(photo, None)[0].scores}
        said.append(np.array([scores[label] for label in classifier.labels]))
    assert not np.allclose(*said, rtol=0.1, atol=0)
    expected = said[1] * np.exp((one - two).astype(np.float64))
    # Of each score a thousandth: that of a label which is not meant may be 1e-10.
    np.testing.assert_allclose(said[0], expected / expected.sum(), rtol=1e-3)


def photos_of(expected: Any) -> list[str]:
    photos = expected["photos"]
    return list(photos) if isinstance(photos, dict) else [each["photo"] for each in photos]


def test_overlay_is_warm_where_the_map_is_high() -> None:
    activation = np.zeros((2, 2), np.float32)
    activation[0, 0] = 3
    mixed = np.asarray(overlay(Image.new("RGB", (40, 30), "white"), activation), dtype=int)
    assert mixed.shape == (30, 40, 3)
    warm, cold = mixed[2, 2], mixed[-3, -3]
    assert warm[0] > warm[2] + 60
    assert cold[2] > cold[0]


@pytest.mark.parametrize(
    "activation", [np.zeros((2, 2)), np.full((2, 2), -5.0), np.full((2, 2), np.nan)]
)
def test_overlay_of_nothing_is_even(activation: Any) -> None:
    mixed = np.asarray(overlay(Image.new("RGB", (8, 8)), activation))
    assert (mixed == mixed[0, 0]).all()
