"""Images as the bytes of files: for graphs that decode by themselves, and of images in memory."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlcli.core.images.decoding import Source, drop_alpha, open_image, orientation
from tlcli.core.images.formats import ALLOWED_FORMATS, JPEG_FORMATS
from tlcli.core.images.slow_images import NeedsChild, in_time
from tlcli.errors import ImageError, UsageError

# TensorFlow decodes these by their content, whatever its operation is called.
_DECODED = frozenset({*JPEG_FORMATS, "PNG", "BMP"})
# Formats that store these modes without a loss. PPM and TIFF take next to no time.
_IN_PPM = frozenset({"L", "RGB"})
_IN_TIFF = frozenset({"L", "LA", "RGB", "RGBA", "CMYK", "F", "I"})
_IN_PNG = frozenset({"1", "P", "I;16"})
# What other modes become; the rest become RGB.
_CONVERTED = {"PA": "RGBA", "La": "LA", "RGBa": "RGBA", "I;16B": "I", "I;16L": "I", "I;16N": "I"}
_ORIENTATION = 0x0112


def read_encoded(source: Source) -> NDArray[Any]:
    """Return the content of an image file as one object; PNG where TensorFlow lacks its format.

    Raises:
        ImageError: the reason alone, without the path.
    """
    content = None
    # The formats that need a child are none that TensorFlow decodes.
    with contextlib.suppress(NeedsChild), open_image(source) as image:
        if image.format in _DECODED and image.mode in ("L", "RGB"):
            image.load()  # what is damaged is found here, not by the whole batch
            content = source if isinstance(source, bytes) else Path(source).read_bytes()
    if content is None:
        content = _as_png(source).tobytes()
    held = np.empty((), object)
    held[()] = content
    return held


@in_time
def _as_png(source: Source) -> NDArray[np.uint8]:
    with open_image(source) as image:
        buffer = io.BytesIO()
        Image.fromarray(drop_alpha(image)).save(buffer, "PNG", compress_level=1)
    return np.frombuffer(buffer.getvalue(), np.uint8)


def file_of_picture(image: Image.Image) -> bytes:
    """Return a Pillow image as a file with the same pixels, transparency and orientation.

    An image that is open and not yet decoded is the file that it was opened from, so that a large
    JPEG is decoded at a reduced size, as everywhere.

    Raises:
        ImageError: the reason alone.
    """
    content = _undecoded(image)
    if content is not None:
        return content
    if 0 in image.size:
        raise ImageError("the image has no pixels")
    try:
        image.load()
        return _encoded(image)
    except MemoryError:
        raise ImageError("too large for the memory of this machine") from None
    except Exception as error:  # its file was closed, or is damaged
        raise ImageError(f"cannot be decoded ({type(error).__name__}: {error})") from error


def file_of_array(pixels: NDArray[Any], name: str = "the image") -> bytes:
    """Return an array as an image file: uint8 [h, w] grey, [h, w, 3] RGB or [h, w, 4] RGBA.

    Raises:
        UsageError: an array of another type or shape, called ``name`` there.
    """
    if pixels.dtype != np.uint8:
        advice = "; scale it to 0..255 and convert it, as in (image * 255).round().astype('uint8')"
        raise UsageError(
            f"{name} is an array of {pixels.dtype}; give uint8, with values of 0 to 255"
            + (advice if pixels.dtype.kind == "f" else "")
        )
    flat = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if not flat.size or not (flat.ndim == 2 or (flat.ndim == 3 and flat.shape[2] in (3, 4))):
        raise UsageError(
            f"{name} is an array of the shape {list(pixels.shape)}; give [height, width], "
            "[height, width, 3] (RGB) or [height, width, 4] (RGBA)"
        )
    return _encoded(Image.fromarray(np.ascontiguousarray(flat)))


def _undecoded(image: Any) -> bytes | None:
    """Return the file of an image whose pixels were not read yet; None where they were."""
    file = getattr(image, "fp", None)
    if file is None or not getattr(image, "tile", None) or image.tell() != 0:
        return None
    if image.format not in ALLOWED_FORMATS:
        return None
    try:
        position = file.tell()
        file.seek(0)
        content = file.read()
        file.seek(position)
    except (OSError, ValueError):  # closed
        return None
    return bytes(content)


def _encoded(image: Image.Image) -> bytes:
    value = orientation(image)
    if image.mode not in _IN_TIFF | _IN_PNG:
        image = image.convert(_CONVERTED.get(image.mode, "RGB"))
    # A transparent colour; only PNG has it.
    has_transparent = "transparency" in image.info
    buffer = io.BytesIO()
    if image.mode in _IN_PPM and value == 1 and not has_transparent:
        image.save(buffer, "PPM")
    elif image.mode in _IN_PNG or (has_transparent and image.mode in _IN_PPM):
        image.save(buffer, "PNG", compress_level=0, exif=_exif(value))
    else:
        image.save(buffer, "TIFF", compression="raw", exif=_exif(value))
    return buffer.getvalue()


def _exif(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[_ORIENTATION] = value
    return exif
