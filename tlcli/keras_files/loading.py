"""Keras itself: its quiet import, and models loaded from files that were checked.

Keras 3 reads what it wrote, and most HDF5 files of Keras 2. Keras 2, installed as ``tf_keras``,
reads the rest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tlcli.errors import GraphError
from tlcli.keras_files.config import KerasFile, read_keras_file
from tlcli.keras_files.safety import check_keras_file, check_old_config
from tlcli.runtime.native_stderr import quiet_stderr, quietly
from tlcli.runtime.watchdog import first_line
from tlcli.system.digests import sha256_file


def import_keras() -> Any:
    """Return Keras 3 on TensorFlow, whatever the user's ``keras.json`` says.

    Raises:
        GraphError: Keras already runs on another engine in this process.
    """
    from tlcli.runtime.tensorflow import import_tensorflow

    import_tensorflow()
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_stderr():
        import keras

    if keras.backend.backend() != "tensorflow":
        raise GraphError(
            f"Keras runs on {keras.backend.backend()} in this process; set KERAS_BACKEND=tensorflow"
        )
    if keras.config.image_data_format() != "channels_last":
        keras.config.set_image_data_format("channels_last")
    return keras


def _import_keras_2() -> Any:
    """Return Keras 2, None where it is not installed."""
    try:
        import tf_keras
    except ImportError:
        return None
    return tf_keras


def load_model(path: Path, digest: str, *, trust: bool = False) -> Any:
    """Return the model of a Keras file, without what it was compiled with.

    The file is checked here, directly before it is loaded, and is the one of ``digest``
    afterwards.

    Args:
        path: of the file.
        digest: its SHA-256 (hex) when it was examined.
        trust: True also loads layers that hold Python code.

    Raises:
        GraphError: no Keras model, not safe, or Keras cannot load it.
    """
    file = read_keras_file(path)
    if not trust:
        check_keras_file(file)
    with quietly(), _named_for_keras(file) as named:
        model = _load(file, named, trust)
        if not hasattr(model, "layers"):
            raise GraphError(f"{file.what} holds a {type(model).__name__}, not a whole model")
        make_groups_plain(model)
    if sha256_file(path) != digest:
        raise GraphError(f"{path} was changed while it was in use; run the command again")
    return model


def _load(file: KerasFile, named: Path, trust: bool) -> Any:
    keras, of_keras_2 = import_keras(), file.version.startswith(("1.", "2."))
    reason: BaseException | None = None
    if not (file.is_zip and of_keras_2):
        try:
            return keras.saving.load_model(str(named), compile=False, safe_mode=not trust)
        except Exception as error:
            # Whatever Keras raises: its loaders fail in too many ways to name them.
            reason = error
            if file.is_zip:
                raise _not_loaded(file, error) from error
    old = _import_keras_2()
    if old is None:
        why = "is a file of Keras 2" if reason is None else f"cannot be loaded ({_line(reason)})"
        raise GraphError(
            f"{file.what} {why}; install tf_keras (pip install tf_keras), or load and save it "
            "with the Keras that wrote it as NAME.h5"
        ) from reason
    if not (trust or file.is_zip):
        check_old_config(file.config, old, file.what)
    try:
        return _load_old(file, named, old, trust)
    except Exception as error:
        raise _not_loaded(file, reason or error) from error


def _load_old(file: KerasFile, named: Path, keras: Any, trust: bool) -> Any:
    if not file.is_zip:
        return keras.models.load_model(str(named), compile=False)
    # Versions before tf_keras filed its models under modules that Keras 3 has taken over.
    models = {"Functional": keras.Model, "Sequential": keras.Sequential}
    return keras.models.load_model(
        str(named), custom_objects=models, compile=False, safe_mode=not trust
    )


def _not_loaded(file: KerasFile, error: BaseException) -> GraphError:
    return GraphError(f"{file.what} cannot be loaded: {_line(error)}")


def _line(error: BaseException) -> str:
    return first_line(error).rstrip(".")


@contextlib.contextmanager
def _named_for_keras(file: KerasFile) -> Iterator[Path]:
    """Give a file the ending by which Keras takes it for what it was checked as."""
    ending = ".keras" if file.is_zip else ".h5"
    if file.path.name.endswith(ending):
        yield file.path
        return
    with tempfile.TemporaryDirectory(prefix="tlcli-") as folder:
        named = Path(folder) / f"model{ending}"
        try:
            named.symlink_to(file.path.resolve())
        except OSError:  # Windows lets few users make links
            shutil.copyfile(file.path, named)
        yield named


def ensure_built(model: Any, shape: tuple[int | None, ...]) -> None:
    """Tell a model its input shape, where it was saved before it knew one."""
    if not getattr(model, "inputs", None):
        model.build(shape)


def make_groups_plain(model: Any) -> None:
    """Let convolutions in groups trace as plain operations.

    Keras compiles them for XLA, which leaves a function that no reader of frozen graphs
    takes. One channel a group is a depthwise convolution, other groups are split and joined.
    """
    import tensorflow as tf

    for layer in _leaves(model):
        if type(layer).__name__ != "Conv2D" or getattr(layer, "groups", 1) == 1:
            continue

        def convolve(inputs: Any, kernel: Any, layer: Any = layer) -> Any:
            padding = layer.padding.upper()
            if kernel.shape[2] == 1 and kernel.shape[3] == layer.groups:
                return tf.nn.depthwise_conv2d(
                    inputs,
                    tf.transpose(kernel, [0, 1, 3, 2]),
                    [1, *layer.strides, 1],
                    padding,
                    dilations=list(layer.dilation_rate),
                )
            parts = zip(
                tf.split(inputs, layer.groups, axis=-1),
                tf.split(kernel, layer.groups, axis=-1),
                strict=True,
            )
            return tf.concat(
                [
                    tf.nn.conv2d(
                        part, weights, list(layer.strides), padding, dilations=layer.dilation_rate
                    )
                    for part, weights in parts
                ],
                axis=-1,
            )

        layer.convolution_op = convolve


def _leaves(model: Any) -> Iterator[Any]:
    """Yield the layers of a model and those in its layers, each once."""
    import keras

    seen: set[int] = set()
    waiting = list(model.layers)
    while waiting:
        layer = waiting.pop()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        waiting.extend(getattr(layer, "layers", ()))
        for value in vars(layer).values():
            values = value if isinstance(value, list) else [value]
            waiting.extend(each for each in values if isinstance(each, keras.layers.Layer))
