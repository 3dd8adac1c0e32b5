from __future__ import annotations

import numpy as np
import pytest

from tlcli.core.final_layer.sampling import LabelSampler, truncated_normal


def test_labels_are_drawn_uniformly_and_absent_ones_never() -> None:
    labels = np.array([0] * 90 + [2] * 10)
    drawn = np.concatenate([LabelSampler(labels, 100, 7, 1).at(step) for step in range(200)])
    assert abs((labels[drawn] == 2).mean() - 0.5) < 0.02
    counts = np.bincount(drawn, minlength=100)
    # 20000 draws: about 111 of each of the 90, about 1000 of each of the 10.
    assert counts[:90].min() > 60
    assert counts[90:].min() > 850


def test_drawn_batches_do_not_depend_on_what_was_drawn_before() -> None:
    labels = np.arange(50) % 4
    forward = LabelSampler(labels, 8, 1, 1)
    batches = [forward.at(step).tolist() for step in range(130)]
    for step in (129, 0, 64, 63):
        assert LabelSampler(labels, 8, 1, 1).at(step).tolist() == batches[step]
    assert batches[0] != LabelSampler(labels, 8, 2, 1).at(0).tolist()
    assert batches[0] != LabelSampler(labels, 8, 1, 2).at(0).tolist()


def test_first_batch_is_pinned() -> None:
    # Another order of draws would silently change every model that a seed gave before.
    assert LabelSampler(np.arange(10) % 3, 8, 0, 1).at(0).tolist() == PINNED


PINNED = [8, 2, 2, 7, 8, 6, 8, 7]


def test_initial_weights_are_truncated() -> None:
    values = truncated_normal((400, 50), 0.001, 0, 0)
    assert np.abs(values).max() <= 0.002
    # The deviation of a normal cut at two deviations.
    assert values.std() == pytest.approx(0.00088, rel=0.02)


def test_all_rows_are_taken_once_for_minus_one() -> None:
    assert LabelSampler(np.array([1, 1, 0]), -1, 0, 1).at(9).tolist() == [0, 1, 2]


@pytest.mark.parametrize("seed", [-1, 0, 2**64, 10**30])
def test_any_integer_is_a_seed(seed: int) -> None:
    rows = LabelSampler(np.arange(5), 4, seed, 1).at(3)
    assert rows.shape == (4,)
    assert rows.min() >= 0
    assert rows.max() < 5
