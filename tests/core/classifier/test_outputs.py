"""What graphs return becomes one score per label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tlcli.core.classifier.outputs import Scores, activation_of, choose_output
from tlcli.errors import GraphError

GRAPH = Path("graph.pb")


def test_probabilities_stay() -> None:
    given = np.array([[0.25, 0.75]], np.float32)
    np.testing.assert_array_equal(Scores(GRAPH, 2, "softmax")(given, 1), given)


def test_logits_get_a_softmax() -> None:
    found = Scores(GRAPH, 3, "logits")(np.array([[1.0, -2.0, 900.0]]), 1)
    np.testing.assert_allclose(found, [[0.0, 0.0, 1.0]], atol=1e-6)


def test_logarithms_of_probabilities() -> None:
    found = Scores(GRAPH, 2, "log_softmax")(np.log([[0.2, 0.8]]), 1)
    np.testing.assert_allclose(found, [[0.2, 0.8]], rtol=1e-6)


def test_scores_of_a_sigmoid_are_independent() -> None:
    given = np.array([[0.9, 0.8]], np.float32)
    for activation in ("sigmoid", None):
        np.testing.assert_array_equal(Scores(GRAPH, 2, activation)(given, 1), given)


def test_one_score_of_a_sigmoid_is_the_second_label() -> None:
    found = Scores(GRAPH, 2, "sigmoid")(np.array([[0.9], [0.2]]), 2)
    np.testing.assert_allclose(found, [[0.1, 0.9], [0.8, 0.2]], rtol=1e-6)
    found = Scores(GRAPH, 2, "logits")(np.array([[0.0]]), 1)
    np.testing.assert_allclose(found, [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("scores", "activation"),
    [
        ([0.2, 0.8], "softmax"),
        ([0.25, 0.25, 0.496], "softmax"),
        ([0.9, 0.8], "sigmoid"),
        ([0.9], "sigmoid"),
        ([1.0], "sigmoid"),
        ([-0.1, 0.5], "logits"),
        ([3.0], "logits"),
        ([np.nan, 1.0], None),
    ],
)
def test_values_show_what_scores_are(scores: list[float], activation: str | None) -> None:
    assert activation_of(np.array([scores], np.float32)) == activation


def test_infinite_logits_are_left_to_whoever_reports_their_image(
    recwarn: pytest.WarningsRecorder,
) -> None:
    assert np.isnan(Scores(GRAPH, 3, "logits")(np.array([[np.inf, np.inf, 0]]), 1)).any()
    found = Scores(GRAPH, 2, "logits")(np.array([[-1e9]]), 1)
    np.testing.assert_array_equal(found, [[1, 0]])
    assert not recwarn.list


def test_what_does_not_fit_the_labels_is_refused() -> None:
    with pytest.raises(GraphError, match=r"\[1, 4\] for 1 image.*3 labels.*--labels"):
        Scores(GRAPH, 3, "softmax")(np.zeros((1, 4)), 1)


def test_the_number_of_the_best_label_is_no_score() -> None:
    with pytest.raises(GraphError, match=r"whole numbers.*--output_layer"):
        Scores(GRAPH, 2, None)(np.array([1]), 1)


@pytest.mark.parametrize(
    ("activations", "sizes", "labels", "chosen"),
    [
        (["logits"], [7], None, 0),
        (["logits", "softmax"], [7, 5], None, 1),
        (["logits", "logits"], [7, 5], 5, 1),
        (["softmax", "softmax"], [7, 5], 7, 0),
        (["logits", "sigmoid"], [5, 5], None, 1),
        (["logits", "logits"], [5, 5], 5, None),
        (["logits", "numbers"], [5, 5], 5, 0),
    ],
)
def test_the_output_of_several(
    activations: list[str | None], sizes: list[int | None], labels: int | None, chosen: int | None
) -> None:
    assert choose_output(activations, sizes, labels) == chosen
