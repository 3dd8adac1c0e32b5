"""The score of unknown images in a graph: the same numbers as of the model in memory."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.backbone import FeatureBlock
from tlcli.core.export.frozen_graph import BOTTLENECK_INPUT, final_layer_graph, serialise
from tlcli.core.export.unknown_nodes import append_unknown, with_all_outputs
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.unknown.fitting import fit_unknown
from tlcli.core.unknown.model import ALL_OUTPUTS, UNKNOWN_SCORE
from tlcli.graph.messages import GraphDef
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.writer import write_model

SIZE, LABELS, IMAGES = 48, 3, 60


@pytest.mark.parametrize("head", [SIZE, 32])
def test_a_graph_computes_the_score_of_the_model(head: int) -> None:
    generator = np.random.default_rng(0)
    vectors = generator.random((IMAGES, SIZE), np.float32)
    samples = Samples(vectors, np.sort(np.arange(IMAGES) % LABELS))
    blocks = [FeatureBlock("head", head), FeatureBlock("other", SIZE - head)]
    model = fit_unknown(samples, blocks if head < SIZE else ())
    assert model is not None
    weights = generator.normal(0, 1, (SIZE, LABELS)).astype(np.float32)
    layer = FinalLayer(weights, np.zeros(LABELS, np.float32))
    plain = serialise(final_layer_graph(layer))
    content = append_unknown(plain, model)
    assert content is not None
    parsed, old = GraphDef.FromString(content), GraphDef.FromString(plain)
    assert parsed.node[-1] == old.node[-1]  # which some programs take for the result
    others = [each for each in parsed.node if not each.name.startswith(UNKNOWN_SCORE)]
    del parsed.node[:]
    parsed.node.extend(others)
    assert serialise(parsed) == plain
    probe = np.concatenate([vectors, generator.normal(0, 1, (20, SIZE)).astype(np.float32)])
    probe = np.concatenate([probe, np.zeros((1, SIZE), np.float32)])
    scores, places = model.scores(Samples(probe, np.zeros(len(probe), np.intp)))
    graph = GraphDef.FromString(content)
    one = LiteRTEngine(write_model(graph, BOTTLENECK_INPUT, UNKNOWN_SCORE))
    np.testing.assert_allclose(one.run(probe)[:, 0], scores, atol=2e-3, rtol=1e-4)
    whole = with_all_outputs(graph, "final_result")
    assert whole is not None
    found = LiteRTEngine(write_model(whole, BOTTLENECK_INPUT, ALL_OUTPUTS)).run(probe)
    assert found.shape == (len(probe), LABELS + 1 + model.axes.shape[1])
    np.testing.assert_allclose(found[:, :LABELS], layer.probabilities(probe), atol=1e-5)
    np.testing.assert_allclose(found[:, LABELS], scores, atol=2e-3, rtol=1e-4)
    np.testing.assert_allclose(found[:, LABELS + 1 :], places, atol=1e-4)


def test_a_graph_with_such_names_is_left_as_it_is() -> None:
    layer = FinalLayer(np.ones((4, 2), np.float32), np.zeros(2, np.float32))
    model = fit_unknown(
        Samples(np.random.default_rng(0).random((40, 4), np.float32), np.arange(40) % 2)
    )
    assert model is not None
    content = append_unknown(serialise(final_layer_graph(layer)), model)
    assert content is not None
    assert append_unknown(content, model) is None
    assert with_all_outputs(final_layer_graph(layer), "final_result") is None
