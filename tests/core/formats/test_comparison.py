"""How far scores agree, and what they are worth."""

from __future__ import annotations

import numpy as np
import pytest

from tlcli.core.formats.comparison import agreement, quality

F = np.float32


def test_labels_and_scores_are_compared() -> None:
    expected = np.array([[0.9, 0.1], [0.4, 0.6]], F)
    found = agreement(expected, np.array([[0.8, 0.2], [0.55, 0.45]], F))
    assert (found.images, found.same_label) == (2, 0.5)
    assert found.difference == pytest.approx(0.15)


def test_of_several_labels_each_has_its_own_threshold() -> None:
    expected, given = np.array([[0.5, 0.2]], F), np.array([[0.5, 0.35]], F)
    assert agreement(expected, given, (0.4, 0.3)).same_label == 0.5
    assert agreement(expected, given, (0.4, 0.4)).same_label == 1


def test_no_number_is_an_infinite_difference() -> None:
    assert agreement(np.zeros((1, 2), F), np.full((1, 2), np.nan, F)).difference == float("inf")


def test_accuracy_and_mean_average_precision() -> None:
    scores = np.array([[0.9, 0.1], [0.4, 0.6]], F)
    assert quality(scores, np.array([0, 0])) == 0.5
    # The label that no image has counts for nothing.
    assert quality(scores, np.array([[True, False], [False, False]])) == 1
    assert quality(scores[:0], np.zeros(0, np.int64)) is None
