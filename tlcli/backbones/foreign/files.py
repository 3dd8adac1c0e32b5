"""The backbone in a file or folder of this machine, run in a child process before it is trusted."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.backbones.model_options import ModelOptions, refuse
from tlcli.core.model_spec.kinds import KERAS_SUFFIXES, ModelKind, kind_of
from tlcli.errors import BackboneError, GraphError, TlcliError
from tlcli.runtime.watchdog import unusable

if TYPE_CHECKING:
    from tlcli.backbone import Backbone, BackboneGraph

# What loads and runs a backbone in a trial.
_SOURCES = ("backbones", "core", "graph", "keras_files", "litert", "runtime")


def backbone_of_file(path: Path, name: str, options: ModelOptions) -> Backbone:
    """Return the backbone of a file or folder on this machine, after a trial or with one ahead.

    Args:
        path: an existing file or folder.
        name: of the backbone.
        options: what differs from the model's own values.

    Raises:
        BackboneError: it is no model that can be extended, or the trial failed.
        UsageError: options that do not fit the model.
        GraphError: the model holds operations that inference does not need.
    """
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
        refuse({"--module_input": options.input_layer}, f"the Keras model {path}")
        if not options.trust:
            from tlcli.backbones.freezing import sha256_of

            # HDF5's own code reads the file before anything is known about it.
            _try(path, name, options, key=sha256_of(path))
        return _find(path, name, options)
    if kind is ModelKind.KERAS_HUB:
        from tlcli.backbones.keras_hub import library, preset

        given = {"--module_input": options.input_layer, "--module_output": options.bottleneck_layer}
        refuse({**given}, f"the preset {path}")
        library.require_keras_hub()
        if not options.trust:
            _try(path, name, options, key=preset.digest(path))
        return _find(path, name, options)
    return tried(_find(path, name, options), path, options)


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


def tried(
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
        target="tlcli.backbones.foreign.files:run_trial",
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
