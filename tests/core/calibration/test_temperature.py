"""The temperature that makes probabilities of scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.calibration.temperature import best_temperature


def scored(count: int, sure: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scores [N, 4] that are ``sure`` times as far apart as the truth, and labels."""
    random = np.random.default_rng(seed)
    logits = 2 * random.standard_normal((count, 4))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return (sure * logits).astype(np.float32), labels


@pytest.mark.parametrize("sure", [0.5, 1.0, 3.0])
def test_many_rows_give_the_temperature_of_their_scores_with_and_without_a_prior(
    sure: float,
) -> None:
    scores, labels = scored(4000, sure)
    for deviation in (None, 0.5):
        assert best_temperature(scores, labels, deviation)[0] == pytest.approx(sure, rel=0.1)


def test_few_rows_leave_scores_nearly_as_they_are_with_a_prior() -> None:
    scores = np.eye(3, dtype=np.float32)[np.array([0, 1, 2] * 4)]
    labels = np.array([0, 1, 2] * 4)  # all right, as a near-perfect set is
    found = [best_temperature(scores, labels, each)[0] for each in (None, 0.5, 0.1)]
    assert found == sorted(found)
    assert found[0] < 0.4
    assert 0.9 < found[2] < 1


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 30), st.floats(0.1, 8), st.sampled_from([0.2, 0.5, 1.0]), st.integers(0, 99))
def test_the_temperature_with_a_prior_is_the_best_of_all(
    count: int, sure: float, deviation: float, seed: int
) -> None:
    scores, labels = scored(count, sure, seed)
    found, _ = best_temperature(scores, labels, deviation)

    def value(temperature: float) -> float:
        logits = scores / temperature
        logits = logits - logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return float(
            -logs[np.arange(count), labels].sum() + math.log(temperature) ** 2 / (2 * deviation**2)
        )

    assert all(value(found) <= value(found * factor) + 1e-6 for factor in (0.8, 0.95, 1.05, 1.25))


def test_weights_count_as_repeated_rows_do() -> None:
    scores, labels = scored(60, 2.0)
    twice = np.concatenate([np.arange(60), np.arange(30)])
    weights = np.where(np.arange(60) < 30, 2.0, 1.0)
    repeated = best_temperature(scores[twice], labels[twice])[0]
    assert best_temperature(scores, labels, None, weights)[0] == pytest.approx(repeated, rel=0.05)


def test_scores_without_differences_stay() -> None:
    scores = np.zeros((5, 3), np.float32)
    assert best_temperature(scores, np.zeros(5, np.intp), 0.5) == (1.0, pytest.approx(math.log(3)))
