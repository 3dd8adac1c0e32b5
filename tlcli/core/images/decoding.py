"""Image files to pixels: by content, without blocking, with a plain message for every failure.

Pillow decodes. No global limit, switch or lasting warning filter is set, so that threads and
callers do not disturb each other.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from tlcli.core.images.formats import ALLOWED_FORMATS, COMMON_FORMATS, JPEG_FORMATS, is_slow
from tlcli.core.images.heif import check_whole, is_heif, open_heif, read_header
from tlcli.core.images.slow_images import NeedsChild, check, is_child
from tlcli.core.images.time_limits import (
    SlowImageError,
    check_scans,
    holds_progressive,
    timed_file,
)
from tlcli.errors import ImageError, StorageError
from tlcli.storage.locations import is_url
from tlcli.storage.objects import read
from tlcli.system.regular_files import GIT_LFS_ADVICE, is_git_lfs_pointer, open_buffered

Source = Path | str | bytes
"""A path or URL, or the content of an image file."""

# The default limit of Pillow itself; 100-megapixel cameras stay well below.
PIXEL_LIMIT = 178_956_970

# A file that begins with one of these is an image, even if the rest is damaged.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"BM")
_ORIENTATION = 0x0112
LARGEST_BUFFERED = 16 << 20
"""Files up to this size, in bytes, are read into memory at once; larger ones piece by piece.

