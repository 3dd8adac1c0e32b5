"""Small facts of each image: size, mean colour, sharpness, camera, and a grey thumbnail.

An image is decoded for them once; they are kept in the cache of vectors as a vector of their own.
"""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tlcli.arrays import Array, Floats
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.images.decoding import Source, open_image
from tlcli.core.images.slow_images import in_time
from tlcli.errors import CacheError
from tlcli.progress import Progress
from tlcli.runtime.prefetch import Prefetcher
from tlcli.storage.objects import read
from tlcli.system.cpus import available_cpus

THUMBNAIL = 64
"""Side of the stored grey thumbnail, in pixels."""
# To be changed with anything below that changes a value.
_KEY = "facts of photos 2"
# Long side of the image whose sharpness is measured: of large photos the noise is left out.
_SIDE = 256
_NAMES = (
    *("width", "height", "red", "green", "blue", "deviation", "sharpness"),
    *("quality", "camera", "size"),
)
# float32 holds whole numbers exactly below 2 ** 24: three pixels fit into one.
_PIXELS = math.ceil(THUMBNAIL**2 / 3)
LENGTH = len(_NAMES) + _PIXELS
_LARGEST_FILE = 1 << 30
_STORED_AT_ONCE = 256
_UNPACKED_AT_ONCE = 4096
_MAKE, _MODEL = 271, 272
# Mean of the luminance table of quality 50 in Annex K of the JPEG standard, in coefficients.
_MEAN_OF_50 = 57.625


@dataclass(frozen=True)
class Facts:
    """Facts of N images, float32 [N, `LENGTH`]; a row of NaN is of an image that has none."""

    table: Floats

    def column(self, name: str) -> Floats:
        """Return one fact of all images, float32 [N].

        Args:
            name: "width", "height" (pixels, upright), "red", "green", "blue" (means, 0 to 255),
                "deviation" (of the grey values), "sharpness" (binary logarithm of the variance of
                second differences relative to that of grey values), "quality" (of JPEG, 1 to 100;
                0: no JPEG), "camera" (a number for its name in EXIF; 0: none) or "size" (bytes).
        """
        found: Floats = self.table[:, _NAMES.index(name)]
        return found

    @property
    def known(self) -> Array:
        """Whether an image has facts, bool [N]."""
        return np.isfinite(self.table[:, 0])

    def thumbnails(self) -> Array:
        """Return the grey thumbnails, uint8 [N, 64, 64]; of images without facts, zeros."""
        found = np.zeros((len(self.table), THUMBNAIL**2), np.uint8)
        # Numbers of all images at once would take eight times the memory of the thumbnails.
        for start in range(0, len(found), _UNPACKED_AT_ONCE):
            part = slice(start, start + _UNPACKED_AT_ONCE)
            packed = np.nan_to_num(self.table[part, len(_NAMES) :]).astype("<i4")
            # The lowest three of the four bytes of each number.
            values = packed.view(np.uint8).reshape(len(packed), -1, 4)[:, :, :3]
            found[part] = values.reshape(len(packed), 3 * _PIXELS)[:, : THUMBNAIL**2]
        return found.reshape(-1, THUMBNAIL, THUMBNAIL)


def gather_facts(
    files: Sequence[Path | str | None],
    contents: Sequence[str | None],
    store: BottleneckStore,
    progress: Progress | None = None,
) -> Facts:
    """Return the facts of images, reading only those that the cache lacks.

    Args:
        files: of each image, None where there is none, [N].
        contents: SHA-256 of each, None where it is unknown, [N].
        store: the cache.
        progress: called with ("photos", done, total).

    Raises:
        CacheError: the cache cannot be read.
    """
    table = np.full((len(files), LENGTH), np.nan, np.float32)
    rows = [row for row in range(len(files)) if files[row] and contents[row]]
    keys = [str(contents[row]) for row in rows]
    store.mark_used(_KEY, "facts of photos")
    found = store.fill(_KEY, None, keys, table, rows)
    missing: dict[str, list[int]] = {}
    for row, key, hit in zip(rows, keys, found, strict=True):
        if not hit:
            table[row] = np.nan
            missing.setdefault(key, []).append(row)
    jobs = [(key, str(files[same[0]])) for key, same in missing.items()]
    computed: dict[str, Floats] = {}
    with contextlib.closing(_reading(jobs)) as reading:
        for done, ((key, _), facts) in enumerate(reading):
            table[missing[key]] = facts
            computed[key] = facts
            if len(computed) == _STORED_AT_ONCE or done + 1 == len(jobs):
                # A cache that cannot be written costs time, not the result.
                with contextlib.suppress(CacheError):
                    store.put(_KEY, None, computed)
                computed = {}
            if progress is not None:
                progress("photos", done + 1, len(jobs))
    return Facts(table)


