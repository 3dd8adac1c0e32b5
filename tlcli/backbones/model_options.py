"""What the user may give for a model apart from its name."""

from __future__ import annotations

from dataclasses import dataclass

from tlcli.errors import UsageError


@dataclass(frozen=True)
class ModelOptions:
    """How a model becomes a backbone; None: as the model itself has it.

    Attributes:
        input_layer: where images go in: a tensor of a frozen graph, an input of a signature.
        bottleneck_layer: whose output is the bottleneck: a tensor of a frozen graph, a
            signature or an output of one, a layer of a Keras model.
        input_height: in pixels.
        input_width: in pixels.
        input_mean: subtracted from pixels of 0..255; zero is a value.
        input_std: what the rest is divided by.
        trust: True allows operations, or Python code, that inference does not need.
    """

    input_layer: str | None = None
    bottleneck_layer: str | None = None
    input_height: int | None = None
    input_width: int | None = None
    input_mean: float | None = None
    input_std: float | None = None
    trust: bool = False


DEFAULT_OPTIONS = ModelOptions()
"""Everything as the model itself has it."""


def refuse(options: dict[str, object], what: str) -> None:
    """Raise UsageError where options are given that a backbone does not take.

    Args:
        options: option -> value; None where it is not given.
        what: the backbone, as a sentence names it.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)} cannot be changed for {what}; leave it out")