Larger JPEGs have 50 megapixels or more.
"""
# TIFF: the tag of the colour space, its value for YCbCr, and the tag of channels per pixel.
_PHOTOMETRIC, _YCBCR, _SAMPLES = 262, 6, 277
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SYSTEM_REASONS = {
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EISDIR: "not a regular file",
    errno.ENXIO: "not a regular file",
}


@contextmanager
def open_image(source: Source, *, decode: bool = True) -> Iterator[ImageFile.ImageFile]:
    """Yield the image of a file or of its bytes with only its header read.

    Any exception of a decoder inside the block becomes an `ImageError`; Pillow's warnings are
    suppressed.

    Args:
        source: the file.
        decode: whether the pixels are needed, and not the header alone.

    Raises:
        ImageError: the reason, in a few plain words and without the path.
        NeedsChild: decoding may take long; `slow_images.in_time` handles this.
    """
    with _quiet(), _open_file(source) as file:
        head = file.read(16)
        try:
            if not head:
                raise ImageError("empty file")
            # A file of any other format begins otherwise.
            may_be_heif = head[4:8] == b"ftyp"
            opened = _heif(file) if may_be_heif and is_heif(file) else _identify(file)
            with opened as image:
                _check_size(image.size)
                if decode:
                    _check_time(image, file)
                if image.format == "TIFF":
                    _silence_libtiff()
                    _fix_ycbcr(image)
                yield image
        except (ImageError, NeedsChild):
            raise
        except Exception as error:
            raise _image_error(error, head, file) from error


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata: the pixels may be intact
        return 1
    return value if value in _TRANSPOSES else 1


def turn(image: Image.Image, value: int) -> Image.Image:
    """Return the image upright, given its EXIF orientation."""
    return image.transpose(_TRANSPOSES[value]) if value in _TRANSPOSES else image


def flatten(image: Image.Image) -> Image.Image:
    """Return the image with 8 bits per channel, alpha premultiplied: "L", "RGB", "La" or "RGBa"."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        image.load()
        return image
    if image.mode in ("La", "RGBa"):
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    elif image.mode not in ("LA", "RGBA") and image.has_transparency_data:
        image = _with_alpha(image)
    elif image.mode == "1":
        image = image.convert("L")
    if image.mode in ("LA", "RGBA"):
        return image.convert("La" if image.mode == "LA" else "RGBa")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def drop_alpha(image: Image.Image) -> NDArray[np.uint8]:
    """Return uint8 [height, width, 3] as TensorFlow decodes for three channels: alpha dropped."""
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.int64) >> 8
        grey = np.clip(values, 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        image = _eight_bits(image)
    # A palette with transparent entries would otherwise warn; only the colours matter.
    image.load()
    image.info.pop("transparency", None)
    if image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    return np.array(image.convert("RGB"))


def _with_alpha(image: Image.Image) -> Image.Image:
    mode = "LA" if image.mode in ("1", "L", "LA") else "RGBA"
    try:
        return image.convert(mode)
    except (ValueError, TypeError):
        # A transparent colour that does not exist makes nothing transparent.
        image.info.pop("transparency", None)
        return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale deep grey values to 8 bits: "L", or "LA" where one value is transparent.

    Integers are taken as 8, 12 or 16 bits, the fewest that hold the largest value; floats
    as reaching to 1, 255 or 65535. Values outside, or below zero, are stretched from the
    lowest to the highest.
    """
    values: NDArray[Any] = np.asarray(image)
    if values.ndim != 2:
        values = np.asarray(image.convert("I"))
    finite = np.isfinite(values)
    if not finite.all():
        lowest = values[finite].min() if finite.any() else 0
        values = np.where(finite, values, lowest)
    low, high = float(values.min()), float(values.max())
    tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 4095.0, 65535.0)
    top = next((top for top in tops if high <= top), None)
    if low < 0 or top is None:
        span = (high - low) or 1.0
        grey = (values.astype(np.float32) - np.float32(low)) * np.float32(255.0 / span)
    elif image.mode == "F":
        grey = values * np.float32(255.0 / top)
    else:
        # The top eight bits, as Pillow does for 16-bit colours.
        grey = values >> {255.0: 0, 4095.0: 4, 65535.0: 8}[top]
    result = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        alpha = np.where(values == transparent, 0, 255).astype(np.uint8)
        result = Image.merge("LA", (result, Image.fromarray(alpha)))
    return result


@contextmanager
def _open_file(source: Source) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        yield timed_file(source)
        return
    if is_url(source):
        yield timed_file(_object(source))
        return
    try:
        # Decoders read a header in dozens of small reads.
        file = open_buffered(source, LARGEST_BUFFERED)
    except OSError as error:
        raise _system_error(error) from error
    except ValueError as error:  # a null character, or a name that cannot be encoded
        raise ImageError("no such file") from error
    with file, timed_file(file) as timed:
        yield timed


def _object(location: Path | str) -> bytes:
    try:
        return read(location)
    except StorageError as error:
        raise ImageError(error.reason) from error


def _heif(file: IO[bytes]) -> Any:
    """Return a HEIF image with its pixels in the child, and with its size alone elsewhere."""
    check_whole(file)
    return open_heif(file) if is_child() else read_header(file)


def _identify(file: IO[bytes]) -> ImageFile.ImageFile:
    try:
        try:
            return Image.open(file, formats=COMMON_FORMATS)
        except UnidentifiedImageError:
            return Image.open(file, formats=_other_formats())
    except Image.DecompressionBombError:
        _check_size(_size_in_header(file))
        raise


def _other_formats() -> tuple[str, ...]:
    with _lock:
        Image.init()
        return tuple(name for name in Image.ID if name in ALLOWED_FORMATS and name in Image.OPEN)


def _size_in_header(file: IO[bytes]) -> tuple[int, int]:
    """Return the size of an image that is too large for Pillow to open; (0, 0) if unknown."""
    for name in _other_formats():
        file.seek(0)
        factory, accept = Image.OPEN[name]
        try:
            if accept is None or accept(file.read(16)):
                file.seek(0)
                return factory(file, "").size
        except Exception:  # not of this format
            continue
    return (0, 0)


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > PIXEL_LIMIT:
        raise ImageError(f"too large: {width} x {height} pixels (limit {PIXEL_LIMIT} pixels)")


def _check_time(image: Any, file: IO[bytes]) -> None:
    if image.format in JPEG_FORMATS:
        check_scans(file)
    width, height = image.size
    slow = False
    if image.format == "TIFF":
        # Its JPEGs are decoded by libtiff, which allows for a hundred scans.
        slow = "jpeg" in image.info.get("compression", "") and holds_progressive(file)
        # Whole tiles are decoded, and they may be much larger than the picture.
        wide, high = (image.tag_v2.get(tag) or 1 for tag in (_TILE_WIDTH, _TILE_HEIGHT))
        width, height = -(-width // wide) * wide, -(-height // high) * high
        _check_size((width, height))
    check(slow or is_slow(image.format, width * height))


def _system_error(error: OSError) -> ImageError:
    known = _SYSTEM_REASONS.get(error.errno or 0)
    return ImageError(known or (error.strerror or "cannot be read").lower())


def _image_error(error: Exception, head: bytes, file: IO[bytes]) -> ImageError:
    if getattr(file, "is_over", False):
        return SlowImageError()
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(f"too large: more than {PIXEL_LIMIT} pixels once decoded")
    if isinstance(error, MemoryError):
        return ImageError("too large for the memory of this machine")
    if isinstance(error, OSError) and error.errno:
        return _system_error(error)
    if isinstance(error, UnidentifiedImageError):
        if head.startswith(b"version ") and _is_pointer(file):
            return ImageError(GIT_LFS_ADVICE)
        known = head.startswith(_SIGNATURES)
        return ImageError("damaged or unsupported image" if known else "not an image")
    if isinstance(error, SyntaxError):  # of libheif, whose words are not for people
        return ImageError("damaged or unsupported image")
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return ImageError("truncated image")
    return ImageError("damaged or unsupported image")


def _is_pointer(file: IO[bytes]) -> bool:
    file.seek(0)
    return is_git_lfs_pointer(file.read(64))


@functools.cache
def _silence_libtiff() -> None:
    """Turn off the error output of the libtiff in Pillow's wheel.

    It prints a line for each damaged strip, which Pillow also reports as an error. A libtiff of
    the system, where Pillow uses one, stays as it is.
    """
    import ctypes

    for library in Path(Image.__file__).parent.with_name("pillow.libs").glob("libtiff-*.so*"):
        with contextlib.suppress(OSError, AttributeError):
            loaded = ctypes.CDLL(str(library))
            for name in ("TIFFSetErrorHandler", "TIFFSetErrorHandlerExt"):
                setter = getattr(loaded, name)
                setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
                setter(None)


def _fix_ycbcr(image: Any) -> None:
    """Make Pillow before 13, the last for Python 3.10, read uncompressed YCbCr TIFFs correctly.

    It assumes four bytes per pixel where the file has three, and RGB colours: the image then
    counts as truncated, or is wrong where other data follow the pixels.
    """
    tags, tiles = image.tag_v2, image.tile
    if tags.get(_PHOTOMETRIC) != _YCBCR or tags.get(_SAMPLES) != 3:
        return
    if all(codec == "raw" and args[0] == "RGBX" for codec, _, _, args in tiles):
        image._mode = "YCbCr"
        image.tile = [
            (codec, extents, offset, ("YCbCr", *args[1:])) for codec, extents, offset, args in tiles
        ]


_lock = threading.RLock()
_quiet_depth = 0
_entry: Any = None
_silence = logging.NullHandler()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Pillow's warnings and log lines while at least one image is being read.

    ``warnings.catch_warnings`` replaces the filters of all threads; this adds one filter for
    Pillow's own modules and removes it with the last reader.
    """
    global _quiet_depth, _entry
    with _lock:
        _quiet_depth += 1
        # Another reader may have added it already, unless other code changed the filters.
        if _entry is None or _entry not in warnings.filters[:1]:
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _entry = warnings.filters[0]
            # Without a handler, logging's last resort would print Pillow's errors.
            logging.getLogger("PIL").addHandler(_silence)
    try:
        yield
    finally:
        with _lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                logging.getLogger("PIL").removeHandler(_silence)
                while _entry in warnings.filters:
                    warnings.filters.remove(_entry)  # type: ignore[attr-defined]
                _entry = None
                # Registries of modules remember decisions until the filters change.
                warnings._filters_mutated()  # type: ignore[attr-defined]
