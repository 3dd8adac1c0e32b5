"""The preprocessing of every command, and the one of graphs from older tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tlcli.core.images.decoding import Source, drop_alpha, open_image
from tlcli.core.images.resizing import (
    Filter,
    grey_of,
    resize_by_pillow,
    resize_over_white,
    resize_plain_bilinear,
)
from tlcli.core.images.slow_images import NeedsChild, ask_child, in_time
from tlcli.errors import DataError, UsageError

PREPROCESSING_VERSION = 1
"""Part of every fingerprint: raised whenever the same file would give other pixels."""

PreprocessingName = Literal["tlcli-1", "label_image", "pillow"]
Channels = Literal["rgb", "bgr", "grey"]
NAMES: tuple[PreprocessingName, ...] = get_args(PreprocessingName)
LARGEST_SIDE = 8192
"""Pixels. No network has a larger input; a typing error must not allocate gigabytes."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes the input of a network.

    Attributes:
        name: "tlcli-1" (upright, over white, antialiased), "label_image" (as TensorFlow's
            label_image.py: plain bilinear, not rotated, alpha dropped) or "pillow" (as the
            Python programs of other tools: Pillow's resize, alpha dropped).
        height: in pixels.
        width: in pixels.
        mean: subtracted from each value of 0..255; one number, or one for each channel.
        std: divisor of the difference, not 0. The defaults give [0, 1].
        channels: their order; "grey" for one alone.
        filter: of "pillow".
        crops: "pillow" uses the middle part of the image that has the shape of the input.
        upright: "pillow" applies the EXIF orientation.

    Raises:
        UsageError: an invalid value.
    """

    name: PreprocessingName
    height: int
    width: int
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 255.0
    channels: Channels = "rgb"
    filter: Filter = "bilinear"
    crops: bool = False
    upright: bool = False

    def __post_init__(self) -> None:
        for what, value, known in (
            ("preprocessing", self.name, NAMES),
            ("order of channels", self.channels, get_args(Channels)),
            ("filter", self.filter, get_args(Filter)),
        ):
            if value not in known:
                raise UsageError(f"unknown {what} {value!r}; known are {', '.join(known)}")
        for side, pixels in (("height", self.height), ("width", self.width)):
            if not 1 <= pixels <= LARGEST_SIDE:
                raise UsageError(
                    f"the input {side} is {pixels} pixels; give one from 1 to {LARGEST_SIDE}"
                )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all() and np.all(self.std)):
            raise UsageError(
                f"the input mean {self.mean} and standard deviation {self.std} must be numbers, "
                "the second not 0"
            )

    @property
    def turns_upright(self) -> bool:
        """Whether `read` applies the EXIF orientation."""
        return self.name == "tlcli-1" or self.upright

    def read(self, source: Source) -> NDArray[Any]:
        """Return the image [height, width, channels], not yet scaled; a path, or the file's bytes.

        float32 in 0..255 for "label_image", uint8 for the others. Threads may call this at the
        same time.

        Raises:
            ImageError: the reason alone ("truncated image"), without the path.
        """
        if self.name == "tlcli-1":
            return self.arrange(read_pixels(source, self.height, self.width))
        try:
            return self.arrange(self._decode(source))
        except NeedsChild:
            return self.arrange(ask_child(_decode, source, self.to_dict()))

    def _decode(self, source: Source) -> NDArray[Any]:
        with open_image(source) as image:
            if self.name == "pillow":
                size = (self.height, self.width)
                return resize_by_pillow(image, size, self.filter, self.crops, self.upright)
            pixels = drop_alpha(image)
            if self.channels == "grey":
                pixels = grey_of(pixels)
            return resize_plain_bilinear(pixels, self.height, self.width)

    def arrange(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return RGB pixels [height, width, 3] with the channels that the network takes."""
        if self.channels == "bgr":
            return pixels[..., ::-1]
        return grey_of(pixels) if self.channels == "grey" and pixels.shape[2] == 3 else pixels

    def scale(
        self, batch: NDArray[Any], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return ``(batch - mean) / std`` as float32, for images from `read`.

        ``out``, of the same shape, receives the result where it is given.
        """
        values = np.empty(batch.shape, np.float32) if out is None else out
        if self.mean != 0:
            np.subtract(batch, np.asarray(self.mean, np.float32), out=values)
            batch = values
        # A single pass from bytes to float32.
        np.divide(batch, np.asarray(self.std, np.float32), out=values)
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return the values that a model card stores."""
        values = asdict(self)
        # Cards of graphs that need no more have had no more from the beginning.
        usual = {field.name: field.default for field in fields(self)[5:]}
        return {name: value for name, value in values.items() if usual.get(name, ...) != value}

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
                mean=_numbers(values.get("mean", 0.0)),
                std=_numbers(values.get("std", 255.0)),
                **{each.name: values[each.name] for each in fields(cls)[5:] if each.name in values},
            )
        except (KeyError, TypeError, ValueError, OverflowError, UsageError) as error:
            raise DataError(
                f"the preprocessing {dict(values)!r} cannot be used: {error}"
            ) from error


def _numbers(value: Any) -> float | tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, (list, tuple)) else float(value)


@in_time
def read_pixels(source: Source, height: int, width: int) -> NDArray[np.uint8]:
    """Return uint8 [height, width, 3] by the preprocessing "tlcli-1", at any size.

    Raises:
        ImageError: the reason alone, without the path.
    """
    with open_image(source) as image:
        return resize_over_white(image, height, width)


def _decode(source: Source, values: dict[str, Any]) -> NDArray[Any]:
    return Preprocessing.from_dict(values)._decode(source)
