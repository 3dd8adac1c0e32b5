"""Samples: how rows are read, and how they are dealt to folds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tlcli.core.final_layer.samples import RowScale, Samples, inner_folds


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(2, 5))
def test_labels_are_dealt_to_folds_one_after_another(labels: list[int], count: int) -> None:
    expected, dealt = [-1] * len(labels), 0
    for label in sorted(set(labels)):
        own = [row for row, each in enumerate(labels) if each == label]
        if len(own) > 1:
            for row in own:
                expected[row], dealt = dealt % count, dealt + 1
    assert inner_folds(np.array(labels), None, count).tolist() == expected


def test_scaled_samples_are_scaled_however_they_are_read() -> None:
    vectors = np.arange(24, dtype=np.float32).reshape(6, 4)
    scale = RowScale(np.full(4, 2, np.float32), np.array([1, 2, 0, 4], np.float32))
    expected = (vectors - 2) * scale.factors
    plain = Samples(vectors, np.arange(6), scale=scale)
    for samples, rows in ((plain, [0, 1, 2, 3, 4, 5]), (plain.at(np.array([4, 1, 5])), [4, 1, 5])):
        np.testing.assert_array_equal(samples.gathered(), expected[rows])
        np.testing.assert_array_equal(samples.gathered(1, 3), expected[rows][1:3])
        for numbers in (slice(0, 2), np.array([2, 0])):
            read = np.empty((2, 4), np.float32)
            samples.read(numbers, read)
            np.testing.assert_array_equal(read, expected[rows][numbers])
        assert samples.with_labels(samples.labels + 1).gathered().tolist() == (
            expected[rows].tolist()
        )
    np.testing.assert_array_equal(vectors, np.arange(24).reshape(6, 4))
