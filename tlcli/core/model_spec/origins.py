"""Where a model file comes from, and the one order in which its input specification is decided.

Each tool that makes classifiers feeds them in its own way, as its own documentation or sample
program says. What speaks first decides:

1. the model card of tlcli;
2. the file itself and what its tool put next to it: normalisation in its metadata, integers as
   its input type, Lobe's signature, Custom Vision's manifest, a resize of its own;
3. its first operations;
4. the signs of its origin;
5. the convention of its kind, which is an assumption.

Sources of the table: the ``label_image.py`` programs of TensorFlow (2015 to 2018) and of
TensorFlow Lite, ``classify_image.py`` of Coral, the snippet of Teachable Machine's export dialog,
``predict.py`` of Azure-Samples/customvision-export-samples, ``image_utils.py`` of lobe-python,
``classify_transforms`` of Ultralytics, the metadata schema of TensorFlow Lite.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from tlcli.core.images.preprocessing import Channels
from tlcli.core.model_spec.facts import ModelFacts
from tlcli.core.model_spec.input_spec import (
    GIVEN,
    PIXELS,
    SIGNED,
    UNIT,
    InputOverrides,
    InputSpec,
    Resizing,
    Scaling,
    shown_range,
)
from tlcli.core.model_spec.kinds import ModelKind
from tlcli.errors import GraphError
from tlcli.litert.metadata.reading import OWN_VERSION
from tlcli.text import counted

_log = logging.getLogger("tlcli")

_TENSORFLOW = Resizing()
_PILLOW = Resizing("pillow", "bilinear")
_SEQUENTIAL = re.compile(r"sequential(_\d+)?_input")
_TEACHABLE_NAMES = frozenset({"keras_model.h5", "model_unquant.tflite", "model.savedmodel"})
# Custom Vision's sample programs subtract these, in the order blue, green, red, from pixels that
# no layer of the network normalises.
_CUSTOM_VISION_MEANS = (105.0, 117.0, 124.0)
_HALF = Scaling(128.0, 128.0)
OWN_METADATA = "tlcli, by its metadata"
"""The origin of a LiteRT file of tlcli that lost its model card."""
# The input's name in retrain.py's SavedModels and in ours, which take pixels in [0, 1].
_KNOWN_KEYS = frozenset({"image", "images"})
_ORIGINAL_INPUTS = frozenset({"input", "Mul", "Placeholder"})


@dataclass(frozen=True)
class Origin:
    """A tool that makes classifiers, and how it feeds them.

    Attributes:
        name: of the tool.
        sign: how its files are recognised, in words.
        fits: whether a file is of it.
        scaling: how pixels are scaled; None: the file's metadata, type or operations say it.
        feeds: the scaling in words.
        resizing: from an image file to the input.
        channels: their order.
        unknown: what its files do not tell.
        in_file: its sign is in the file, or put next to it, and speaks before the operations.
        is_sure: whether its scaling is known of a file that fits, and not only assumed.
    """

    name: str
    sign: str
    fits: Callable[[ModelFacts], bool]
    scaling: Callable[[ModelFacts], Scaling] | None
    feeds: str
    resizing: Resizing
    channels: Channels = "rgb"
    unknown: str = ""
    in_file: bool = False
    is_sure: Callable[[ModelFacts], bool] = lambda facts: True


def _is_custom_vision(facts: ModelFacts) -> bool:
    if facts.adjacent.manifest is not None:
        return "ExporterVersion" in facts.adjacent.manifest
    return (
        facts.kind in (ModelKind.FROZEN_GRAPH, ModelKind.LITERT)
        and facts.input_node == "Placeholder"
        and facts.output_node == "loss"
    )


def _custom_vision_scaling(facts: ModelFacts) -> Scaling:
    # Its programs for LiteRT files and SavedModels, which are of later years, subtract nothing.
    normalises = bool(facts.steps) or facts.kind is not ModelKind.FROZEN_GRAPH
    return PIXELS if normalises else Scaling(_CUSTOM_VISION_MEANS, 1.0)


def _is_custom_vision_s1(facts: ModelFacts) -> bool:
    manifest = facts.adjacent.manifest or {}
    return _is_custom_vision(facts) and "S1" in str(manifest.get("DomainType"))


def _is_teachable_machine(facts: ModelFacts) -> bool:
    # Who edits the labels takes the numbers off, and leaves the model's name as it is.
    named = facts.indexed_labels or facts.path.name in _TEACHABLE_NAMES
    return named and bool(_SEQUENTIAL.fullmatch(facts.input_node))


def _originals_scaling(facts: ModelFacts) -> Scaling:
    if facts.divided_by is not None:
        return Scaling(0.0, facts.divided_by)
    if facts.input_node in ("input", "Mul"):
        return UNIT if facts.is_inception and facts.input_node == "input" else _HALF
    return UNIT


def _is_original(facts: ModelFacts) -> bool:
    if facts.divided_by is not None:
        return True
    if facts.kind is ModelKind.SAVED_MODEL:
        return facts.input in _KNOWN_KEYS
    if facts.output_node == "final_result":
        return True
    return facts.kind is ModelKind.FROZEN_GRAPH and facts.input_node in ("input", "Mul")


def _is_named_as_original(facts: ModelFacts) -> bool:
    return facts.divided_by is not None or facts.input_node in _ORIGINAL_INPUTS | _KNOWN_KEYS


ORIGINS = (
    Origin(
        OWN_METADATA,
        f"a LiteRT file without its model card whose metadata give the version `{OWN_VERSION}`",
        lambda facts: facts.version == OWN_VERSION and bool(facts.mean and facts.std),
        None,
        "0 to 1",
        Resizing(OWN_VERSION, "bilinear", turns_upright=True),
        in_file=True,
    ),
    Origin(
        "Lobe",
        "`signature.json` with inputs and classes",
        lambda facts: bool(facts.adjacent.signature_labels),
        lambda facts: UNIT,
        "0 to 1",
        Resizing("pillow", "bicubic", crops=True, turns_upright=True),
        in_file=True,
    ),
    Origin(
        "Azure Custom Vision, domain S1",
        "`cvexport.manifest` that names S1",
        _is_custom_vision_s1,
        lambda facts: PIXELS,
        "0 to 255",
        Resizing("pillow", "bicubic", turns_upright=True),
        in_file=True,
    ),
    Origin(
        "Azure Custom Vision",
        "`cvexport.manifest`; or a frozen graph or LiteRT file from `Placeholder` to `loss`",
        _is_custom_vision,
        _custom_vision_scaling,
        "0 to 255; less 105, 117, 124 in a frozen graph without a layer that normalises",
        Resizing("pillow", "bicubic", turns_upright=True),
        "bgr",
        "whether a model without a manifest is of the domain S1, which takes red first",
        in_file=True,
    ),
    Origin(
        "Ultralytics",
        "metadata of Ultralytics in the file, or `metadata.yaml`",
        lambda facts: facts.adjacent.ultralytics is not None,
        lambda facts: UNIT,
        "0 to 1",
        Resizing("pillow", "bilinear", crops=True, turns_upright=True),
        in_file=True,
    ),
    Origin(
        "TensorFlow Lite metadata (Model Maker, TensorFlow Hub, ML Kit)",
        "NormalizationOptions in TFLITE_METADATA",
        lambda facts: bool(facts.mean and facts.std),
        None,
        "as the metadata say",
        _PILLOW,
        in_file=True,
    ),
    Origin(
        "Teachable Machine",
        "an input `sequential_N_input` and labels with numbers (`0 cat`), or its file name "
        "(`keras_model.h5`, `model_unquant.tflite`, `model.savedmodel`)",
        _is_teachable_machine,
        lambda facts: SIGNED,
        "-1 to 1",
        Resizing("pillow", "lanczos", crops=True),
    ),
    Origin(
        "TensorFlow's retrain.py and label_image.py (2015 to 2019)",
        "an output `final_result`; a frozen graph that takes `input` or `Mul`, or decodes images "
        "itself; a SavedModel that takes `image` or `images`",
        _is_original,
        _originals_scaling,
        is_sure=_is_named_as_original,
        feeds="by the name of the input: `Mul` and `input` (pixel - 128) / 128, `input` of slim's "
        "Inception-v3 and all others 0 to 1; after a decoder of its own 0 to 255",
        resizing=_TENSORFLOW,
    ),
    Origin(
        "AutoML Vision Edge",
        "labels in `dict.txt`",
        lambda facts: facts.adjacent.has_automl_labels,
        None,
        "integers: pixels as they are",
        _PILLOW,
    ),
    Origin(
        "Coral and other quantised files",
        "an input of integers in a LiteRT file",
        lambda facts: facts.kind is ModelKind.LITERT and facts.is_quantised,
        None,
        "integers: pixels as they are (signed ones less 128)",
        Resizing("pillow", "lanczos"),
    ),
)
"""In the order in which they are looked for."""

CONVENTIONS: dict[ModelKind, tuple[Scaling, Resizing, str]] = {
    ModelKind.LITERT: (SIGNED, Resizing("pillow", "bicubic"), "TensorFlow Lite's label_image.py"),
    ModelKind.FROZEN_GRAPH: (UNIT, _TENSORFLOW, "TensorFlow's label_image.py"),
    ModelKind.SAVED_MODEL: (UNIT, _TENSORFLOW, "TensorFlow Hub's image modules"),
    ModelKind.KERAS_ZIP: (UNIT, _TENSORFLOW, "most Keras tutorials"),
    ModelKind.KERAS_HDF5: (UNIT, _TENSORFLOW, "most Keras tutorials"),
}
"""For each kind of file what is assumed where nothing tells, and whose convention that is."""


def specify(facts: ModelFacts, overrides: InputOverrides) -> InputSpec:
    """Return the input specification of a model file that has no model card.

    Args:
        facts: what its loader found.
        overrides: what the user gave; it goes before all else.

    Raises:
        GraphError: its size is unknown, or it takes no images.
    """
    origin = next((each for each in ORIGINS if each.fits(facts)), None)
    sources = {
        "input": "the file" if overrides.input_layer is None else GIVEN,
        "output": "the file" if overrides.output_layer is None else GIVEN,
    }
    mean, std = overrides.input_mean, overrides.input_std
    if mean is not None and std is not None:  # whatever the file says, or cannot say
        scaling, sources["scaling"], assumed = Scaling(mean, std), GIVEN, False
    else:
        scaling, sources["scaling"], assumed = _scaling(facts, origin)
    if (mean is None) != (std is None):
        scaling, sources["scaling"], assumed = scaling.override(mean, std), GIVEN, False
    height, width = _size(facts, overrides, sources)
    by_origin = "a convention" if origin is None else f"its origin: {origin.name}"
    sources["resizing"] = by_origin
    return InputSpec(
        height=height,
        width=width,
        scaling=scaling,
        dtype=facts.dtype,
        labels=facts.scores,
        any_batch=facts.any_batch,
        channels=_channels(facts, overrides, origin, sources),
        has_channel_axis=len(facts.shape) != 3,
        resizing=CONVENTIONS[facts.kind][1] if origin is None else origin.resizing,
        activation=facts.activation,
        input=facts.input,
        output=facts.output,
        origin=None if origin is None else origin.name,
        sources=sources,
        assumed=assumed,
    )


def warn_if_assumed(spec: InputSpec, what: str) -> None:
    """Log a warning where only a convention supports the scaling of ``what``, a path."""
    if spec.assumed:
        _log.warning(
            "Nothing shows how %s takes pixels: %s is assumed (%s); --input_mean and --input_std "
            "change that.",
            what,
            spec.scaling,
            spec.sources["scaling"],
        )


def _scaling(facts: ModelFacts, origin: Origin | None) -> tuple[Scaling, str, bool]:
    """Return the scaling, what it is known from, and whether it is assumed."""
    if facts.dtype == "string":
        return PIXELS, "it decodes images itself", False
    if facts.is_quantised:
        zero = 128.0 if facts.dtype == "int8" else 0.0
        return Scaling(zero, 1.0), f"its input takes {facts.dtype}", False
    if facts.mean and facts.std:
        return _normalisation(facts), "NormalizationOptions in its metadata", False
    if origin is not None and origin.in_file and origin.scaling is not None:
        return origin.scaling(facts), f"its origin: {origin.name}", False
    if facts.divided_by is not None:
        return Scaling(0.0, facts.divided_by), "a resize of its own", False
    shown = shown_range(facts.steps)
    if shown is not None:
        return shown[0], f"its first operations: {shown[1]}", False
    if origin is not None and origin.scaling is not None:
        return origin.scaling(facts), f"its origin: {origin.name}", not origin.is_sure(facts)
    scaling, _, whose = CONVENTIONS[facts.kind]
    return scaling, f"the convention of {whose}", True


def _normalisation(facts: ModelFacts) -> Scaling:
    def value(values: tuple[float, ...]) -> float | tuple[float, ...]:
        return values[0] if len(set(values)) == 1 else values

    channels = facts.channels or 3
    if not {len(facts.mean), len(facts.std)} <= {1, channels}:
        raise GraphError(
            f"the metadata of {facts.path} give {counted(len(facts.mean), 'mean')} and "
            f"{counted(len(facts.std), 'standard deviation')} for {counted(channels, 'channel')}; "
            "give --input_mean and --input_std"
        )
    if 0 in facts.std or not all(map(math.isfinite, (*facts.mean, *facts.std))):
        raise GraphError(
            f"the metadata of {facts.path} scale pixels by a mean and a standard deviation that "
            "are no usable numbers; give --input_mean and --input_std"
        )
    return Scaling(value(facts.mean), value(facts.std))


def _size(facts: ModelFacts, overrides: InputOverrides, sources: dict[str, str]) -> tuple[int, int]:
    found = []
    for name, given, own in (
        ("height", overrides.input_height, facts.size[0]),
        ("width", overrides.input_width, facts.size[1]),
    ):
        sources[name] = "the file" if given is None else GIVEN
        found.append(own if given is None else given)
    height, width = found
    if facts.dtype == "string":  # it resizes by itself
        return height or 1, width or 1
    if height is None or width is None:
        raise GraphError(
            f"{facts.path} has no fixed input size; give --input_height and --input_width"
        )
    return height, width


def _channels(
    facts: ModelFacts, overrides: InputOverrides, origin: Origin | None, sources: dict[str, str]
) -> Channels:
    if facts.channels == 1:
        if overrides.channel_order is not None:
            raise GraphError(f"{facts.path} takes grey images; leave --channel_order out")
        sources["channels"] = "the file"
        return "grey"
    if overrides.channel_order is not None:
        sources["channels"] = GIVEN
        return overrides.channel_order
    if origin is None:
        sources["channels"] = "a convention"
        return "rgb"
    sources["channels"] = f"its origin: {origin.name}"
    return origin.channels
