"""Three ways to resize an image to a network's input size."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlcli.core.images.decoding import drop_alpha, flatten, orientation, turn
from tlcli.core.images.fast_jpeg import fast_jpeg_reader, turn_pixels
from tlcli.core.images.formats import JPEG_FORMATS

Filter = Literal["bilinear", "bicubic", "lanczos"]
_FILTERS: dict[Filter, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Orientations that swap height and width.
_SIDEWAYS = frozenset({5, 6, 7, 8})


def resize_over_white(image: Image.Image, height: int, width: int) -> NDArray[np.uint8]:
    """Return uint8 [height, width, 3]: upright, over white, stretched with antialiasing.

    ``image`` need not be loaded; an unloaded JPEG at least twice the target in both directions is
    decoded at a half, a quarter or an eighth of its size.
    """
    is_jpeg = image.format in JPEG_FORMATS
    flat = image if is_jpeg else flatten(image)
    # Not before: loading a TIFF rotates it and removes the tag.
    value = orientation(image)
    size = (height, width) if value in _SIDEWAYS else (width, height)
    box = None
    if is_jpeg:
        drafted = image.draft(None, size)  # type: ignore[no-untyped-call, unused-ignore]
        # The box is in fractions of a pixel where the size is no multiple of the scale.
        box = None if drafted is None else drafted[1]
        reader = fast_jpeg_reader()
        pixels = None if reader is None else reader.read(image, size, box)
        if pixels is not None:
            return turn_pixels(pixels, value)
        flat = flatten(image)
    # Rotating after resizing gives the same picture for a fraction of the work.
    return _over_white(turn(flat.resize(size, Image.Resampling.BILINEAR, box=box), value))


def _over_white(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "La":
        grey, alpha = np.moveaxis(np.asarray(image), 2, 0)
        pixels = np.repeat(grey[:, :, None], 3, axis=2)
    elif image.mode == "RGBa":
        values = np.asarray(image)
        pixels, alpha = values[:, :, :3], values[:, :, 3]
    else:
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    # Colours are premultiplied, so white shows through by what alpha leaves.
    white = 255 - alpha.astype(np.int16)
    over: NDArray[np.uint8] = np.minimum(pixels + white[:, :, None], 255).astype(np.uint8)
    return over


def resize_by_pillow(
    image: Image.Image, size: tuple[int, int], name: Filter, crops: bool, upright: bool
) -> NDArray[np.uint8]:
    """Return uint8 [height, width, 3] as Python programs resize: by Pillow, alpha dropped.

    Args:
        image: need not be loaded.
        size: (height, width) in pixels.
        name: of Pillow's filter.
        crops: use the middle part of the image that has the shape of the result.
        upright: apply the EXIF orientation.
    """
    # Not after: loading a TIFF rotates it and removes the tag.
    value = orientation(image) if upright else 1
    whole = turn(Image.fromarray(drop_alpha(image)), value)
    height, width = size
    if crops:
        from PIL import ImageOps

        return np.asarray(ImageOps.fit(whole, (width, height), _FILTERS[name]))
    return np.asarray(whole.resize((width, height), _FILTERS[name]))


GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Of red, green and blue in a grey value, as in Pillow's mode "L" (ITU-R BT.601)."""


def grey_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return uint8 [height, width, 1] for RGB, by `GREY_WEIGHTS`."""
    return np.asarray(Image.fromarray(pixels).convert("L"))[..., np.newaxis]


def resize_plain_bilinear(
    pixels: NDArray[np.uint8], height: int, width: int
) -> NDArray[np.float32]:
    """Return float32 [height, width, channels] in 0..255 as TensorFlow 1's ``ResizeBilinear`` does.

    Corners are not aligned and pixel centres are not halved: each output pixel mixes
    the four input pixels around its upper left corner, however many are between two outputs.
    """
    top, bottom, down = _neighbours(pixels.shape[0], height)
    left, right, across = _neighbours(pixels.shape[1], width)
    across = across[None, :, None]

    def mixed(rows: NDArray[np.intp]) -> NDArray[np.float32]:
        chosen = pixels[rows]  # [height, input width, 3]
        first = chosen.take(left, axis=1).astype(np.float32)
        values: NDArray[np.float32] = chosen.take(right, axis=1).astype(np.float32)
        values -= first
        values *= across
        values += first
        return values

    upper, lower = mixed(top), mixed(bottom)
    lower -= upper
    lower *= down[:, None, None]
    lower += upper
    return lower


def _neighbours(
    inputs: int, outputs: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    positions = np.arange(outputs, dtype=np.float32) * (np.float32(inputs) / np.float32(outputs))
    first = np.floor(positions).astype(np.intp)
    fractions = positions - first.astype(np.float32)
    first = np.minimum(first, inputs - 1)
    return first, np.minimum(first + 1, inputs - 1), fractions
