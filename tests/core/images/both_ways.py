"""Reading JPEGs in both ways, and holding one against the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pictures import encoded
from tlcli.core.images import fast_jpeg as quick_jpeg
from tlcli.core.images import resizing
from tlcli.core.images.preprocessing import read_pixels
from tlcli.errors import ImageError

needs_quick = pytest.mark.skipif(
    not quick_jpeg.state()["used"], reason=f"no quick JPEGs here: {quick_jpeg.state()['reason']}"
)
Source = Path | bytes


class Both:
    """Reads in both ways, holds one against the other, and says whether the quick one was taken."""

    def __init__(self) -> None:
        self.reader = quick_jpeg.quick_reader()
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
            patch.setattr(resizing, "quick_reader", lambda: reader)
            try:
                return read_pixels(source, *size)
            except ImageError as error:
                return str(error)

    def same(self, source: Source, size: tuple[int, int] = (48, 64)) -> bool:
        self.taken = False
        quick = self.attempt(source, size, self.spy())
        plain = self.attempt(source, size, None)
        if isinstance(plain, str):
            assert quick == plain
        else:
            assert isinstance(quick, np.ndarray)
            assert isinstance(plain, np.ndarray)
            np.testing.assert_array_equal(quick, plain)
            assert quick.flags.writeable
            assert quick.flags.c_contiguous
        return self.taken


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    values = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    # Noise at two scales: neither flat nor lost in the compression.
    small = Image.fromarray(values[: height // 4 + 1, : width // 4 + 1]).resize((width, height))
    return Image.blend(small, Image.fromarray(values), 0.3).convert(mode)


def jpeg(image: Image.Image, **options: Any) -> bytes:
    return encoded(image, "JPEG", **{"quality": 88, **options})
