"""How pixels are scaled for a graph: as its generation did, and as the user overrides it.

Each generation of the original tools wrote graphs with names of its own and came with a
``label_image.py`` that fed them in its own way. A graph without our model card is fed as
its generation's program fed it:

    DecodeJpeg/contents   2015, Inception-v3: JPEG bytes; cut behind its resize, pixels 0..255
    Mul                   2017, Inception-v3 of the poets' tutorial: (pixel - 128) / 128
    input                 2017, MobileNet of the poets' tutorial: (pixel - 128) / 128
    input, InceptionV3/   2016, slim's Inception-v3 in label_image's own defaults: pixel / 255
    Placeholder           2018, TensorFlow Hub: pixel / 255
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

_log = logging.getLogger("tlcli")


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
    """

    input_layer: str | None = None
    output_layer: str | None = None
    input_height: int | None = None
    input_width: int | None = None
    input_mean: float | None = None
    input_std: float | None = None


@dataclass(frozen=True)
class Scaling:
    """How pixels of 0..255 become the values of an input: ``(pixel - mean) / std``.

    Attributes:
        mean: subtracted from each pixel.
        std: what the rest is divided by.
        assumed: True where only convention supports it.
    """

    mean: float
    std: float
    assumed: bool = False

    def override(self, mean: float | None, std: float | None) -> Scaling:
        """Return this with the values that the user gave, which are not assumed."""
        if mean is None and std is None:
            return self
        return Scaling(
            self.mean if mean is None else float(mean), self.std if std is None else float(std)
        )


@dataclass(frozen=True)
class InputSpec:
    """The images that a graph takes, and the number of scores that it gives.

    Attributes:
        height: of the input, in pixels.
        width: of the input, in pixels.
        scaling: from pixels of 0..255 to what the input takes.
        dtype: "float32" or "uint8".
        labels: number of labels; None: only a run shows it.
        any_batch: False when it takes exactly one image at a time.
    """

    height: int
    width: int
    scaling: Scaling
    dtype: str
    labels: int | None
    any_batch: bool


def scaling_of(input_name: str, inception: bool = False) -> Scaling:
    """Return how the original tools fed an input of this name.

    Args:
        input_name: without ``:0``.
        inception: the graph is slim's Inception-v3 (its nodes are in ``InceptionV3/``).
    """
    last = input_name.split(":")[0].rsplit("/", 1)[-1]
    if last == "input" and inception:
        return Scaling(0.0, 255.0)
    if last in ("input", "Mul"):
        return Scaling(128.0, 128.0)
    return Scaling(0.0, 255.0, assumed=last != "Placeholder")


def override_scaling(scaling: Scaling, overrides: InputOverrides, where: str) -> Scaling:
    """Return ``scaling`` with the user's values; log what is only assumed, after ``where``."""
    scaling = scaling.override(overrides.input_mean, overrides.input_std)
    if scaling.assumed:
        _log.info(
            "%s, which none of the original tools wrote: pixels are scaled to 0..1; "
            "--input_mean and --input_std change that",
            where,
        )
    return scaling
