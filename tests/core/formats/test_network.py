"""Graphs of any origin as networks with one kind of input, whose scores stay what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlcli import load
from tlcli.arrays import Floats
from tlcli.core.formats.comparison import file_scores, graph_scores
from tlcli.core.formats.images import LabelledImages, PixelSet
from tlcli.core.formats.network import Network, network_of
from tlcli.core.model_spec.input_spec import InputOverrides
from tlcli.errors import GraphError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.litert.interpreter import LiteRTEngine

F = np.float32
LABELS = 3


def write(
    path: Path,
    *,
    shape: tuple[int | None, ...] = (None, 8, 8, 3),
    dtype: Any = np.float32,
    last: str | None = "Softmax",
    entry: str = "input",
    scores: int = LABELS,
) -> Path:
    """Write a small graph, and its labels beside it."""
    generator = np.random.default_rng(3)
    channels = shape[3] if len(shape) == 4 else 1
    assert channels is not None
    nodes = [placeholder(entry, dtype, shape)]
    if len(shape) == 3:
        nodes += [
            const("last", np.array(3, np.int32)),
            node("expanded", "ExpandDims", [nodes[-1].name, "last"], T=dtype, Tdim=np.int32),
        ]
    if dtype != np.float32:
        nodes.append(node("cast", "Cast", [nodes[-1].name], SrcT=dtype, DstT=np.float32))
    nodes += [
        const("half", np.float32(1 / 127.5)),
        node("Placeholder" if entry != "Placeholder" else "x", "Mul",
             [nodes[-1].name, "half"], T=F),
        const("axes", np.array([1, 2], np.int32)),
    ]  # fmt: skip
    nodes += [
        node("mean", "Mean", [nodes[-2].name, "axes"], T=F, keep_dims=False, Tidx=np.int32),
        const("weights", generator.normal(size=(channels, scores)).astype(F)),
        node("logits", "MatMul", ["mean", "weights"], T=F, transpose_a=False, transpose_b=False),
    ]
    if last is not None:
        nodes.append(node("scores", last, ["logits"], T=F))
    path.write_bytes(new_graph(nodes).SerializeToString())
    names = "".join(f"label {number}\n" for number in range(max(scores, 2)))
    path.with_name("labels.txt").write_text(names)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> LabelledImages:
    generator = np.random.default_rng(0)
    paths = []
    for number in range(4):
        low, high = sorted(generator.integers(0, 255, (2, 3)).tolist())
        small = np.array([[low, high], [high, low]], np.uint8)
        path = tmp_path / f"{number}.png"
        Image.fromarray(small).resize((21, 17)).save(path)
        paths.append(str(path))
    return LabelledImages(paths, np.zeros(4, np.int64))


def both(graph: Path, photos: LabelledImages, **options: Any) -> tuple[Network, Floats, Floats]:
    """Return a graph's network, and the scores of graph and network."""
    with load(graph, **options) as classifier:
        network = network_of(classifier, InputOverrides(**options))
        images = PixelSet(photos, network.preprocessing)
        assert len(images) == len(photos.files)
        engine = LiteRTEngine(network.litert)
        return network, graph_scores(classifier, images), file_scores(engine, network, images)


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ({}, {}),
        ({}, {"input_mean": 0, "input_std": 255}),
        ({}, {"input_mean": 100, "input_std": 50}),
        ({}, {"channel_order": "bgr"}),
        ({"shape": (1, 8, 8, 3)}, {}),
        ({"last": None}, {}),
        ({"last": "Sigmoid"}, {}),
        ({"last": "LogSoftmax"}, {}),
        ({"last": None, "scores": 1}, {}),
        ({"last": "Sigmoid", "scores": 1}, {}),
        ({"dtype": np.uint8}, {}),
        ({"shape": (None, 8, 8, 1)}, {}),
        ({"shape": (None, 8, 8)}, {}),
        ({"entry": "Placeholder"}, {}),
    ],
)
def test_a_network_gives_the_scores_of_its_graph(
    written: dict[str, Any], options: dict[str, Any], tmp_path: Path, photos: LabelledImages
) -> None:
    graph = write(tmp_path / "graph.pb", **written)
    network, expected, given = both(graph, photos, **options)
    given_to = network.preprocessing
    assert (given_to.mean, given_to.std, given_to.channels) == (0.0, 255.0, "rgb")
    # A grey value is a whole number in the graph's own preprocessing, and none in the network's.
    grey = len(written.get("shape", "rgbx")) == 3 or written.get("shape", (0,))[-1] == 1
    np.testing.assert_allclose(given, expected, atol=5e-3 if grey else 1e-5)
    if written.get("last", "Softmax") in (None, "Softmax", "LogSoftmax"):
        np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(given, axis=0).max() > 1e-3  # the images matter


@pytest.mark.parametrize(
    "name",
    ["plates_128/graph.pb", "panels_128_optimized/graph.pb", "mirror_128_quantized/graph.pb"],
)
def test_graphs_of_the_original_tools(name: str, shared: Path, photos: LabelledImages) -> None:
    network, expected, given = both(shared / "legacy" / name, photos)
    np.testing.assert_allclose(given, expected, atol=1e-3)
    assert network.graph is not None


def test_a_litert_file_stays_what_it_is(shared: Path, photos: LabelledImages) -> None:
    path = shared / "legacy/plates_128/graph.tflite"
    network, expected, given = both(path, photos)
    np.testing.assert_allclose(given, expected, atol=1e-6)
    assert network.litert == path.read_bytes()
    with pytest.raises(GraphError, match="is a LiteRT file, of which no SavedModel can be made"):
        network.plain_graph("SavedModel")


def test_our_own_graph_is_used_unchanged(trained: Any) -> None:
    with load(trained.graph) as classifier:
        network = network_of(classifier)
    assert network.graph is not None
    assert network.graph.output == "final_result"
    assert network.model_card().labels == ("house with pool", "house without pool")
