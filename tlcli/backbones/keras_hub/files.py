"""The files of a preset, read and checked without importing Keras; `places` lists them."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.backbones.keras_hub.families import FAMILIES, NETWORKS, PARTS
from tlcli.backbones.keras_hub.places import CONFIG, CONVERTER, SHARDS, WEIGHTS, shard_names
from tlcli.core.model_spec.input_spec import PIXELS, Scaling
from tlcli.errors import BackboneError, GraphError
from tlcli.keras_files.config import check_depth, inner_config, serialised_objects
from tlcli.keras_files.safety import check_config
from tlcli.keras_files.weights import check_weights
from tlcli.runtime.watchdog import first_line
from tlcli.system.regular_files import read_regular

_REGISTERED = "keras_hub>"
# That of a network of a thousand layers has 2 MB.
_LARGEST_JSON = 64 << 20


@dataclass(frozen=True)
class PresetFiles:
    """A preset on this machine.

    Attributes:
        folder: that holds it.
        config: the serialised network.
        weights: the weight file, or the list of several.
        parts: every file that holds weights.
        size: height and width of the images, None where the preset gives none.
        scaling: from pixels of 0..255 into the network's range, None where it gives none.
    """

    folder: Path
    config: dict[str, Any]
    weights: Path
    parts: tuple[Path, ...]
    size: tuple[int | None, int | None]
    scaling: Scaling | None

    @property
    def what(self) -> str:
        """The preset, for messages."""
        return f"the keras-hub preset {self.folder}"

    @property
    def class_name(self) -> str:
        """Name of the network's class."""
        return str(self.config["class_name"])


def read_preset(folder: Path) -> PresetFiles:
    """Return the files of a preset.

    Raises:
        BackboneError: a file is absent or damaged, or the network is no image backbone.
    """
    config = _read(folder / CONFIG)
    name = config.get("class_name")
    if not _is_network(config):
        kind = "a preset" if name is None else f"a {name}"
        raise BackboneError(
            f"{folder} is {kind}, which cannot be a backbone: tlcli exports {FAMILIES} of "
            "keras-hub, saved with backbone.save_to_preset()"
        )
    weights, parts = _weights(folder)
    size, scaling = _converter(folder)
    if size == (None, None):
        size = _own_size(config)
    return PresetFiles(folder, config, weights, parts, size, scaling)


def check_preset(preset: PresetFiles) -> None:
    """Refuse a preset that asks for anything but a network, or whose weights are elsewhere.

    Raises:
        BackboneError: names the class or the weight.
    """
    try:
        _check_names(preset)
        check_config({"class_name": "Model", "config": _without_own(preset.config)}, preset.what)
        for part in preset.parts:
            check_weights(part, False, preset.what)
    except GraphError as error:
        raise BackboneError(str(error)) from error
    except (
        *(OSError, ValueError, KeyError, TypeError, RuntimeError, OverflowError, EOFError),
        *(zipfile.BadZipFile, NotImplementedError),
    ) as error:
        raise BackboneError(
            f"{preset.what} cannot be loaded: its weights are damaged ({first_line(error)}); "
            "fetch or save it again"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_regular(path, _LARGEST_JSON))
    except FileNotFoundError:
        raise BackboneError(
            f"{path.parent} is no preset of keras-hub: it holds no {path.name}"
        ) from None
    except RecursionError:
        raise BackboneError(f"cannot read {path}: it is nested too deeply") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise BackboneError(f"cannot read {path}: {reason}; fetch or save the preset again") from (
            error
        )
    if not isinstance(found, dict):
        raise BackboneError(f"cannot read {path}: it holds no object; fetch the preset again")
    try:
        check_depth(found, path)
    except GraphError as error:
        raise BackboneError(str(error)) from error
    return found


def _is_network(config: dict[str, Any]) -> bool:
    name = config.get("class_name")
    return (
        isinstance(name, str)
        and name in NETWORKS
        and config.get("registered_name") == _REGISTERED + name
        and isinstance(config.get("config"), dict)
    )


