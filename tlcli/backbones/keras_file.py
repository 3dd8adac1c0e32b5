"""Keras model files (``.keras``, ``.h5``) as backbones.

The bottleneck is what feeds the last ``Dense`` layer if the model ends in one, else the
model's output, averaged where it is a map; ``--module_output`` names another layer.

Images go in as [0, 1] unless ``--input_mean`` or ``--input_std`` say otherwise. A model that
has a ``Rescaling`` layer for 0..255 of its own (factor below 0.1) gets 0..255.

A file that asks for Python code (``Lambda``, classes from outside Keras) is refused before
anything of it is loaded.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlcli.backbone import Backbone, BackboneGraph
from tlcli.backbones.freezing import (
    PIXELS,
    UNIT,
    NetworkInput,
    chosen_scaling,
    chosen_size,
    fingerprint,
    freeze,
    scaling_key,
    sha256_of,
)
from tlcli.backbones.keras_applications import import_keras, make_groups_plain, quietly
from tlcli.backbones.keras_weights import check_archive, check_weights
from tlcli.backbones.model_options import DEFAULT_OPTIONS, ModelOptions
from tlcli.errors import BackboneError, UsageError
from tlcli.runtime.watchdog import first_line
from tlcli.system.regular_files import open_regular

# Part of the fingerprint: raise it when the graphs below change any vector.
_GRAPH_VERSION = 1
# Layers after the last Dense that only turn its scores into probabilities.
_AFTER_SCORES = ("Activation", "Softmax", "Dropout", "ReLU")
# "builtins" is where Keras files functions and dtypes by name; its classes are refused.
# What else is in Keras fetches files, writes them or sets things for the whole process.
_PARTS = frozenset(
    """
    layers models engine activations initializers regularizers constraints optimizers losses
    metrics dtype_policies quantizers
    """.split()  # noqa: SIM905
)
# Models within models within models: Keras itself nests some twenty levels.
_DEEPEST = 200
_BUILTINS = ("function", "__tuple__", "slice")
# Layers that hold Python code, name a function to be called, or load other files.
_ACTING = frozenset(
    """
    Lambda __lambda__ function_lambda TFOpLambda SlicingOpLambda ClassMethod InstanceMethod
    InstanceProperty TensorFlowOpLayer TFSMLayer TorchModuleWrapper JaxLayer FlaxLayer
    StringLookup IntegerLookup TextVectorization
    """.split()  # noqa: SIM905
)
# Where Keras 2 defines the parts of networks. The other classes that it can load call functions.
_MODULES = (
    "layers",
    "initializers",
    "regularizers",
    "constraints",
    "activations",
    "mixed_precision",
)
_MODELS = frozenset({"Functional", "Model", "Sequential"})


def find(
    path: Path | str,
    options: ModelOptions = DEFAULT_OPTIONS,
    *,
    name: str | None = None,
) -> Backbone:
    """Return the backbone of a Keras model file, without importing Keras.

    Args:
        path: a ``.keras``, ``.h5`` or ``.hdf5`` file of a whole model.
        options: of which ``input_layer`` is not looked at.
        name: as the user typed it, the path by default.

    Raises:
        BackboneError: no Keras model, weights only, or it asks for Python code.
        UsageError: nothing tells the size, or the options do not fit.
    """
    path = Path(path)
    what = f"the Keras model {path}"
    config = read_config(path)
    if not options.trust:
        _check_safe(config, what)
        try:
            check_weights(path, what)
        except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
            raise BackboneError(
                f"{what} cannot be loaded: its weights are damaged ({first_line(error)}); save it "
                "again"
            ) from error
    known = _input_size(config)
    height, width = chosen_size(known, options, what=what, fixed=None not in known)
    default = PIXELS if _scales_pixels(config) else UNIT
    images = NetworkInput(height, width, chosen_scaling(options, default))
    layer = options.bottleneck_layer
    key = fingerprint(
        "keras_file",
        _GRAPH_VERSION,
        sha256_of(path),
        layer,
        height,
        width,
        scaling_key(images.scaling),
    )

    def load_graph() -> BackboneGraph:
        with quietly():
            network = _network(path, layer, (height, width), what, options.trust)
        return freeze(
            lambda pixels: network(pixels, training=False), images, what=what, trust=options.trust
        )

    return Backbone(
        name=name or str(path),
        source=f"Keras model {path}",
        licence="unknown",
        height=height,
        width=width,
        fingerprint=key,
        bottleneck_size=None,
        load_graph=load_graph,
    )


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration that a Keras model file holds.

    Raises:
        BackboneError: absent, no Keras model, or weights without a model.
    """
    try:
        open_regular(path).close()  # a pipe would keep the run waiting
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                check_archive(archive, f"the Keras model {path}")
                text: Any = archive.read("config.json")
        else:
            text = _hdf5_config(path)
        config = json.loads(text)
    except FileNotFoundError:
        raise BackboneError(f"there is no Keras model at {path}") from None
    except RecursionError:
        raise BackboneError(
            f"{path} is not a Keras model file: its configuration is nested too deeply"
        ) from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise BackboneError(
            f"{path} is not a Keras model file: "
            f"{getattr(error, 'strerror', None) or first_line(error)}; "
            "save one with model.save('NAME.keras')"
        ) from error
    if not isinstance(config, dict) or "config" not in config:
        raise BackboneError(f"{path} is not a Keras model file: its configuration is damaged")
    _check_depth(config, path)
    return config


