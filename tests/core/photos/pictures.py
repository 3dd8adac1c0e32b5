"""Drawn pictures and what people do to them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from tlcli.arrays import Array


def drawn(seed: int, side: int = 240) -> Image.Image:
    """Return a picture with structure at several scales."""
    draw = np.random.default_rng(seed)
    total = np.zeros((side, side, 3))
    for cells in (4, 9, 24, 120):
        noise = Image.fromarray(draw.integers(0, 255, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC), float)
    return Image.fromarray((total / 4).astype(np.uint8))


def chequered(seed: int, cells: int = 24, side: int = 240) -> Image.Image:
    """Return a fine, regular pattern that is a little different in each cell."""
    draw = np.random.default_rng(seed)
    dark = np.add.outer(np.arange(cells), np.arange(cells)) % 2 == 0
    values = np.where(dark, 70, 180) + draw.integers(-40, 40, (cells, cells))
    image = Image.fromarray(values.astype(np.uint8))
    return image.resize((side, side), Image.Resampling.BICUBIC).convert("RGB")


def encoded(image: Image.Image, quality: int = 90) -> bytes:
    """Return the image as a JPEG."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def variants(image: Image.Image) -> dict[str, bytes]:
    """Return near copies of a picture by the kind that a check should report."""
    width, height = image.size
    crop = image.crop((width // 20, height // 12, width * 19 // 20, height * 59 // 60))
    return {
        "copy": encoded(ImageOps.grayscale(image.resize((width // 3, height // 3))), 40),
        "mirrored": encoded(ImageOps.mirror(image)),
        "crop": encoded(crop),
        "mirrored crop": encoded(ImageOps.mirror(crop)),
    }


def blurred(image: Image.Image) -> Image.Image:
    """Return the picture out of focus."""
    return image.filter(ImageFilter.GaussianBlur(6))


def thumbnails_of(contents: list[bytes]) -> Array:
    """Return the thumbnails of encoded images, uint8 [N, 64, 64]."""
    from tlcli.core.photos.facts import Facts, facts_of_bytes

    return Facts(np.stack([facts_of_bytes(each) for each in contents])).thumbnails()
