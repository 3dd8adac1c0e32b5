"""Heat maps as pictures: warm colours over a grey image."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from tlcli.arrays import Array, Floats

if TYPE_CHECKING:
    from PIL import Image

# How much of the colour shows through where the map is highest.
HEAT_STRENGTH = 0.65
_OFFSET_QUANTILE = 0.25
# Differences between places below this proportion of the highest value are drawn pale.
_LEAST_CONTRAST = 0.1
# From cold to warm; even steps in lightness, so it also reads in grey.
_HEAT = np.array(
    [(13, 8, 90), (84, 2, 163), (158, 25, 157), (212, 72, 121), (245, 126, 77), (252, 200, 60)],
    dtype=np.float32,
)


def overlay(image: Image.Image, activation: Array) -> Image.Image:
    """Lay an activation map over an image: grey where it is low, warm where it is high.

    Args:
        image: any size; shown as the network saw it, that is whole.
        activation: [gh, gw], any range; see `levels`.

    Returns:
        RGB, of the image's size.
    """
    from PIL import Image

    scaled = Image.fromarray(levels(activation)).resize(image.size, Image.Resampling.BICUBIC)
    level = Image.fromarray(np.rint(np.clip(np.asarray(scaled), 0, 1) * 255).astype(np.uint8))
    # By tables of 256 levels: in NumPy this takes as long as running a small network.
    *channels, alpha = _heat_tables()
    colour = Image.merge("RGB", [level.point(table) for table in channels])
    grey = image.convert("L")
    return Image.composite(colour, Image.merge("RGB", [grey] * 3), level.point(alpha))


def levels(activation: Array) -> Floats:
    """Return how warm each place is drawn, 0 to 1, [gh, gw].

    Places below zero speak against the label and are cold. Where three quarters of the places are
    above zero, their lower quartile is drawn as zero: such a map contains an offset that is the
    same everywhere, because features of the background are averaged too, and because a final layer
    may add to all places what its bias subtracts. Drawn with it, the map would be warm
    everywhere.

    Args:
        activation: [gh, gw], any range; NaN is cold.
    """
    heat: Floats = np.nan_to_num(np.asarray(activation, dtype=np.float32))
    if not heat.size:
        return heat
    lowest = max(0.0, float(np.quantile(heat, _OFFSET_QUANTILE)))
    highest = float(heat.max())
    if highest <= 0:
        return np.zeros_like(heat)
    warm: Floats = np.maximum(heat - lowest, 0)
    return warm / max(highest - lowest, _LEAST_CONTRAST * highest)


@functools.cache
def _heat_tables() -> tuple[list[int], list[int], list[int], list[int]]:
    """Return red, green, blue and opacity, 0 to 255, of the heat levels 0 to 255."""
    level = np.arange(256) / 255
    steps = np.linspace(0, 1, len(_HEAT))
    red, green, blue = (np.rint(np.interp(level, steps, _HEAT[:, i])) for i in range(3))
    # Even the coldest place keeps a little colour, so that the map is seen to cover the image.
    alpha = np.rint(255 * HEAT_STRENGTH * (0.25 + 0.75 * level))
    return tuple(table.astype(int).tolist() for table in (red, green, blue, alpha))