def _check_depth(config: Any, path: Path) -> None:
    """Refuse what the readers below, and Keras, would not come to the end of."""
    level = [config]
    for _ in range(_DEEPEST):
        level = [
            item
            for value in level
            for item in (value.values() if isinstance(value, dict) else value)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return
    raise BackboneError(f"{path} is not a Keras model file: its configuration is nested too deeply")


def _hdf5_config(path: Path) -> Any:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "r") as file:
        if "model_config" in file.attrs:
            return file.attrs["model_config"]
        weights = "layer_names" in file.attrs or "layers" in file or "_layer_checkpoint" in file
    if weights:
        raise BackboneError(
            f"{path} holds weights without a model; save the whole model with "
            "model.save('NAME.keras')"
        )
    raise ValueError("it holds no model_config")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialised object of a configuration, the outermost first."""
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            yield value
        for item in value.values():
            yield from _objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from _objects(item)


def _check_safe(config: dict[str, Any], what: str) -> None:
    # The outermost object too: Keras makes whatever it names. The way it was compiled is not read.
    made = {key: value for key, value in config.items() if key != "compile_config"}
    for entry in _objects(made):
        kind, module = entry["class_name"], entry.get("module")
        if kind in _ACTING:
            raise BackboneError(
                f"{what} has a {kind} layer, which holds Python code or reads other files, so it "
                "was not loaded; save it without, or export it with model.export() and give the "
                "folder"
            )
        if not _is_part(module) and not (module == "builtins" and kind in _BUILTINS):
            raise BackboneError(
                f"{what} needs {module}.{kind}, which is no part of a network in Keras, so it was "
                "not loaded; export it with model.export() and give the folder"
            )


def _is_part(module: Any) -> bool:
    """Return whether a module of Keras holds parts of networks (others hold functions that act)."""
    if module is None:
        return True
    parts = str(module).split(".")
    inner = [part for part in parts[1:] if part != "src"]
    return parts[0] == "keras" and (not inner or inner[0] in _PARTS)


def _input_size(config: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return height and width from the first input shape of four dimensions."""
    built = config.get("build_config")
    shapes = [built.get("input_shape")] if isinstance(built, dict) else []
    for entry in _objects(config):
        inner = entry.get("config")
        if isinstance(inner, dict):
            shapes += [inner.get(key) for key in ("batch_shape", "batch_input_shape")]
    for shape in shapes:
        if isinstance(shape, (list, tuple)) and len(shape) == 4:
            height, width = shape[1], shape[2]
            return (
                height if isinstance(height, int) else None,
                width if isinstance(width, int) else None,
            )
    return None, None


def _scales_pixels(config: dict[str, Any]) -> bool:
    for entry in _objects(config):
        if entry["class_name"] == "Rescaling":
            factor = entry.get("config", {}).get("scale")
            factor = factor[0] if isinstance(factor, list) and factor else factor
            if isinstance(factor, (int, float)):
                return abs(factor) < 0.1
    return False


def _network(
    path: Path, module_output: str | None, size: tuple[int, int], what: str, trust: bool
) -> Any:
    keras = import_keras()
    try:
        model = keras.saving.load_model(str(path), compile=False, safe_mode=not trust)
    except Exception as error:
        # Whatever Keras raises: its loaders fail in too many ways to name them.
        keras = _keras_2()
        if keras is None or zipfile.is_zipfile(path):
            model = None
        else:
            if not trust:
                _check_old(read_config(path), keras, what)
            model = _old_model(keras, path)
        if model is None:
            raise BackboneError(f"{what} cannot be loaded: {first_line(error)}") from error
    if not getattr(model, "inputs", None):
        # A Sequential that was saved before it knew its input shape.
        model.build((None, *size, 3))
    network = _up_to_bottleneck(model, module_output, keras, what)
    make_groups_plain(network)
    return network


def _keras_2() -> Any:
    try:
        import tf_keras
    except ImportError:
        return None
    return tf_keras


def _check_old(config: dict[str, Any], keras: Any, what: str) -> None:
    """Let Keras 2 make layers and their parts only: it has no safe mode for HDF5 files."""
    for entry in _objects({key: value for key, value in config.items() if key != "compile_config"}):
        kind = entry["class_name"]
        known = any(hasattr(getattr(keras, part), kind) for part in _MODULES)
        if not known and kind not in _MODELS:
            raise BackboneError(
                f"{what} needs {kind}, which is no part of a network in Keras, so it was not "
                "loaded; export it with model.export() and give the folder"
            )


def _old_model(keras: Any, path: Path) -> Any:
    """Return a model that only Keras 2 reads, or None."""
    try:
        return keras.models.load_model(str(path), compile=False)
    except Exception:
        return None


def _up_to_bottleneck(model: Any, module_output: str | None, keras: Any, what: str) -> Any:
    if len(model.inputs) != 1:
        raise BackboneError(f"{what} has {len(model.inputs)} inputs; a backbone has one, the image")
    if module_output is not None:
        named = [layer for layer in model.layers if layer.name == module_output]
        if not named:
            names = ", ".join(layer.name for layer in model.layers[-8:])
            raise UsageError(f"{what} has no layer {module_output!r}; its last layers are {names}")
        return keras.Model(model.inputs[0], named[0].output)
    if len(model.outputs) != 1:
        raise BackboneError(
            f"{what} has {len(model.outputs)} outputs; choose a layer with --module_output"
        )
    for layer in reversed(model.layers):
        kind = type(layer).__name__
        if kind == "Dense":
            return keras.Model(model.inputs[0], layer.input)
        if kind not in _AFTER_SCORES:
            break
    return model
