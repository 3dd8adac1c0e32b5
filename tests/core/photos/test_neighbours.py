"""Nearest rows by blocks: the block size changes nothing, and they are those of all pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.fitting.main_axes import directions
from tlcli.core.photos.neighbours import nearest


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 400), st.integers(0, 99))
def test_blocks_find_the_nearest_of_all_pairs(
    rows: int, count: int, products: int, seed: int
) -> None:
    turned = directions(np.random.default_rng(seed).standard_normal((rows, 5)).astype(np.float32))
    found = nearest(turned, count, products)
    cosines = turned @ turned.T
    np.fill_diagonal(cosines, -np.inf)
    expected = -np.sort(-cosines, axis=1)[:, : min(count, rows - 1)]
    np.testing.assert_allclose(found.cosines, expected, atol=1e-5)
    assert not (found.rows == np.arange(rows)[:, np.newaxis]).any()


def test_equal_rows_are_neighbours_but_not_of_themselves() -> None:
    found = nearest(np.ones((4, 1), np.float32), 3)
    assert found.rows.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
