"""What options mean together."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrain.arguments.options import RetrainOptions


def test_without_a_distortion_images_are_seen_as_they_are() -> None:
    assert not RetrainOptions(Path("photos"), distortion_views=8).distorts


@pytest.mark.parametrize(
    "name", ["flip_left_right", "random_crop", "random_scale", "random_brightness"]
)
def test_each_distortion_is_one(name: str) -> None:
    value = True if name == "flip_left_right" else 10
    assert RetrainOptions(Path("photos"), **{name: value}).distorts
