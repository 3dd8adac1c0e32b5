"""Pictures in memory, and the files that hold them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """Return the content of the file that Pillow writes of an image."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photo(width: int = 120, height: int = 90) -> Image.Image:
    """Return smooth colours, no two columns or rows alike."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    values = np.stack([x, y, 0.5 + 0.5 * np.sin(9 * x * y)], axis=2)
    return Image.fromarray((values * 255).astype(np.uint8))
