"""Thumbnails: RGB, no larger than requested, upright by default."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps

_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


def picture(source: Path | str | bytes, side: int, *, upright: bool = True) -> Image.Image | None:
    """Return the image as RGB, alpha over white, or None if it cannot be read.

    Args:
        source: a file, or the bytes of one.
        side: the longest side in pixels; smaller images keep their size.
        upright: apply its EXIF orientation.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                image.draft("RGB", (2 * side, 2 * side))
                small = ImageOps.exif_transpose(image) if upright else image
                if small.mode in _WITH_ALPHA or "transparency" in small.info:
                    layer = small.convert("RGBA")
                    small = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
                small = small.convert("RGB")
                small.thumbnail((side, side), Image.Resampling.BILINEAR)
                return small
    except Exception:
        # Thumbnails are optional: for a file with any fault there is none.
        return None
