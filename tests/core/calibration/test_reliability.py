"""How often predictions are right, compared with how often their scores promise it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcli.core.calibration.reliability import Calibration, reliability


def test_the_error_is_the_mean_distance_over_bins_of_equal_numbers() -> None:
    found = reliability([0.95] * 25 + [0.55] * 25, [True] * 25 + [True] * 10 + [False] * 15)
    assert found is not None
    assert [(each.count, each.accuracy) for each in found.bins] == [(25, 0.4), (25, 1.0)]
    assert found.error == pytest.approx((0.15 + 0.05) / 2)
    assert found.count == 50
    many = reliability([0.5] * 1000, [True] * 1000)
    assert many is not None
    assert len(many.bins) == 15


def test_scores_that_are_exact_have_the_error_that_chance_gives_them() -> None:
    random = np.random.default_rng(0)
    errors, chances = [], []
    for _ in range(200):
        scores = random.uniform(0.3, 1, 100)
        found = reliability(scores, random.uniform(size=100) < scores)
        assert found is not None
        errors.append(found.error)
        chances.append(found.chance)
    assert np.mean(errors) == pytest.approx(np.mean(chances), rel=0.1)


def test_no_images_have_no_reliability() -> None:
    assert reliability([], []) is None


def test_the_sentence_speaks_of_scores_that_are_nearly_sure_where_there_are_enough() -> None:
    found = reliability([0.9] * 25 + [0.4] * 75, [True] * 22 + [False] * 78)
    assert found is not None
    assert found.sentence() == (
        "When it reports 90% (scores of 80% to 97%), it is right in 88 of 100 images (N = 25)."
    )
    few = reliability([0.9] * 4, [True, True, True, False])
    assert few is not None
    assert few.sentence() == "On average it reports 90% and is right in 75 of 100 images (N = 4)."


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_errors_are_fractions_and_every_image_is_in_one_bin(
    pairs: list[tuple[float, bool]],
) -> None:
    found = reliability(*zip(*pairs, strict=True))
    assert found is not None
    assert 0 <= found.error <= 1
    assert found.count == len(pairs)
    assert all(0 <= each.score <= 1 for each in found.bins)


def test_a_temperature_of_one_reports_one_error() -> None:
    found = reliability([0.9] * 10, [True] * 8 + [False] * 2)
    assert found is not None
    calibration = Calibration(found, found, 1.0)
    assert "before" not in calibration.sentence()
    assert set(calibration.to_dict()) == {"before", "after", "by_chance", "images", "temperature"}