def _reading(
    jobs: Sequence[tuple[str, str]],
) -> Generator[tuple[tuple[str, str], Floats], None, None]:
    def work(group: Sequence[tuple[str, str]]) -> Iterator[Floats]:
        for _, file in group:
            yield facts_of(file)

    prefetcher = Prefetcher(jobs, work, available_cpus(), 8)
    try:
        yield from prefetcher
    finally:
        prefetcher.stop()


def facts_of(file: Path | str) -> Floats:
    """Return the facts of one image, float32 [`LENGTH`]; NaN where it cannot be read."""
    try:
        return facts_of_bytes(read(file, _LARGEST_FILE))
    except Exception:
        # What cannot be read is reported by what computes the vectors.
        return np.full(LENGTH, np.nan, np.float32)


def facts_of_bytes(data: bytes) -> Floats:
    """Return the facts of the content of an image file, float32 [`LENGTH`].

    Raises:
        ImageError: it cannot be read.
    """
    found = np.asarray(_facts(data), np.float32)
    found[_NAMES.index("size")] = len(data)
    return found


@in_time
def _facts(source: Source) -> Array:
    with open_image(source) as image:
        opened: Any = image
        width, height = image.size
        exif = opened.getexif()
        camera = f"{exif.get(_MAKE, '')} {exif.get(_MODEL, '')}".strip()
        quality = _quality(getattr(opened, "quantization", None))
        opened.draft("RGB", (_SIDE, _SIDE))
        # Made small in place first: each copy of a large photo takes hundreds of megabytes.
        if opened.mode not in ("L", "LA", "RGB", "RGBA"):
            opened = opened.convert("RGBA" if "transparency" in opened.info else "RGB")
        opened.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
        upright: Image.Image = ImageOps.exif_transpose(opened)
        if (upright.width > upright.height) != (width > height):
            width, height = height, width
        upright = _opaque(upright)
        grey = upright.convert("L")
        values = np.asarray(grey, np.float32)
        mean = np.asarray(upright.resize((1, 1), Image.Resampling.BOX), np.float32)[0, 0]
        small = np.asarray(grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    camera_number = zlib.crc32(camera.encode("utf-8", "replace")) % (1 << 24) if camera else 0
    numbers = [width, height, *mean, values.std(), _sharpness(values)]
    pixels = np.zeros(3 * _PIXELS, np.int64)
    pixels[: THUMBNAIL**2] = small.reshape(-1)
    packed = pixels.reshape(-1, 3) @ np.array([1, 1 << 8, 1 << 16])
    return np.concatenate([numbers, [quality, camera_number, 0], packed]).astype(np.float32)


def _opaque(image: Image.Image) -> Image.Image:
    """Return the image as RGB, alpha over white."""
    if "A" in image.mode or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def _sharpness(grey: Floats) -> float:
    """Return the binary logarithm of the variance of second differences over that of values."""
    if min(grey.shape) < 3:
        return 0.0
    second = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1]
    second -= grey[1:-1, :-2] + grey[1:-1, 2:]
    return math.log2((float(second.var()) + 1e-3) / (float(grey.var()) + 1e-3))


def _quality(tables: Any) -> float:
    """Return the quality of a JPEG by its luminance table, 1 to 100; 0 for other formats.

    The inverse of the scaling of the Independent JPEG Group's encoder.
    """
    if not tables or 0 not in tables:
        return 0.0
    scale = 100 * float(np.mean(tables[0])) / _MEAN_OF_50
    return round(max(1.0, min(100.0, 100 - scale / 2 if scale <= 100 else 5000 / scale)))
