"""What the configuration inside a Keras model file says, read without Keras.

A ``.keras`` file is a zip archive with ``config.json``; an ``.h5`` file is HDF5 with the
attribute ``model_config``. Names of files do not matter here: old versions of Keras wrote HDF5
under the name ``.keras``.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.errors import GraphError
from tlcli.graph.endpoints import image_size
from tlcli.keras_files.weights import check_archive
from tlcli.runtime.watchdog import first_line
from tlcli.system.regular_files import open_regular

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
# Models within models within models: Keras itself nests some twenty levels.
_DEEPEST = 200
# Of a shape: what TensorFlow counts with.
_LARGEST = 1 << 31
_CONFIG, _METADATA = "config.json", "metadata.json"


@dataclass(frozen=True)
class KerasFile:
    """A Keras model file whose configuration was read.

    Attributes:
        path: of the file.
        config: the serialised model.
        is_zip: True for the format of ``.keras`` files, False for HDF5.
        version: of the Keras that wrote it; "" where the file does not say.
    """

    path: Path
    config: dict[str, Any]
    is_zip: bool
    version: str

    @property
    def what(self) -> str:
        """The file, for messages."""
        return f"the Keras model {self.path}"


@dataclass(frozen=True)
class ModelInput:
    """The input of a model.

    Attributes:
        name: as Keras calls it.
        shape: with the batch size; None where the file does not say.
        dtype: such as "float32".
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str = "float32"

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width; None where they are free or unknown."""
        return image_size(self.shape)

    @property
    def channels(self) -> int | None:
        """Channels; 1 also for images without an axis of channels, None where unknown."""
        if self.shape is None or len(self.shape) not in (3, 4):
            return None
        return self.shape[3] if len(self.shape) == 4 else 1


def read_keras_file(path: Path) -> KerasFile:
    """Return a Keras model file with its configuration.

    Raises:
        GraphError: absent, no Keras model, two kinds of file at once, or weights alone.
    """
    try:
        with open_regular(path) as file:  # a pipe would keep the run waiting
            head = file.read(8)
        is_zip = head.startswith(_ZIP_SIGNATURES)
        if not is_zip and zipfile.is_zipfile(path):
            # Keras decides by the name which of the two it reads: what was checked could be
            # another model than the one that runs.
            raise GraphError(
                f"{path} is two files in one, with a zip archive at its end, which no program "
                "writes; save the model again with model.save('NAME.keras')"
            )
        text, version = _read_zip(path) if is_zip else _read_hdf5(path)
        config = json.loads(text)
    except FileNotFoundError:
        raise GraphError(f"there is no Keras model at {path}") from None
    except RecursionError:
        raise GraphError(_no_model(path, "its configuration is nested too deeply")) from None
    except (
        *(OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, OverflowError),
        *(zipfile.BadZipFile, NotImplementedError),
    ) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise GraphError(
            f"{_no_model(path, reason)}; save one with model.save('NAME.keras')"
        ) from error
    if not isinstance(config, dict) or "config" not in config:
        raise GraphError(_no_model(path, "its configuration is damaged"))
    check_depth(config, path)
    return KerasFile(path, config, is_zip, version)


def _no_model(path: Path, reason: str) -> str:
    return f"{path} is not a Keras model file: {reason}"


def _read_zip(path: Path) -> tuple[bytes, str]:
    """Return the configuration in a ``.keras`` file, and the version that wrote it."""
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, f"the Keras model {path}")
        metadata = json.loads(archive.read(_METADATA)) if _METADATA in archive.namelist() else {}
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        return archive.read(_CONFIG), str(version or "")


def _read_hdf5(path: Path) -> tuple[str | bytes, str]:
    """Return the configuration in an HDF5 file, and the version that wrote it."""
    import h5py  # type: ignore[import-untyped, unused-ignore]

    with h5py.File(path, "r") as file:
        text, version = (_text(file.attrs.get(key)) for key in ("model_config", "keras_version"))
        if text is not None:
            return text, version or ""
        weights = "layer_names" in file.attrs or "layers" in file or "_layer_checkpoint" in file
    if weights:
        raise GraphError(
            f"{path} holds weights without a model; save the whole model with "
            "model.save('NAME.keras')"
        )
    raise ValueError("it holds no model_config")


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def check_depth(config: Any, path: Path) -> None:
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
    raise GraphError(_no_model(path, "its configuration is nested too deeply"))


def serialised_objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialised object of a configuration, the outermost first."""
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            yield value
        for item in value.values():
            yield from serialised_objects(item)
    elif isinstance(value, list):
        for item in value:
            yield from serialised_objects(item)


def inner_config(entry: Any) -> dict[str, Any]:
    """Return the arguments of a serialised object, {} where there are none."""
    found = entry.get("config") if isinstance(entry, dict) else None
    return found if isinstance(found, dict) else {}


def layers_of(entry: Any) -> list[dict[str, Any]]:
    """Return the serialised layers of a model, [] for a layer that is none."""
    found = entry.get("config") if isinstance(entry, dict) else None
    if isinstance(found, dict):
        found = found.get("layers")
    # Keras 2.0 saved a Sequential as the list of its layers.
    layers = found if isinstance(found, list) else []
    return [
        layer
        for layer in layers
        if isinstance(layer, dict) and isinstance(layer.get("class_name"), str)
    ]


