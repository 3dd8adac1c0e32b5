from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlcli.core.heat_maps.overlay import overlay


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
