from __future__ import annotations

import numpy as np
import pytest

from tlcli.core.evaluation.metrics import wilson_interval
from tlcli.core.evaluation.thresholds import THRESHOLDS, threshold_figures


def test_figures_are_those_of_counting() -> None:
    generator = np.random.default_rng(0)
    scores = np.round(generator.uniform(0.2, 1, 300), 2)
    right = generator.uniform(size=300) < scores
    found = threshold_figures(scores, right)
    assert [each.threshold for each in found] == list(THRESHOLDS)
    for each in found:
        kept = right[scores >= each.threshold]
        assert each.count == len(kept)
        assert each.labelled == len(kept) / 300
        assert each.accuracy == pytest.approx(kept.mean())
        assert each.interval == wilson_interval(kept.sum(), len(kept))
    assert found[0].count == 300


def test_a_score_that_is_the_threshold_gets_its_label() -> None:
    (found,) = threshold_figures([0.8, 0.79], [True, False], [0.8])
    assert (found.count, found.accuracy) == (1, 1.0)


def test_where_no_image_gets_a_label_there_is_no_accuracy() -> None:
    (found,) = threshold_figures([0.5], [True], [0.9])
    assert (found.count, found.labelled, found.accuracy, found.interval) == (0, 0.0, None, None)


def test_without_images_there_are_no_figures() -> None:
    assert threshold_figures([], []) == ()
