"""Average precision, exact matches and counts of several labels per image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcli.core.evaluation.multi_label.figures import average_precision, evaluate_marks


def slowly(scores: list[float], marked: list[bool]) -> float:
    """Return the average precision by its definition."""
    found = []
    for score, mark in zip(scores, marked, strict=True):
        if mark:
            above = [own for each, own in zip(scores, marked, strict=True) if each >= score]
            found.append(sum(above) / len(above))
    return sum(found) / len(found)


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.booleans()), min_size=1).filter(
        lambda rows: any(mark for _, mark in rows)
    )
)
def test_average_precision_is_the_mean_precision_at_each_image(
    rows: list[tuple[float, bool]],
) -> None:
    scores, marked = [score for score, _ in rows], [mark for _, mark in rows]
    found = average_precision(np.array(scores), np.array(marked))
    assert found == pytest.approx(slowly(scores, marked))


def test_two_perfect_images_promise_little() -> None:
    scores = np.array([[0.9, 0.9], [0.8, 0.1], [0.1, 0.8]], np.float32)
    found = evaluate_marks(scores, scores > 0.5, (0.5, 0.5))
    assert found.mean_average_precision is not None
    first = found.average_precisions[0]
    assert first is not None
    assert first.value == 1.0
    assert first.low < 0.4
    # Two labels tell more than one.
    assert first.low < found.mean_average_precision.low < 0.6


def test_figures_of_three_images() -> None:
    scores = np.array([[0.9, 0.2], [0.8, 0.7], [0.1, 0.6]], np.float32)
    marks = np.array([[True, False], [True, True], [True, False]])
    found = evaluate_marks(scores, marks, (0.5, 0.65))
    assert found.exact_match is not None
    assert found.exact_match.value == pytest.approx(2 / 3)
    assert found.hamming == pytest.approx(5 / 6)
    assert found.pairs.tolist() == [[2, 1], [1, 1]]
    values = found.to_dict(["a", "b"])
    assert values["labels"]["a"]["false_negatives"] == 1
    assert values["labels"]["b"]["true_negatives"] == 2
    assert values["mean_average_precision"] == 1.0
    low, high = values["mean_average_precision_interval"]
    assert 0 <= low <= 1.0 <= high


def test_each_row_may_have_thresholds_of_its_own() -> None:
    scores, marks = np.array([[0.4], [0.4]], np.float32), np.array([[True], [False]])
    found = evaluate_marks(scores, marks, np.array([[0.3], [0.5]]))
    assert found.accuracy == 1.0


def test_without_images_or_labels_there_is_nothing_to_say() -> None:
    none = evaluate_marks(np.zeros((0, 2), np.float32), np.zeros((0, 2), bool), (0.5, 0.5))
    assert none.mean_average_precision is none.exact_match is none.hamming is None
    unmarked = evaluate_marks(np.zeros((3, 2), np.float32), np.zeros((3, 2), bool), (0.5, 0.5))
    assert unmarked.mean_average_precision is None
    assert unmarked.accuracy == 1.0