def model_input(config: dict[str, Any]) -> ModelInput:
    """Return the first input of a model; its shape is None where nothing gives it."""
    layers = layers_of(config)
    names = list(_strings(inner_config(config).get("input_layers")))
    inputs = [layer for layer in layers if layer["class_name"] == "InputLayer"]
    named = [layer for layer in inputs if inner_config(layer).get("name") in names]
    for layer in named or inputs[:1]:
        found = inner_config(layer)
        dtype = found.get("dtype")
        return ModelInput(
            str(found.get("name", "input")),
            _shape(found.get("batch_shape")) or _shape(found.get("batch_input_shape")),
            dtype if isinstance(dtype, str) else "float32",
        )
    # A Sequential without an input layer is called after its first layer.
    first = inner_config(layers[0]).get("name") if layers else None
    name = f"{first}_input" if isinstance(first, str) else "input"
    return ModelInput(name, _built_shape(config) or _first_shape(layers))


def output_name(config: dict[str, Any]) -> str | None:
    """Return the name of the layer of a model's output; None where it has several."""
    layers = layers_of(config)
    last = inner_config(layers[-1]).get("name") if layers else None
    found = inner_config(config).get("output_layers")
    names = [*_strings([*found.values()] if isinstance(found, dict) else found)]
    if len(names) > 1:
        return None
    named = names[0] if names else last
    return named if isinstance(named, str) else "output"


def _first_shape(layers: list[dict[str, Any]]) -> tuple[int | None, ...] | None:
    if not layers:
        return None
    found = inner_config(layers[0])
    shape = _shape(found.get("batch_input_shape")) or _shape(found.get("batch_shape"))
    if shape is None and layers_of(layers[0]):
        shape = model_input(layers[0]).shape
    return shape or _built_shape(layers[0])


def _built_shape(entry: dict[str, Any]) -> tuple[int | None, ...] | None:
    built = entry.get("build_config")
    if isinstance(built, dict) and (shape := _shape(built.get("input_shape"))):
        return shape
    return _shape(inner_config(entry).get("build_input_shape"))


def _shape(value: Any) -> tuple[int | None, ...] | None:
    if not isinstance(value, (list, tuple)) or not value:
        return None
    return tuple(each if isinstance(each, int) and 0 < each < _LARGEST else None for each in value)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


# Layers that leave the range of pixels as it is; augmentation does nothing at inference.
_KEEPS_RANGE = frozenset(
    """
    InputLayer Resizing CenterCrop ZeroPadding2D Cropping2D Dropout SpatialDropout2D Identity
    GaussianNoise GaussianDropout Reshape Activation Cast Permute
    """.split()  # noqa: SIM905
)
_DIVIDING = frozenset({"TrueDivide", "Divide", "math.truediv", "math.divide"})
_MULTIPLYING = frozenset({"Multiply", "math.multiply"})
_SUBTRACTING = frozenset({"Subtract", "math.subtract"})
_ADDING = frozenset({"Add", "math.add", "__operators__.add"})


@dataclass(frozen=True)
class FirstScaling:
    """The arithmetic on pixels with which a model begins.

    Attributes:
        factor: pixels are multiplied by it.
        offset: is added then.
        normalises: whether a ``Normalization`` layer follows, whose values are weights.
    """

    factor: float = 1.0
    offset: float = 0.0
    normalises: bool = False


def first_scaling(config: dict[str, Any]) -> FirstScaling | None:
    """Return the arithmetic on pixels before a model's first other layer; None: there is none."""
    found = None
    for layer in _leaves(config):
        kind, settings = layer["class_name"], inner_config(layer)
        if kind == "TFOpLambda":
            kind = str(settings.get("function"))
        if kind in _KEEPS_RANGE or kind.startswith("Random"):
            continue
        now = found or FirstScaling()
        if kind == "Rescaling":
            scale, offset = (_number(settings.get(key)) for key in ("scale", "offset"))
            if scale is None:
                break
            found = FirstScaling(now.factor * scale, now.offset * scale + (offset or 0.0))
        elif kind == "Normalization":
            return FirstScaling(now.factor, now.offset, normalises=True)
        else:
            value = _operand(layer)
            if value is None:
                break
            if kind in _DIVIDING and value != 0:
                found = FirstScaling(now.factor / value, now.offset / value)
            elif kind in _MULTIPLYING:
                found = FirstScaling(now.factor * value, now.offset * value)
            elif kind in _SUBTRACTING:
                found = FirstScaling(now.factor, now.offset - value)
            elif kind in _ADDING:
                found = FirstScaling(now.factor, now.offset + value)
            else:
                break
    return found


def _leaves(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the layers of a model and of those in it, in the order of the file."""
    for layer in layers_of(config):
        if layers_of(layer):
            yield from _leaves(layer)
        else:
            yield layer


def _operand(layer: dict[str, Any]) -> float | None:
    """Return the one number that an operation takes beside a tensor."""
    numbers = list(_plain_numbers(layer.get("inbound_nodes")))
    return numbers[0] if len(numbers) == 1 else None


def _plain_numbers(nodes: Any) -> Iterator[float]:
    if not isinstance(nodes, list) or len(nodes) != 1:
        return
    node = nodes[0]
    if isinstance(node, dict):  # Keras 3
        kwargs = node.get("kwargs")
        arguments = [node.get("args"), list(kwargs.values()) if isinstance(kwargs, dict) else []]
        values = [item for each in arguments if isinstance(each, list) for item in each]
    else:  # Keras 2: [name, node, tensor, {argument: value}]
        node = node[0] if isinstance(node, list) and node and isinstance(node[0], list) else node
        last = node[-1] if isinstance(node, list) and node else None
        values = list(last.values()) if isinstance(last, dict) else []
    for value in values:
        number = _number(value)
        if number is not None:
            yield number


def _number(value: Any) -> float | None:
    """Return a number, also one that a list repeats."""
    if isinstance(value, dict):  # an array
        value = inner_config(value).get("value")
    if isinstance(value, list) and value and all(each == value[0] for each in value):
        value = value[0]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
