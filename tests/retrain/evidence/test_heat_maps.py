from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from retrain.arguments.options import RetrainOptions
from retrain.evidence.heat_maps import heat_maps
from retrain.inputs import Inputs
from tlcli.backbone import Backbone, BackboneGraph
from tlcli.core.data.image_list import ImageFile
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.heat_maps.activation_maps import ActivationMapper
from tlcli.graph.nodes import const, new_graph, node, placeholder

LAYER = FinalLayer(np.array([[1, -1], [0, 0], [-1, 1]], np.float32), np.zeros(2, np.float32))


def backbone(axes: tuple[int, int] = (1, 2), fingerprint: str = "ab") -> Backbone:
    """Return one whose features are the colours, averaged over ``axes``."""
    graph = new_graph(
        [
            placeholder("Placeholder", np.float32, [None, 4, 4, 3]),
            node("features", "Relu", ["Placeholder"], T=np.float32),
            const("axes", np.array(axes, np.int32)),
            node("pooled", "Mean", ["features", "axes"], T=np.float32, Tidx=np.int32),
        ]
    )
    return Backbone(
        "net", "a test", "unknown", 4, 4, fingerprint, 3, lambda: BackboneGraph(graph, "pooled", 3)
    )


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """Return a red and a blue image, one that is broken and one that has only a vector."""
    (tmp_path / "a").mkdir()
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a" / "red.png")
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "a" / "blue.png")
    (tmp_path / "a" / "broken.png").write_bytes(b"")
    images = [ImageFile(str(tmp_path), "a", f"a/{name}.png", "a") for name in ("red", "blue")]
    images += [ImageFile(str(tmp_path), "a", "a/broken.png", "a")]
    images += [ImageFile(None, "a", "a/gone.png", "a")]
    count = len(images)
    return Inputs(
        labels=("a", "b"),
        images=tuple(images),
        contents=("1" * 64, "2" * 64, None, None),
        targets=np.zeros(count, np.int64),
        splits=("testing",) * count,
        vectors=np.zeros((count, 3), np.float32),
        views=np.zeros((0, 3), np.float32),
        view_rows=np.zeros(0, np.int64),
    )


def options(tmp_path: Path, **changes: bool) -> RetrainOptions:
    return RetrainOptions(image_dir=tmp_path, bottleneck_dir=tmp_path / "cache", **changes)  # type: ignore[arg-type]


def test_each_image_gets_the_map_of_its_label(inputs: Inputs, tmp_path: Path) -> None:
    found = heat_maps(
        replace(inputs, backbone=backbone()), options(tmp_path), LAYER, {0: 0, 1: 0, 2: 0, 3: 1}
    )
    assert found.missing is None
    assert set(found.maps) == {0, 1}
    np.testing.assert_allclose(found.maps[0], np.ones((4, 4)))
    np.testing.assert_allclose(found.maps[1], -np.ones((4, 4)))


