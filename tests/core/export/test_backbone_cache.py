"""Backbones that were exported once serve later exports, byte for byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.core.export.test_frozen_graph import mean_backbone
from tlcli.backbone import BackboneGraph
from tlcli.core.export import tflite
from tlcli.core.export.backbone_cache import BackboneCache
from tlcli.core.export.frozen_graph import ClassifierGraph, append_final_layer, serialise
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import node


def layer(seed: int, labels: int = 2) -> FinalLayer:
    random = np.random.default_rng(seed)
    return FinalLayer(
        random.standard_normal((3, labels)).astype(np.float32),
        random.standard_normal(labels).astype(np.float32),
    )


def cache(folder: Path, name: str = "final_result", trust: bool = False) -> BackboneCache:
    return BackboneCache("a" * 64, name, trust=trust, folder=folder)


def cached(folder: Path, backbone: BackboneGraph, name: str = "final_result") -> BackboneCache:
    graph = append_final_layer(backbone, layer(0), name)
    graphs = cache(folder, name)
    graphs.store_graph(graph, serialise(graph))
    return graphs


@pytest.mark.parametrize("labels", [2, 7])
@pytest.mark.parametrize("name", ["final_result", "scores/flowers"])
def test_appended_nodes_give_the_bytes_of_a_whole_export(
    tmp_path: Path, labels: int, name: str
) -> None:
    # A node of the backbone that has the name of ours was renamed before it was stored.
    backbone = mean_backbone(output=name)
    graphs = cached(tmp_path, backbone, name)
    other = layer(1, labels)
    content = graphs.graph(other)
    assert content == serialise(append_final_layer(backbone, other, name))
    names = [item.name for item in GraphDef.FromString(content or b"").node]
    assert len(names) == len(set(names))


def test_the_appended_graph_gives_the_probabilities_of_the_layer(tmp_path: Path) -> None:
    from tlcli.runtime.tensorflow import GraphEngine

    content = cached(tmp_path, mean_backbone()).graph(layer(1))
    images = np.random.default_rng(2).random((3, 4, 4, 3), dtype=np.float32)
    with GraphEngine(GraphDef.FromString(content or b""), "Placeholder", "final_result") as engine:
        given = engine.run(images)
    np.testing.assert_allclose(given, layer(1).probabilities(images.mean(axis=(1, 2))), atol=1e-6)


def test_what_follows_the_nodes_stays_behind_them(tmp_path: Path) -> None:
    backbone = mean_backbone()
    backbone.graph.library.function.add().signature.name = "unused"
    backbone.graph.node.add(name="call", op="unused", input=["features"])
    backbone = BackboneGraph(backbone.graph, "call", 3)
    graphs = cached(tmp_path, backbone)
    assert graphs.graph(layer(1)) == serialise(append_final_layer(backbone, layer(1)))


def test_a_damaged_file_is_a_miss(tmp_path: Path) -> None:
    graphs = cached(tmp_path, mean_backbone())
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert graphs.graph(layer(1)) is None


def test_nothing_serves_what_it_was_not_stored_for(tmp_path: Path) -> None:
    cached(tmp_path, mean_backbone())
    assert cache(tmp_path).graph(layer(1)) is not None
    assert cache(tmp_path, "another_name").graph(layer(1)) is None
    assert cache(tmp_path, trust=True).graph(layer(1)) is None
    assert BackboneCache("b" * 64, "final_result", folder=tmp_path).graph(layer(1)) is None
    wider = FinalLayer(np.zeros((4, 2), np.float32), np.zeros(2, np.float32))
    assert cache(tmp_path).graph(wider) is None


def test_a_graph_with_another_end_is_not_cached(tmp_path: Path) -> None:
    graph = append_final_layer(mean_backbone(), layer(0))
    graph.node.append(node("more", "Relu", ["features"], T=np.float32))
    cache(tmp_path).store_graph(graph, serialise(graph))
    twice = append_final_layer(mean_backbone(), layer(0))
    twice.node[0].name = twice.node[1].name
    cache(tmp_path).store_graph(twice, serialise(twice))
    right = append_final_layer(mean_backbone(), layer(0))
    cache(tmp_path).store_graph(right, serialise(right) + b"\x18\x01")  # not what it serialises to
    assert not list(tmp_path.iterdir())


def test_a_litert_file_gets_the_numbers_of_another_layer(tmp_path: Path) -> None:
    def converted(given: FinalLayer) -> bytes:
        return tflite.convert(ClassifierGraph(append_final_layer(mean_backbone(), given), 4, 4))

    graphs = cache(tmp_path)
    graphs.store_litert(layer(0), converted(layer(0)))
    assert graphs.litert(layer(1)) == converted(layer(1))
    assert graphs.litert(layer(0)) == converted(layer(0))
    assert graphs.litert(layer(1, labels=3)) is None
    graphs.store_litert(layer(0, labels=3), converted(layer(0, labels=3)))
    assert graphs.litert(layer(1, labels=3)) == converted(layer(1, labels=3))


def test_a_litert_file_without_one_place_for_the_numbers_is_not_cached(tmp_path: Path) -> None:
    given = layer(0)
    weights = np.ascontiguousarray(given.weights.T).tobytes()
    graphs = cache(tmp_path)
    graphs.store_litert(given, b"no numbers")
    graphs.store_litert(given, weights + given.biases.tobytes() + weights)
    assert not list(tmp_path.iterdir())
    graphs.store_litert(given, weights + given.biases.tobytes())
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    graphs = cached(tmp_path / "file" / "graphs", mean_backbone())
    assert graphs.graph(layer(1)) is None
