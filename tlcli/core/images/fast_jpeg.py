"""JPEGs decoded to exactly the pixels of Pillow in half of the time.

Pillow still opens each file: it recognises files that are no images, decompression bombs and the
orientation. Only decoding and resizing use simplejpeg and a compiled function of this package,
and only for ordinary files. Files that these refuse, or would read with a warning, are read by
Pillow from the start, so that tolerated damage and error messages are the same.

Every fingerprint covers the pixels. Both packages contain a libjpeg of their own, and Pillow 13
resizes tall images in another order than Pillow 12. So a few small pictures are read both ways
first; if the pixels differ, the fast way is not used.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]

# Bytes. Larger ones may take seconds, and Pillow can be interrupted.
_LARGEST = 64 << 20
# All decoders agree on these; Pillow reads CMYK and the like.
JPEG_MODES = frozenset({"L", "RGB"})
_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


@dataclass(frozen=True)
class FastJpegReader:
    """Decodes and resizes JPEGs as the Pillow of this process does.

    Attributes:
        decode: simplejpeg's ``decode_jpeg``.
        bilinear: the compiled ``resize``.
        instructions: the CPU instructions that ``bilinear`` uses: "avx2", or "plain" for none.
        tall_down_first: whether Pillow resizes the height of tall images before the width, as
            Pillow 13 does; 12 does so with those a hundred times as high as wide.
    """

    decode: Callable[..., Pixels]
    bilinear: Callable[..., None]
    instructions: str
    tall_down_first: bool

    def resize(self, pixels: Pixels, size: tuple[int, int], box: Box | None) -> Pixels:
        """Return the result of ``Image.resize(size, BILINEAR, box)`` for RGB pixels."""
        (tall, wide), (width, height) = pixels.shape[:2], size
        if self.tall_down_first:
            down_first = tall > height and tall - height > 2 * (wide - width)
        else:
            down_first = tall > height and tall > 100 * wide
        out: Pixels = np.empty((height, width, 3), np.uint8)
        self.bilinear(pixels, out, box or (0, 0, wide, tall), down_first)
        return out

    def read(self, image: Any, size: tuple[int, int], box: Box | None) -> Pixels | None:
        """Return an opened JPEG as RGB of a size, not rotated; None where Pillow must read it.

        Args:
            image: of one of `formats.JPEG_FORMATS`, its ``draft`` done, its pixels not yet decoded.
            size: width and height of the result.
            box: the region to resize, in pixels after the draft; None for all.
        """
        # Other files are large ones, which Pillow reads piece by piece.
        content = image.fp.getvalue() if isinstance(image.fp, io.BytesIO) else b""
        in_memory = 0 < len(content) <= _LARGEST
        if image.mode not in JPEG_MODES or not in_memory or len(image.tile) != 1:
            return None
        codec, _, offset, _ = image.tile[0]
        scale = image.decoderconfig[0] if image.decoderconfig else 1
        width, height = image.size
        # simplejpeg picks the smallest scale that is large enough: for images below eight pixels
        # several scales give the same size.
        if codec != "jpeg" or offset != 0 or (scale > 1 and min(width, height) <= 8 // scale):
            return None
        least = {"min_height": height, "min_width": width} if scale > 1 else {}
        try:
            # No larger than the size in the header, which Pillow has checked for bombs.
            out = np.empty((height, width, 3), np.uint8)
            pixels = self.decode(content, "RGB", buffer=out, **least)
            return self.resize(pixels, size, box) if pixels.shape == out.shape else None
        except (ValueError, MemoryError):
            return None


def fast_jpeg_reader() -> FastJpegReader | None:
    """Return the fast reader, or None where only Pillow reads JPEGs."""
    found = _find()
    return found if isinstance(found, FastJpegReader) else None


def state() -> dict[str, Any]:
    """Return "used", whether the fast reader is used; "instructions"; and "reason", why not."""
    found = _find()
    if isinstance(found, str):
        return {"used": False, "instructions": None, "reason": found}
    return {"used": True, "instructions": found.instructions, "reason": None}


def turn_pixels(pixels: Pixels, orientation: int) -> Pixels:
    """Return pixels upright, given their EXIF orientation, as `decoding.turn` does images."""
    turn = _TURNS.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


@functools.cache
def _find() -> FastJpegReader | str:
    try:
        from tlcli.core.images._bilinear import INSTRUCTIONS, resize
    except ImportError:
        return "not compiled when tlcli was installed"
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return "simplejpeg is missing"
    for tall_down_first in (True, False):
        reader = FastJpegReader(decode_jpeg, resize, INSTRUCTIONS, tall_down_first)
        if _resizes_as_pillow(reader):
            same = _decodes_as_pillow(reader)
            return reader if same else "simplejpeg gives other pixels than Pillow"
    return "this Pillow resizes in a way of its own"


def _resizes_as_pillow(reader: FastJpegReader) -> bool:
    pixels = _noise()
    image = Image.fromarray(pixels)
    boxes: tuple[Box | None, ...] = (None, (0.0, 0.0, 40.5, 60.25))
    return all(
        np.array_equal(
            np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box)),
            reader.resize(pixels, size, box),
        )
        # Smaller in the one, the other or both directions, and larger.
        for size in ((17, 23), (41, 9), (13, 61), (30, 58), (71, 90))
        for box in boxes
    )


def _decodes_as_pillow(reader: FastJpegReader) -> bool:
    image = Image.fromarray(_noise())
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90, subsampling=subsampling)
        for width in (41, 20):
            with Image.open(file) as opened:
                drafted = opened.draft(None, (width, width))  # type: ignore[no-untyped-call, unused-ignore]
                box = None if drafted is None else drafted[1]
                fast = reader.read(opened, (width, width), box)
                plain = opened.resize((width, width), Image.Resampling.BILINEAR, box=box)
            if fast is None or not np.array_equal(fast, np.asarray(plain)):
                return False
    return True


def _noise() -> Pixels:
    """Return a picture 41 pixels wide and 61 high in which no two neighbours are alike."""
    # NumPy's random generators would take 20 ms to import.
    steps = np.arange(61 * 41 * 3, dtype=np.uint32)
    noise: Pixels = (steps * steps * np.uint32(2654435761) >> np.uint32(24)).astype(np.uint8)
    return noise.reshape(61, 41, 3)
