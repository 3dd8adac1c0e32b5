from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tlcli.core.evaluation.confusion import DENSE_LABELS, ConfusionMatrix

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=60)


@given(PAIRS)
def test_every_image_is_counted_in_its_cell(pairs: list[tuple[int, int]]) -> None:
    matrix = ConfusionMatrix.of([row for row, _ in pairs], [column for _, column in pairs], 6)
    expected = np.zeros((6, 6), int)
    for row, column in pairs:
        expected[row, column] += 1
    np.testing.assert_array_equal(matrix.matrix, expected)
    sums = matrix.row_sums()
    assert [sums.get(row, 0) for row in range(6)] == expected.sum(axis=1).tolist()
    assert matrix.to_dict() == {"confusion": expected.tolist()}


def test_many_labels_are_written_as_cells() -> None:
    matrix = ConfusionMatrix.of([9_999, 3, 9_999], [3, 3, 3], 10_000)
    assert matrix.to_dict() == {
        "confusion": None,
        "confusion_cells": [[3, 3, 1], [9_999, 3, 2]],
    }
    largest = ConfusionMatrix.of([0], [1], DENSE_LABELS).to_dict()["confusion"]
    assert np.shape(largest) == (DENSE_LABELS, DENSE_LABELS)
