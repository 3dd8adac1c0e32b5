"""Graphs with several labels per image: thresholds, the end of the graph, and the folders."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from label.formats import OutputStyle, TextWriter
from label.sorting import Sorter
from label.tally import Tally
from tlcli.core.classifier.outputs import Prediction, Score
from tlcli.core.export.embedded_card import embed_card, read_embedded_card
from tlcli.core.export.frozen_graph import final_layer_graph, serialise
from tlcli.core.export.model_card import CardInput, ModelCard, from_dict
from tlcli.core.final_layer.sgd import FinalLayer

LIMITS = {"pool": 0.6, "garden": 0.2, "tree": 0.5}


def prediction(pool: float, garden: float, tree: float = 0.1) -> Prediction:
    found = {"pool": pool, "garden": garden, "tree": tree}
    scores = sorted((Score(*each) for each in found.items()), key=lambda each: -each.score)
    return Prediction("1.jpg", tuple(scores), thresholds=LIMITS)


def labels(found: Prediction) -> list[str]:
    return [each.label for each in found.scores]


def test_labels_count_from_their_own_thresholds() -> None:
    assert labels(prediction(0.55, 0.3).top(5)) == ["garden"]
    assert labels(prediction(0.7, 0.3).top(5)) == ["pool", "garden"]
    assert labels(prediction(0.7, 0.3).top(1)) == ["pool"]
    none = prediction(0.55, 0.1).top(5)
    assert not none.scores
    assert none.unsure == Score("pool", 0.55)


def test_a_threshold_that_is_given_replaces_them() -> None:
    assert labels(prediction(0.55, 0.3).top(5, 0.5)) == ["pool"]
    assert labels(prediction(0.55, 0.3).top(5, 0.0)) == ["pool", "garden", "tree"]


def test_all_labels_that_count_are_shown_unless_a_number_is_given() -> None:
    names = [f"label {number}" for number in range(9)]
    scores = tuple(Score(name, 0.9) for name in names)
    several = Prediction("1.jpg", scores, thresholds=dict.fromkeys(names, 0.5))
    assert len(OutputStyle().shown(several).scores) == 9
    assert len(OutputStyle(top_k=2).shown(several).scores) == 2
    assert len(OutputStyle().shown(Prediction("1.jpg", scores)).scores) == 5


def test_digits_show_that_the_best_score_is_below_its_own_threshold() -> None:
    stream = io.StringIO()
    style = OutputStyle()
    TextWriter(stream, style, single=True).write(style.shown(prediction(0.59996, 0.1)))
    assert stream.getvalue() == "unsure (best: pool, 0.59996)\n"


def test_an_image_goes_into_the_folder_of_each_label(tmp_path: Path) -> None:
    image = tmp_path / "1.jpg"
    image.write_bytes(b"image")
    with Sorter(tmp_path / "sorted", list(LIMITS)) as sorter:
        tally = Tally(None, 2, sorter, None)
        for pool in (0.7, 0.1):
            found = prediction(pool, 0.3 if pool > 0.5 else 0.1)
            tally.add(Prediction(str(image), found.scores, thresholds=LIMITS), str(image))
    placed = sorted(path.parent.name for path in (tmp_path / "sorted").glob("*/1.jpg"))
    assert placed == ["garden", "pool", "unsure"]
    assert tally.labels["pool"] == tally.labels["garden"] == 1


def layer() -> FinalLayer:
    return FinalLayer(np.ones((4, 3), np.float32), np.zeros(3, np.float32), "sigmoid")


def test_the_graph_ends_in_a_sigmoid() -> None:
    graph = final_layer_graph(layer())
    assert graph.node[-1].op == "Sigmoid"
    assert graph.node[-1].name == "final_result"
    np.testing.assert_allclose(layer().probabilities(np.zeros((1, 4))), 0.5)


def test_thresholds_are_in_the_card_and_in_the_graph(tmp_path: Path) -> None:
    card = ModelCard(("pool", "garden"), CardInput(), "final_result", thresholds=(0.25, 0.5))
    values = {**card.to_dict(), "labels": ["pool", "garden"]}
    values["input"]["range"] = [0, 1]
    assert values["thresholds"] == {"pool": 0.25, "garden": 0.5}
    assert from_dict(values).thresholds == (0.25, 0.5)
    with pytest.raises(ValueError, match="one for each label"):
        from_dict({**values, "thresholds": {"pool": 0.25}})
    path = tmp_path / "graph.pb"
    content = serialise(final_layer_graph(layer()))
    known = {"labels": ("pool", "garden"), "input": CardInput(), "output": "final_result"}
    path.write_bytes(embed_card(content, **known, thresholds=(0.25, 0.5)))
    embedded = read_embedded_card(path)
    assert embedded is not None
    assert embedded.thresholds == (0.25, 0.5)
    # Without thresholds the bytes are those of earlier versions.
    assert b"thresholds" not in embed_card(content, **known)
