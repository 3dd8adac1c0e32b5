from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from tlcli.core.heat_maps.overlay import levels, overlay


def test_overlay_is_warm_where_the_map_is_high() -> None:
    activation = np.zeros((2, 2), np.float32)
    activation[0, 0] = 3
    mixed = np.asarray(overlay(Image.new("RGB", (40, 30), "white"), activation), dtype=int)
    assert mixed.shape == (30, 40, 3)
    warm, cold = mixed[2, 2], mixed[-3, -3]
    assert warm[0] > warm[2] + 60
    assert cold[2] > cold[0]


@pytest.mark.parametrize(
    "activation", [np.zeros((2, 2)), np.full((2, 2), -5.0), np.full((2, 2), np.nan)]
)
def test_overlay_of_nothing_is_even(activation: Any) -> None:
    mixed = np.asarray(overlay(Image.new("RGB", (8, 8)), activation))
    assert (mixed == mixed[0, 0]).all()


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.floats(-100, 100, width=16),
    )
)
def test_levels_keep_the_order_of_places(activation: Any) -> None:
    found = levels(activation)
    assert found.shape == activation.shape
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found.ravel()[np.argsort(activation, axis=None)]) >= 0).all()
    assert (found[activation <= 0] == 0).all()
    if activation.max() > 0 and np.quantile(activation, 0.25) <= 0:
        assert found.max() == 1


@given(st.floats(0, 40))
def test_an_offset_of_all_places_changes_nothing(offset: float) -> None:
    random = np.random.default_rng(0)
    activation = random.normal(10, 5, (7, 7)).clip(0.01)
    np.testing.assert_allclose(levels(activation + offset), levels(activation), atol=1e-5)


def test_a_map_that_is_nearly_even_stays_pale() -> None:
    activation = np.full((4, 4), 10.0)
    activation[1, 1] = 10.05
    assert levels(activation).max() < 0.06
