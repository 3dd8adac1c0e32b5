"""Heat maps as pictures: warm colours over a grey image."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from tlcli.arrays import Array

if TYPE_CHECKING:
    from PIL import Image

# How much of the colour shows through where the map is highest.
HEAT_STRENGTH = 0.65
# From cold to warm; even steps in lightness, so it also reads in grey.
_HEAT = np.array(
    [(13, 8, 90), (84, 2, 163), (158, 25, 157), (212, 72, 121), (245, 126, 77), (252, 200, 60)],
    dtype=np.float32,
)


def overlay(image: Image.Image, activation: Array) -> Image.Image:
    """Lay an activation map over an image: grey where it is low, warm where it is high.

    Args:
        image: any size; shown as the network saw it, that is whole.
        activation: [gh, gw], any range; what is below zero speaks against the label and counts
            as zero.

    Returns:
        RGB, of the image's size.
    """
    from PIL import Image

    heat = np.maximum(np.nan_to_num(np.asarray(activation, dtype=np.float32)), 0)
    highest = float(heat.max()) if heat.size else 0.0
    if highest > 0:
        heat = heat / highest
    scaled = Image.fromarray(heat).resize(image.size, Image.Resampling.BICUBIC)
    level = Image.fromarray(np.rint(np.clip(np.asarray(scaled), 0, 1) * 255).astype(np.uint8))
    # By tables of 256 levels: in NumPy this takes as long as running a small network.
    *channels, alpha = _heat_tables()
    colour = Image.merge("RGB", [level.point(table) for table in channels])
    grey = image.convert("L")
    return Image.composite(colour, Image.merge("RGB", [grey] * 3), level.point(alpha))


@functools.cache
def _heat_tables() -> tuple[list[int], list[int], list[int], list[int]]:
    """Return red, green, blue and opacity, 0 to 255, of the heat levels 0 to 255."""
    level = np.arange(256) / 255
    steps = np.linspace(0, 1, len(_HEAT))
    red, green, blue = (np.rint(np.interp(level, steps, _HEAT[:, i])) for i in range(3))
    # Even the coldest place keeps a little colour, so that the map is seen to cover the image.
    alpha = np.rint(255 * HEAT_STRENGTH * (0.25 + 0.75 * level))
    return tuple(table.astype(int).tolist() for table in (red, green, blue, alpha))
