from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.backbones.layers.networks import Network, inverted
from tests.support import Trained, tlcli
from tlcli.backbone import INPUT, Backbone, BackboneGraph
from tlcli.backbones.layers.pooled_maps import NoStageMapsError, with_pooled_maps
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.writer import write_model


def backbone(loaded: BackboneGraph, fingerprint: str = "ab") -> Backbone:
    return Backbone("net", "a test", "unknown", 16, 16, fingerprint, None, lambda: loaded)


def run(loaded: BackboneGraph, output: str, images: np.ndarray) -> np.ndarray:
    engine = LiteRTEngine(write_model(loaded.graph, INPUT, output))
    found = np.concatenate([engine.run(image[None]) for image in images])
    engine.close()
    return found


def test_the_vector_is_the_bottleneck_and_the_averages_of_the_maps() -> None:
    plain = inverted()
    found = with_pooled_maps(backbone(plain))
    loaded = found.load_graph()
    images = np.random.default_rng(1).random((3, 16, 16, 3), np.float32)

    vectors = run(loaded, loaded.output, images)

    assert [block.name for block in found.blocks] == [
        "head", "b4/add", "b4/spatial", "b3/spatial", "b2/add", "b2/spatial",
    ]  # fmt: skip
    assert [block.weight for block in found.blocks] == [4, 0.5, 1, 1, 0.5, 0.5]
    assert loaded.blocks == found.blocks
    assert vectors.shape == (3, found.bottleneck_size) == (3, loaded.bottleneck_size)
    start = 0
    for block, tensor in zip(
        found.blocks,
        ("pooled", "b4/add", "b4/spatial/mul", "b3/spatial/mul", "b2/add", "b2/spatial/mul"),
        strict=True,
    ):
        expected = run(plain, tensor, images)
        expected = expected if expected.ndim == 2 else expected.mean((1, 2))
        part = vectors[:, start : start + block.size]
        np.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-5)
        start += block.size


def test_the_layers_are_known_without_the_graph_once_they_were_found() -> None:
    plain = backbone(inverted())
    first = with_pooled_maps(plain)

    def never() -> BackboneGraph:
        raise AssertionError("loaded")

    again = with_pooled_maps(replace(plain, load_graph=never))

    assert (again.blocks, again.fingerprint) == (first.blocks, first.fingerprint)
    assert first.fingerprint != plain.fingerprint
    other = with_pooled_maps(backbone(inverted(), "cd"))
    assert other.fingerprint != first.fingerprint


def test_a_backbone_without_maps_is_refused_in_one_sentence() -> None:
    network = Network(16)
    loaded = network.loaded(network.pooled(INPUT), 3)

    with pytest.raises(NoStageMapsError, match="ms needs maps of the backbone net"):
        with_pooled_maps(backbone(loaded))


@pytest.mark.slow
def test_a_retraining_on_several_layers(trained: Trained) -> None:
    arguments = ("retrain", "--image_dir", trained.photos, "--output_graph", "several/graph.pb")
    more = ("--layers", "ms", "--solver", "lda", "--format", "json", "--cross_validate", 3)
    run = tlcli(*arguments, *more, cwd=trained.folder, cache=trained.cache)

    assert run.code == 0, run.err
    result = run.json
    assert result["backbone"]["bottleneck_size"] == 4688
    assert [each["name"] for each in result["backbone"]["layers"]][:2] == ["head", "block 15"]
    assert result["cross_validation"]["folds"] == 3
    labelled = tlcli(
        "label", "--graph", "several/graph.pb", trained.photo,
        "--format", "json", cwd=trained.folder,
    )  # fmt: skip
    assert labelled.code == 0, labelled.err
