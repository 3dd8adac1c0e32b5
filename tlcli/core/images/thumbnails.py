"""Thumbnails: RGB, no larger than requested, upright by default."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tlcli.core.images.decoding import Source, open_image
from tlcli.core.images.slow_images import in_time

_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


def picture(source: Source, side: int, *, upright: bool = True) -> Image.Image | None:
    """Return the image as RGB, alpha over white, or None if it cannot be read.

    Args:
        source: a file, or the bytes of one.
        side: the longest side in pixels; smaller images keep their size.
        upright: apply its EXIF orientation.
    """
    try:
        return Image.fromarray(_pixels(source, side, upright))
    except Exception:
        # Thumbnails are optional: for a file with any fault there is none.
        return None


@in_time
def _pixels(source: Source, side: int, upright: bool) -> NDArray[np.uint8]:
    with open_image(source) as image:
        opened: Any = image
        opened.draft("RGB", (2 * side, 2 * side))
        if opened.mode in ("L", "RGB") and "transparency" not in opened.info:
            # Small before it is turned and converted: copies of a large photo take hundreds of
            # megabytes each.
            opened.thumbnail((side, side), Image.Resampling.BILINEAR)
        small: Image.Image = ImageOps.exif_transpose(opened) if upright else opened
        if small.mode in _WITH_ALPHA or "transparency" in small.info:
            layer = small.convert("RGBA")
            small = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        small = small.convert("RGB")
        small.thumbnail((side, side), Image.Resampling.BILINEAR)
        return np.asarray(small)