def test_what_was_computed_once_is_read_from_the_cache(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {0: 0, 1: 1}
    first = heat_maps(replace(inputs, backbone=backbone()), options(tmp_path), LAYER, wanted)
    monkeypatch.setattr(ActivationMapper, "maps", None)
    # Not even the graph is loaded, which takes as long as all the rest of a report.
    unloaded = replace(backbone(), load_graph=None)  # type: ignore[arg-type]
    again = heat_maps(replace(inputs, backbone=unloaded), options(tmp_path), LAYER, wanted)
    for row in wanted:
        np.testing.assert_array_equal(first.maps[row], again.maps[row])
    with pytest.raises(TypeError, match="not callable"):
        heat_maps(
            replace(inputs, backbone=backbone(fingerprint="other")),
            options(tmp_path),
            LAYER,
            wanted,
        )


def test_another_layer_reads_the_same_features(inputs: Inputs, tmp_path: Path) -> None:
    heat_maps(replace(inputs, backbone=backbone()), options(tmp_path), LAYER, {0: 0})
    doubled = FinalLayer(2 * LAYER.weights, LAYER.biases)
    found = heat_maps(replace(inputs, backbone=backbone()), options(tmp_path), doubled, {0: 1})
    np.testing.assert_allclose(found.maps[0], np.full((4, 4), -2))


def test_a_backbone_without_an_average_says_so(inputs: Inputs, tmp_path: Path) -> None:
    found = heat_maps(replace(inputs, backbone=backbone((2, 3))), options(tmp_path), LAYER, {0: 0})
    assert found.maps == {}
    assert found.missing is not None
    assert found.missing.startswith("No heat maps of this backbone: its operation Mean ")
    assert found.missing.endswith(".")


def test_no_photos(inputs: Inputs, tmp_path: Path) -> None:
    found = heat_maps(replace(inputs, backbone=backbone()), options(tmp_path), LAYER, {3: 0})
    assert found.missing == "No heat maps: there are no photos of these images."


@pytest.mark.parametrize("without", ["backbone", "network"])
def test_a_final_layer_alone(inputs: Inputs, tmp_path: Path, without: str) -> None:
    chosen = options(tmp_path, final_layer_only=without == "network")
    found = heat_maps(
        replace(inputs, backbone=None if without == "backbone" else backbone()),
        chosen,
        LAYER,
        {0: 0},
    )
    assert found.missing == "No heat maps: the final layer was trained alone."


def joined_backbone() -> Backbone:
    """Return one whose bottleneck joins the colours' averages, highest values and halves' means."""
    nodes = [
        placeholder("Placeholder", np.float32, [None, 4, 4, 3]),
        node("features", "Relu", ["Placeholder"], T=np.float32),
        const("axes", np.array([1, 2], np.int32)),
        node("pooled", "Mean", ["features", "axes"], T=np.float32, Tidx=np.int32),
        node("highest", "Max", ["features", "axes"], T=np.float32, Tidx=np.int32),
        node(
            "halves", "AvgPool", ["features"], T=np.float32, ksize=[1, 2, 2, 1],
            strides=[1, 2, 2, 1], padding="VALID", data_format="NHWC",
        ),
        node("again", "Mean", ["halves", "axes"], T=np.float32, Tidx=np.int32),
        const("axis", np.array(1, np.int32)),
        node("joint", "ConcatV2", ["pooled", "highest", "again", "axis"], T=np.float32, N=3),
    ]  # fmt: skip
    graph = BackboneGraph(new_graph(nodes), "joint", 9)
    return Backbone("net", "a test", "unknown", 4, 4, "cd", 9, lambda: graph)


def test_several_layers_add_their_shares_once(inputs: Inputs, tmp_path: Path) -> None:
    weights = np.zeros((9, 2), np.float32)
    weights[0, 0], weights[3, 0], weights[6, 0] = 1, 100, 2
    layer, biases = FinalLayer(weights, LAYER.biases), LAYER.biases
    joined = replace(inputs, backbone=joined_backbone(), vectors=np.zeros((4, 9), np.float32))
    first = heat_maps(joined, options(tmp_path), layer, {0: 0, 1: 1, 2: 0})
    assert first.missing is None
    assert first.layers == "Heat maps show 2 of 3 layers; the others have no map."
    np.testing.assert_allclose(first.maps[0], np.full((4, 4), 3))
    np.testing.assert_allclose(first.maps[1], np.zeros((4, 4)))
    # Not even the graph is loaded for the same images, labels and layer.
    unloaded = replace(joined_backbone(), load_graph=None)  # type: ignore[arg-type]
    again = heat_maps(replace(joined, backbone=unloaded), options(tmp_path), layer, {0: 0, 1: 1})
    assert again.layers == first.layers
    for row in (0, 1):
        np.testing.assert_array_equal(again.maps[row], first.maps[row])
    doubled = heat_maps(joined, options(tmp_path), FinalLayer(2 * weights, biases), {0: 0})
    np.testing.assert_allclose(doubled.maps[0], np.full((4, 4), 6))