def _weights(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    """Return the file that Keras is to load, and all that hold weights."""
    single, listed = folder / WEIGHTS, folder / SHARDS
    if single.is_file():
        return single, (single,)
    if not listed.is_file():
        raise BackboneError(f"{folder} holds no weights: {WEIGHTS} is missing; fetch it again")
    return listed, tuple(folder / name for name in shard_names(listed))


def _converter(folder: Path) -> tuple[tuple[int | None, int | None], Scaling | None]:
    """Return the size and the scaling of the images, as keras-hub's image converter has them."""
    path = folder / CONVERTER
    if not path.exists():
        return (None, None), None
    config = _read(path).get("config")
    if not isinstance(config, dict):
        raise BackboneError(f"cannot read {path}: it holds no image converter; fetch it again")
    size = _size(config.get("image_size", [config.get("height"), config.get("width")]))
    scale, offset = (_channels(path, config, key) for key in ("scale", "offset"))
    # As older versions wrote it: pixels times the scale, less the mean, by the deviation.
    mean = next((key for key in ("mean", "norm_mean") if config.get(key) is not None), None)
    if mean is not None:
        means = _channels(path, config, mean)
        deviations = _channels(path, config, "norm_std" if mean == "norm_mean" else "variance")
        if means is None or deviations is None or min(deviations) <= 0:
            raise _no_scaling(path)
        if mean == "mean":
            deviations = tuple(math.sqrt(value) for value in deviations)
        scale = tuple(f / d for f, d in zip(scale or (1.0,) * 3, deviations, strict=True))
        offset = tuple(-m / d for m, d in zip(means, deviations, strict=True))
    if scale is None and offset is None:
        return size, PIXELS
    # x * scale + offset == (x - mean) / std
    factors, added = scale or (1.0,) * 3, offset or (0.0,) * 3
    means = tuple(-a / f if a else 0.0 for a, f in zip(added, factors, strict=True))
    stds = tuple(1 / f for f in factors)
    if len(set(means)) == len(set(stds)) == 1:
        return size, Scaling(means[0], stds[0])
    return size, Scaling(means, stds)


def _channels(path: Path, config: dict[str, Any], key: str) -> tuple[float, ...] | None:
    value = config.get(key)
    if value is None:
        return None
    values = value if isinstance(value, list) else [value] * 3
    numbers = all(isinstance(each, (int, float)) and math.isfinite(each) for each in values)
    if len(values) != 3 or not numbers or (key == "scale" and 0 in values):
        raise _no_scaling(path)
    return tuple(float(each) for each in values)


def _no_scaling(path: Path) -> BackboneError:
    return BackboneError(
        f"cannot read {path}: its scaling is not that of images of three channels; give "
        "--input_mean and --input_std"
    )


def _own_size(config: dict[str, Any]) -> tuple[int | None, int | None]:
    settings = inner_config(config)
    if "vision_encoder" in settings:
        settings = inner_config(settings["vision_encoder"])
    return _size(settings.get("image_shape"))


def _size(value: Any) -> tuple[int | None, int | None]:
    if not isinstance(value, list) or len(value) not in (2, 3):
        return None, None
    height, width = (each if isinstance(each, int) and each > 0 else None for each in value[:2])
    return height, width


def _check_names(preset: PresetFiles) -> None:
    """Let each object be made by the class that its checked name is that of.

    Keras prefers ``registered_name`` to module and class, and importing keras-hub registers
    hundreds of classes; some read files.
    """
    for entry in serialised_objects(preset.config):
        kind, registered = entry["class_name"], entry.get("registered_name")
        own = isinstance(registered, str) and ">" in registered
        allowed = NETWORKS | PARTS if own else frozenset()
        right = registered == f"{_REGISTERED}{kind}" and kind in allowed
        if (own or _is_own(entry)) and not right:
            raise BackboneError(
                f"{preset.what} needs {registered or kind}, which is no part of an image backbone "
                "of keras-hub, so it was not loaded; fetch it from where it was published"
            )
    for text in _texts(preset.config):
        if text.startswith(_REGISTERED) and text.removeprefix(_REGISTERED) not in NETWORKS | PARTS:
            raise BackboneError(f"{preset.what} names {text}, so it was not loaded")


def _is_own(entry: dict[str, Any]) -> bool:
    module = entry.get("module")
    return isinstance(module, str) and module.split(".")[0] == "keras_hub"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _without_own(value: Any) -> Any:
    """Return a configuration with the arguments of keras-hub's classes in their place."""
    if isinstance(value, list):
        return [_without_own(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _is_own(value):
        return _without_own(inner_config(value))
    return {key: _without_own(item) for key, item in value.items()}
