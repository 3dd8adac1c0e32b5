"""Randomly cropped, scaled, flipped and brightened views of training images.

Each image has a fixed number of views, and a view depends only on the seed, the image's content
and the view's number. So its vector can be cached like any other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlcli.core.images.decoding import Source
from tlcli.core.images.preprocessing import read_pixels
from tlcli.errors import UsageError


@dataclass(frozen=True)
class Augmentation:
    """The original's four distortions.

    Attributes:
        flip_left_right: mirror half of the views.
        random_crop: margin in per cent of the input size; the crop window is anywhere in it.
        random_scale: largest enlargement of the image, in per cent.
        random_brightness: largest change of the factor of all values, in per cent up or down.
        seed: of the random numbers.

    Raises:
        UsageError: a percentage outside 0..100.
    """

    flip_left_right: bool = False
    random_crop: int = 0
    random_scale: int = 0
    random_brightness: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for option in ("random_crop", "random_scale", "random_brightness"):
            value = getattr(self, option)
            if not 0 <= value <= 100:
                raise UsageError(f"--{option} is {value}; give a percentage from 0 to 100")

    def view_key(self, view: int) -> str:
        """Return the cache key of a view, with everything that affects its pixels."""
        return (
            f"flip={int(self.flip_left_right)},crop={self.random_crop},scale={self.random_scale},"
            f"brightness={self.random_brightness},seed={self.seed},view={view}"
        )

    def read(
        self, source: Source, content_sha256: str, view: int, height: int, width: int
    ) -> NDArray[np.uint8]:
        """Return one view, uint8 [height, width, 3], decoded as the preprocessing "tlcli-1".

        The image is stretched to the input size times (1 + crop/100) times a number from
        1 to 1 + scale/100, cropped to the input size at a random position, mirrored or not, and
        multiplied by a number from 1 - brightness/100 to 1 + brightness/100.

        Raises:
            ImageError: the reason alone, without the path.
        """
        # All five are always drawn, so that one option does not change the others.
        scale, down, across, flip, brightness = _uniform(self.seed, content_sha256, view)
        factor = (1 + self.random_crop / 100) * (1 + scale * self.random_scale / 100)
        tall, wide = int(height * factor), int(width * factor)
        pixels = read_pixels(source, tall, wide)
        top, left = int(down * (tall - height + 1)), int(across * (wide - width + 1))
        pixels = pixels[top : top + height, left : left + width]
        if self.flip_left_right and flip < 0.5:
            pixels = pixels[:, ::-1]
        if self.random_brightness > 0:
            gain = 1 + (2 * brightness - 1) * self.random_brightness / 100
            pixels = np.rint(np.clip(pixels * np.float32(gain), 0, 255)).astype(np.uint8)
        return np.ascontiguousarray(pixels)


def _uniform(seed: int, content_sha256: str, view: int) -> NDArray[np.float64]:
    """Return five numbers in [0, 1) that are the same on every machine and NumPy."""
    key = hashlib.sha256(f"{seed} {content_sha256} {view}".encode()).digest()[:16]
    raw = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(5)
    numbers: NDArray[np.float64] = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return numbers
