"""The one input specification: what a graph takes, and where each part of it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tlcli.core.images.preprocessing import Channels, PreprocessingName
from tlcli.core.images.resizing import Filter

PerChannel = float | tuple[float, ...]
"""One value for all channels, or one for each in the order in which the graph takes them."""

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
