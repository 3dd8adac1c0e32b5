"""Reading JPEGs both ways, the fast one and Pillow's, and comparing them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pictures import encoded
from tlcli.core.images import fast_jpeg, resizing
from tlcli.core.images.preprocessing import read_pixels
from tlcli.errors import ImageError

needs_fast_jpeg = pytest.mark.skipif(
    not fast_jpeg.state()["used"], reason=f"no fast JPEG reader here: {fast_jpeg.state()['reason']}"
)
Source = Path | bytes


class Both:
    """Reads both ways, compares the results, and reports whether the fast way was used."""

    def __init__(self) -> None:
        self.reader = fast_jpeg.fast_jpeg_reader()
        self.taken = False

    def spy(self) -> Any:
        both = self

        class Spy:
            def read(self, *arguments: Any) -> Any:
                assert both.reader is not None
                found = both.reader.read(*arguments)
                both.taken = found is not None
                return found

        return Spy()

    def attempt(self, source: Source, size: tuple[int, int], reader: Any) -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resizing, "fast_jpeg_reader", lambda: reader)
            try:
                return read_pixels(source, *size)
            except ImageError as error:
                return str(error)

    def same(self, source: Source, size: tuple[int, int] = (48, 64)) -> bool:
        self.taken = False
        fast = self.attempt(source, size, self.spy())
        plain = self.attempt(source, size, None)
        if isinstance(plain, str):
            assert fast == plain
        else:
            assert isinstance(fast, np.ndarray)
            assert isinstance(plain, np.ndarray)
            np.testing.assert_array_equal(fast, plain)
            assert fast.flags.writeable
            assert fast.flags.c_contiguous
        return self.taken


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    # Noise at two scales: neither flat nor lost in the compression.
    small = Image.fromarray(values[: height // 4 + 1, : width // 4 + 1]).resize((width, height))
    return Image.blend(small, Image.fromarray(values), 0.3).convert(mode)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return encoded(image, "JPEG", **{"quality": 88, **options})
