"""Presets of keras-hub as backbones.

The image converter's size and scaling become those of the graph. Images are resized as for every
other backbone, stretched to the size; keras-hub's own converters may crop, or resize otherwise.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlcli.backbone import INPUT, Backbone, BackboneGraph
from tlcli.backbones.freezing import (
    NetworkInput,
    chosen_scaling,
    chosen_size,
    fingerprint,
    freeze,
    scaling_key,
    sha256_of,
)
from tlcli.backbones.keras_hub.families import bottleneck
from tlcli.backbones.keras_hub.files import PresetFiles, check_preset, read_preset
from tlcli.backbones.keras_hub.library import import_keras_hub, require_keras_hub
from tlcli.backbones.keras_hub.licences import UNKNOWN
from tlcli.backbones.keras_hub.plain import plain_tokens
from tlcli.backbones.model_options import DEFAULT_OPTIONS, ModelOptions
from tlcli.core.model_spec.input_spec import PIXELS, Scaling
from tlcli.errors import BackboneError, TlcliError, UsageError
from tlcli.keras_files.config import inner_config
from tlcli.keras_files.loading import make_groups_plain
from tlcli.runtime.native_stderr import quietly
from tlcli.runtime.watchdog import first_line

# Part of the fingerprint: raise it when the graphs below change any vector.
_GRAPH_VERSION = 1


def find(
    folder: Path | str,
    options: ModelOptions = DEFAULT_OPTIONS,
    *,
    name: str | None = None,
) -> Backbone:
    """Return the backbone of a preset's folder, without importing Keras.

    Args:
        folder: as ``backbone.save_to_preset()`` writes it.
        options: of which height, width, mean, deviation and trust are used.
        name: as the user typed it, the folder by default.

    Raises:
        BackboneError: no preset of an image backbone, not safe, or keras-hub is not installed.
        UsageError: nothing gives the size or the scaling, or the options do not fit.
    """
    require_keras_hub()
    preset = read_preset(Path(folder))
    if not options.trust:
        check_preset(preset)
    height, width = chosen_size(preset.size, options, what=preset.what)
    scaling = _scaling(preset, options)
    content = _digest(preset)
    key = fingerprint(
        "keras_hub",
        _GRAPH_VERSION,
        content,
        height,
        width,
        scaling_key(scaling),
    )

    def load_graph() -> BackboneGraph:
        result = _load(preset, NetworkInput(height, width, PIXELS), scaling, options.trust)
        if _digest(preset) != content:
            raise BackboneError(f"{folder} was changed while it was in use; run the command again")
        return result

    return Backbone(
        name=name or str(folder),
        source=f"keras-hub {preset.class_name}, preset {preset.folder}",
        licence=UNKNOWN,
        height=height,
        width=width,
        fingerprint=key,
        bottleneck_size=None,
        load_graph=load_graph,
    )


def digest(folder: Path) -> str:
    """Return a SHA-256 (hex) over the network and the weights of a preset.

    Raises:
        BackboneError: no preset of an image backbone, or a file cannot be read.
    """
    return _digest(read_preset(folder))


def _digest(preset: PresetFiles) -> str:
    parts = [json.dumps(preset.config, sort_keys=True), *map(sha256_of, preset.parts)]
    return hashlib.sha256(json.dumps(parts).encode("utf-8")).hexdigest()


def _scaling(preset: PresetFiles, options: ModelOptions) -> Scaling:
    given = options.input_mean is not None or options.input_std is not None
    if preset.scaling is None and not given:
        raise UsageError(
            f"{preset.what} has no image_converter.json, which gives the scaling of pixels; give "
            "--input_mean and --input_std, or save it with converter.save_to_preset()"
        )
    return chosen_scaling(options, preset.scaling or PIXELS)


def _load(
    preset: PresetFiles, images: NetworkInput, scaling: Scaling, trust: bool
) -> BackboneGraph:
    network = _network(preset, images.height, images.width, trust)
    call = bottleneck(network, preset.class_name)
    with quietly():
        frozen = freeze(
            lambda pixels: call(_scaled(pixels, scaling)), images, what=preset.what, trust=trust
        )
    return replace(frozen, graph=plain_tokens(frozen.graph, INPUT, frozen.output))


def _scaled(pixels: Any, scaling: Scaling) -> Any:
    """Return pixels of 0..255 (a tensor) in the network's range, by channel where it needs that."""
    if not isinstance(scaling.mean, tuple) and not isinstance(scaling.std, tuple):
        mean, std = scaling.single
        factor, offset = 1 / std, -mean / std
        pixels = pixels if factor == 1.0 else pixels * factor
        return pixels if offset == 0.0 else pixels + offset
    means, stds = (
        each if isinstance(each, tuple) else (each,) * 3 for each in (scaling.mean, scaling.std)
    )
    factors = [1 / std for std in stds]
    return pixels * factors + [-mean / std for mean, std in zip(means, stds, strict=True)]


def _network(preset: PresetFiles, height: int, width: int, trust: bool) -> Any:
    """Return the network with its weights, in float32 and for images of one size."""
    models = import_keras_hub().models
    if not trust:
        check_preset(preset)  # directly before it is loaded
    config = _sized(preset.config, [height, width, 3])["config"]
    try:
        with quietly():
            network = getattr(models, preset.class_name).from_config(config)
            network.load_weights(str(preset.weights))
            make_groups_plain(network)
    except TlcliError:
        raise
    except Exception as error:  # Keras and keras-hub fail in too many ways to name them
        raise BackboneError(
            f"{preset.what} cannot be loaded for images of {height} x {width}: "
            f"{first_line(error).rstrip('.')}"
        ) from error
    return network


def _sized(entry: dict[str, Any], shape: list[int]) -> dict[str, Any]:
    """Return a serialised network for images of ``shape`` that computes in float32."""
    settings = dict(inner_config(entry))
    if "dtype" in settings:
        settings["dtype"] = "float32"
    if "image_shape" in settings:
        settings["image_shape"] = tuple(shape)
    for key, value in settings.items():
        if isinstance(value, dict) and key.endswith("_encoder"):
            settings[key] = _sized(value, shape)
    return {**entry, "config": settings}
