"""Balanced accuracy and macro F1: by hand, against their definition, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.evaluation.label_averages import (
    FEWEST_OF_A_LABEL,
    LabelAverages,
    label_averages,
)
from tlcli.core.evaluation.metrics import evaluate, wilson_interval


def of_matrix(matrix: list[list[int]]) -> LabelAverages:
    counts = np.array(matrix)
    truth, predicted = (np.repeat(each, counts[counts.nonzero()]) for each in counts.nonzero())
    return label_averages(evaluate(predicted, truth, len(counts)))


def test_a_small_case_by_hand() -> None:
    found = of_matrix([[8, 2], [1, 9]])

    # F1: 16 / 19 and 18 / 21; recall: 0.8 and 0.9.
    assert found.macro_f1 == pytest.approx((16 / 19 + 18 / 21) / 2)
    assert found.balanced_accuracy == pytest.approx(0.85)
    assert found.macro_f1_interval is not None


def test_labels_without_images_do_not_count() -> None:
    found = of_matrix([[8, 2, 0], [1, 9, 0], [0, 0, 0]])
    assert found.balanced_accuracy == pytest.approx(0.85)
    # One that was predicted has an F1 of 0, but no recall.
    predicted = of_matrix([[8, 1, 1], [1, 9, 0], [0, 0, 0]])
    assert predicted.balanced_accuracy == pytest.approx(0.85)
    assert predicted.macro_f1 == pytest.approx((16 / 19 + 18 / 20) / 3)
    assert predicted.macro_f1_interval is None


def test_without_images_there_are_no_figures() -> None:
    assert label_averages(evaluate([], [], 3)) == LabelAverages()
    assert LabelAverages().sentence() == ""


def test_few_images_of_a_label_allow_no_interval_of_macro_f1() -> None:
    few = FEWEST_OF_A_LABEL - 1
    assert of_matrix([[40, 1], [1, few - 1]]).macro_f1_interval is None
    assert of_matrix([[40, 1], [1, few]]).macro_f1_interval is not None


def test_labels_of_one_size_with_one_recall_have_the_interval_of_the_accuracy() -> None:
    found = of_matrix([[18, 2], [2, 18]])
    assert found.balanced_accuracy_interval == pytest.approx(wilson_interval(36, 40))


def test_of_all_right_or_all_wrong_the_intervals_are_those_of_all_images() -> None:
    right = of_matrix([[20, 0], [0, 20]])
    assert right.balanced_accuracy_interval == pytest.approx(wilson_interval(40, 40))
    assert right.macro_f1_interval == pytest.approx(wilson_interval(40, 40))
    wrong = of_matrix([[0, 20], [20, 0]])
    assert wrong.balanced_accuracy_interval == pytest.approx(wilson_interval(0, 40))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4), min_size=4, max_size=4))
def test_figures_are_those_of_their_definition_and_inside_their_intervals(
    rows: list[list[int]],
) -> None:
    counts = np.array(rows)
    found = of_matrix(rows)
    truth, predicted, right = counts.sum(axis=1), counts.sum(axis=0), np.diag(counts)
    either, present = truth + predicted > 0, truth > 0
    if not counts.any():
        assert found == LabelAverages()
        return
    f1 = (2 * right[either] / (truth + predicted)[either]).mean()
    assert found.macro_f1 == pytest.approx(f1)
    assert found.balanced_accuracy == pytest.approx((right[present] / truth[present]).mean())
    for value, interval in (
        (found.macro_f1, found.macro_f1_interval),
        (found.balanced_accuracy, found.balanced_accuracy_interval),
    ):
        if interval is not None:
            assert value is not None
            assert 0 <= interval[0] <= value <= interval[1] <= 1
            assert interval[1] > interval[0]


@pytest.mark.slow
@pytest.mark.parametrize(("labels", "images", "recall"), [(2, 40, 0.9), (5, 150, 0.8)])
def test_intervals_contain_the_true_value_about_as_often_as_they_say(
    labels: int, images: int, recall: float
) -> None:
    random = np.random.default_rng(1)
    confused = random.dirichlet(np.ones(labels), labels) * (1 - recall)
    shares = (confused + recall * np.eye(labels)) / labels
    right, either = np.diag(shares), shares.sum(axis=0) + shares.sum(axis=1)
    true = {"macro_f1": (2 * right / either).mean(), "balanced_accuracy": right.sum()}
    inside = dict.fromkeys(true, 0)
    counted = dict.fromkeys(true, 0)
    for _ in range(400):
        drawn = random.choice(labels**2, images, p=shares.ravel())
        found = vars(label_averages(evaluate(drawn % labels, drawn // labels, labels)))
        for name, value in true.items():
            interval = found[f"{name}_interval"]
            if interval is not None:
                counted[name] += 1
                inside[name] += interval[0] <= value <= interval[1]
    for name in true:
        assert counted[name] > 200
        assert 0.91 <= inside[name] / counted[name] <= 1
