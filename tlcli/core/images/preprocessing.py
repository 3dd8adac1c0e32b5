"""The preprocessing of every command, and the one of graphs from older tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tlcli.core.images.decoding import Source, drop_alpha, open_image
from tlcli.core.images.resizing import resize_over_white, resize_plain_bilinear
from tlcli.errors import DataError, UsageError

PREPROCESSING_VERSION = 1
"""Part of every fingerprint: raised whenever the same file would give other pixels."""

NAMES = ("tlcli-1", "label_image")
LARGEST_SIDE = 8192
"""Pixels. No network has a larger input; a typing error must not allocate gigabytes."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes the input of a network.

    Attributes:
        name: "tlcli-1" (upright, over white, antialiased) or "label_image" (as TensorFlow's
            label_image.py: plain bilinear, not rotated, alpha dropped).
        height: in pixels.
        width: in pixels.
        mean: subtracted from each value of 0..255.
        std: divisor of the difference, not 0. The defaults give [0, 1].

    Raises:
        UsageError: an invalid value.
    """

    name: Literal["tlcli-1", "label_image"]
    height: int
    width: int
    mean: float = 0.0
    std: float = 255.0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise UsageError(f"unknown preprocessing {self.name!r}; known are {', '.join(NAMES)}")
        for side, pixels in (("height", self.height), ("width", self.width)):
            if not 1 <= pixels <= LARGEST_SIDE:
                raise UsageError(
                    f"the input {side} is {pixels} pixels; give one from 1 to {LARGEST_SIDE}"
                )
        if not (np.isfinite(self.mean) and np.isfinite(self.std)) or self.std == 0:
            raise UsageError(
                f"the input mean {self.mean} and standard deviation {self.std} must be numbers, "
                "the second not 0"
            )

    @property
    def turns_upright(self) -> bool:
        """Whether `read` applies the EXIF orientation."""
        return self.name == "tlcli-1"

    def read(self, source: Source) -> NDArray[Any]:
        """Return the image [height, width, 3], not yet scaled; a path, or the file's bytes.

        uint8 for "tlcli-1", float32 in 0..255 for "label_image". Threads may call this
        at the same time.

        Raises:
            ImageError: the reason alone ("truncated image"), without the path.
        """
        if self.name == "tlcli-1":
            return read_pixels(source, self.height, self.width)
        with open_image(source) as image:
            return resize_plain_bilinear(drop_alpha(image), self.height, self.width)

    def scale(
        self, batch: NDArray[Any], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return ``(batch - mean) / std`` as float32, for images from `read`.

        ``out``, of the same shape, receives the result where it is given.
        """
        values = np.empty(batch.shape, np.float32) if out is None else out
        if self.mean != 0:
            np.subtract(batch, np.float32(self.mean), out=values)
            batch = values
        # A single pass from bytes to float32.
        np.divide(batch, np.float32(self.std), out=values)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return the values that a model card stores."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Return the preprocessing of a `to_dict` result; unknown keys are ignored.

        Raises:
            DataError: a value is missing or invalid.
        """
        try:
            return cls(
                name=values["name"],
                height=int(values["height"]),
                width=int(values["width"]),
                mean=float(values.get("mean", 0.0)),
                std=float(values.get("std", 255.0)),
            )
        except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
            raise DataError(
                f"the preprocessing {dict(values)!r} cannot be used: {error}"
            ) from error


def read_pixels(source: Source, height: int, width: int) -> NDArray[np.uint8]:
    """Return uint8 [height, width, 3] by the preprocessing "tlcli-1", at any size.

    Raises:
        ImageError: the reason alone, without the path.
    """
    with open_image(source) as image:
        return resize_over_white(image, height, width)
