"""The one input specification: what a graph takes, and where each part of it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tlcli.core.images.preprocessing import Channels, PreprocessingName
from tlcli.core.images.resizing import Filter
from tlcli.litert.description import Step

PerChannel = float | tuple[float, ...]
"""One value for all channels, or one for each in the order in which the graph takes them."""

_WORDS = {"times": "multiply by", "by": "divide by", "plus": "add", "minus": "subtract"}
GIVEN = "given by an option"


@dataclass(frozen=True)
class InputOverrides:
    """What the user gave for a graph; None: it is inferred.

    Attributes:
        input_layer: "NAME" or "NAME:0".
        output_layer: "NAME" or "NAME:0".
        input_height: in pixels.
        input_width: in pixels.
        input_mean: subtracted from pixels of 0..255; zero is a value.
        input_std: what the rest is divided by.
        channel_order: "rgb" or "bgr".
    """

    input_layer: str | None = None
    output_layer: str | None = None
    input_height: int | None = None
    input_width: int | None = None
    input_mean: float | None = None
    input_std: float | None = None
    channel_order: Channels | None = None


@dataclass(frozen=True)
class Scaling:
    """How pixels of 0..255 become the values of an input: ``(pixel - mean) / std``.

    Attributes:
        mean: subtracted from each pixel.
        std: what the rest is divided by.
    """

    mean: PerChannel
    std: PerChannel

    @property
    def single(self) -> tuple[float, float]:
        """Mean and std, where all channels have the same."""
        assert not isinstance(self.mean, tuple)
        assert not isinstance(self.std, tuple)
        return self.mean, self.std

    def override(self, mean: float | None, std: float | None) -> Scaling:
        """Return this with the values that the user gave."""
        return Scaling(
            self.mean if mean is None else float(mean), self.std if std is None else float(std)
        )

    def __str__(self) -> str:
        mean, std = (
            ", ".join(f"{value:g}" for value in (each if isinstance(each, tuple) else (each,)))
            for each in (self.mean, self.std)
        )
        difference = "pixel" if mean == "0" else f"pixel - {mean}"
        if std == "1":
            return difference
        return f"{difference if mean == '0' else f'({difference})'} / {std}"


PIXELS = Scaling(0.0, 1.0)
"""Pixels as they are, 0..255."""
UNIT = Scaling(0.0, 255.0)
"""Pixels in 0..1."""
SIGNED = Scaling(127.5, 127.5)
"""Pixels in -1..1."""


@dataclass(frozen=True)
class Resizing:
    """How an image comes to the size of the input.

    Attributes:
        name: "label_image" (TensorFlow's plain bilinear) or "pillow".
        filter: Pillow's filter.
        crops: the middle square of the image alone is used.
        turns_upright: the EXIF orientation is applied.
    """

    name: PreprocessingName = "label_image"
    filter: Filter = "bilinear"
    crops: bool = False
    turns_upright: bool = False

    def __str__(self) -> str:
        if self.name == "label_image":
            return "TensorFlow's plain bilinear"
        parts = ["upright" if self.turns_upright else "", "middle square" if self.crops else ""]
        return ", ".join([part for part in parts if part] + [f"Pillow's {self.filter}"])


@dataclass(frozen=True)
class InputSpec:
    """The images that a graph takes, and the number of scores that it gives.

    Attributes:
        height: of the input, in pixels.
        width: of the input, in pixels.
        scaling: from pixels of 0..255 to what the input takes.
        dtype: "float32", "uint8" or "int8"; "string" for the bytes of image files.
        labels: number of scores; None: only a run shows it.
        any_batch: False when it takes exactly one image at a time.
        channels: "rgb", "bgr" or "grey".
        has_channel_axis: False for grey images [n, height, width].
        resizing: from an image file to that size.
        activation: what the scores are: "softmax", "sigmoid" (independent of one another),
            "logits"; None: the graph does not show it.
        input: name of the input, as the file has it.
        output: name of the scores.
        origin: the tool that made the graph, where that is known.
        sources: where the parts come from, by their names.
        assumed: only a convention supports the scaling.
    """

    height: int
    width: int
    scaling: Scaling
    dtype: str
    labels: int | None
    any_batch: bool
    channels: Channels = "rgb"
    has_channel_axis: bool = True
    resizing: Resizing = field(default_factory=Resizing)
    activation: str | None = None
    input: str = ""
    output: str = ""
    origin: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    assumed: bool = False


def shown_range(steps: Iterable[Step]) -> tuple[Scaling, str] | None:
    """Return the range that a network's first steps show, and the steps in words.

    Args:
        steps: the arithmetic that it does before all else.

    Returns:
        None where they show nothing.
    """
    factor, offset = 1.0, 0.0
    words: list[str] = []
    for kind, values in steps:
        if not values.size or not np.isfinite(values).all() or values.size > 4096:
            return None
        if kind == "between":
            found = _range_between(*map(float, values)) if not words else None
            if found is None:
                continue
            return found, f"values from {values[0]:.3g} to {values[1]:.3g} alone"
        # Of several channels or positions the middle tells the range.
        value = float(np.mean(values))
        words.append(f"{_WORDS[kind]} {value:.4g}")
        if kind in ("times", "by"):
            if value == 0:
                return None
            scale = value if kind == "times" else 1 / value
            factor, offset = factor * scale, offset * scale
        else:
            offset += value if kind == "plus" else -value
        found = _range_before(factor, offset)
        if found is not None:
            return found, ", ".join(words)
    return None


def _range_between(lowest: float, highest: float) -> Scaling | None:
    """Return the range that a quantised input was made for, by the values that it represents."""
    # The converter takes the limits of the samples that it was given, and adds 0.
    if 0.9 <= highest <= 1.1:
        return UNIT if lowest >= -0.1 else SIGNED if -1.1 <= lowest <= -0.9 else None
    return PIXELS if 220 <= highest <= 280 and lowest >= -20 else None


def _range_before(factor: float, offset: float) -> Scaling | None:
    """Return the range of x where ``factor * x + offset`` is what a network computes with."""
    if 0.0025 <= abs(factor) <= 0.03:  # 1/400 to 1/33: standard deviations of pixels are 58
        return PIXELS
    if 0.5 <= abs(factor) <= 2 and offset <= -20:
        return PIXELS
    if 200 <= factor <= 300 and abs(offset) < 50:
        return UNIT
    if 100 <= factor <= 150 and 90 <= offset <= 160:
        return SIGNED
    if 1.5 <= factor <= 8 and -4 <= offset < 0:
        return UNIT
    return None
