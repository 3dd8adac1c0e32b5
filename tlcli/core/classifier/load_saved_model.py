"""SavedModel folders made by anyone: what one wants, and what runs it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.core.classifier.input_spec import (
    InputOverrides,
    InputSpec,
    Scaling,
    override_scaling,
    scaling_of,
)
from tlcli.errors import GraphError
from tlcli.graph.nodes import DataType, shape_dims
from tlcli.graph.safety import read_saved_model
from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.tensorflow import SessionEngine, import_tensorflow
from tlcli.runtime.watchdog import first_line

_SERVE = "serve"
_DEFAULT = "serving_default"
# The input's name in retrain.py's SavedModels and in ours, which take pixels in [0, 1].
_KNOWN_KEYS = frozenset({"image", "images"})
_SCORE_KEYS = ("prediction", "predictions", "probabilities", "scores", "softmax", "final_result")
_TYPES = {DataType.FLOAT: "float32", DataType.UINT8: "uint8"}


@dataclass(frozen=True)
class SavedModelSpec(InputSpec):
    """What a SavedModel wants.

    Attributes:
        tags: of the graph to load.
        input: tensor to feed, "NAME:0".
        output: tensor of the scores.
    """

    tags: tuple[str, ...]
    input: str
    output: str


def infer_saved_model_spec(folder: Path, options: InputOverrides) -> SavedModelSpec:
    """Find out what a SavedModel wants from its signatures.

    ``--input_layer`` and ``--output_layer`` name a signature's key or its tensor.

    Raises:
        GraphError: no SavedModel, or what cannot be told.
    """
    message = read_saved_model(folder)
    graphs = [graph for graph in message.meta_graphs if _SERVE in graph.meta_info_def.tags]
    if not graphs:
        raise GraphError(
            f"{folder} holds no graph for serving (no tag {_SERVE!r}); export it again"
        )
    signatures = graphs[0].signature_def
    found = _choose(signatures, options, folder)
    if found is None:
        known = ", ".join(sorted(key for key in signatures if not key.startswith("__"))) or "none"
        raise GraphError(
            f"no signature of {folder} takes one batch of images (it has: {known}); give another "
            "model, or name its input with --input_layer"
        )
    key, source, signature = found
    target = _output(signature, options, folder)
    shape = shape_dims(source.tensor_shape)
    sides = shape[1:3] if shape is not None and len(shape) == 4 else (None, None)
    height = sides[0] if options.input_height is None else options.input_height
    width = sides[1] if options.input_width is None else options.input_width
    if height is None or width is None:
        raise GraphError(
            f"{folder} does not say how large its images are; give --input_height and --input_width"
        )
    dtype = _TYPES[DataType(source.dtype)]
    scaling = Scaling(0.0, 255.0) if key in _KNOWN_KEYS else scaling_of(source.name)
    if dtype == "uint8":
        scaling = Scaling(0.0, 1.0)
    widths = shape_dims(target.tensor_shape)
    return SavedModelSpec(
        tags=tuple(graphs[0].meta_info_def.tags),
        input=source.name,
        output=target.name,
        height=height,
        width=width,
        scaling=override_scaling(scaling, options, f"{folder} takes its images at {key!r}"),
        dtype=dtype,
        labels=widths[-1] if widths else None,
        any_batch=shape is None or len(shape) != 4 or shape[0] is None,
    )


def _choose(
    signatures: Mapping[str, Any], options: InputOverrides, folder: Path
) -> tuple[str, Any, Any] | None:
    """Return the key and tensor of the image input, and its signature."""
    names = sorted(signatures, key=lambda name: (name != _DEFAULT, name))
    for name in names:
        inputs = signatures[name].inputs
        if name.startswith("__") or len(inputs) != 1:
            continue
        ((key, tensor),) = inputs.items()
        if options.input_layer is not None and not _is_named(key, tensor, options.input_layer):
            continue
        shape = shape_dims(tensor.tensor_shape)
        if tensor.dtype in _TYPES and (not shape or (len(shape) == 4 and shape[3] in (3, None))):
            return key, tensor, signatures[name]
    if options.input_layer is not None:
        raise GraphError(
            f"no signature of {folder} takes images at {options.input_layer!r} alone; "
            "leave --input_layer out"
        )
    return None


def _is_named(key: str, tensor: Any, wanted: str) -> bool:
    return wanted in (key, tensor.name, tensor.name.rsplit(":", 1)[0])


def _output(signature: Any, options: InputOverrides, folder: Path) -> Any:
    outputs = dict(signature.outputs.items())
    if options.output_layer is not None:
        for key, tensor in outputs.items():
            if _is_named(key, tensor, options.output_layer):
                return tensor
        raise GraphError(
            f"{folder} has no output {options.output_layer!r}; it has {_names(outputs)}"
        )
    floats = {key: tensor for key, tensor in outputs.items() if tensor.dtype == DataType.FLOAT}
    if len(floats) == 1:
        return next(iter(floats.values()))
    for key in _SCORE_KEYS:
        if key in floats:
            return floats[key]
    raise GraphError(
        f"cannot tell which output of {folder} gives the scores ({_names(outputs)}); name it with "
        "--output_layer"
    )


def _names(outputs: Iterable[str]) -> str:
    return ", ".join(sorted(outputs)) or "none"


class SavedModelEngine(SessionEngine):
    """A SavedModel in a TensorFlow session of its own; check it before (`graph_safety`).

    Raises:
        GraphError: TensorFlow cannot load it.
    """

    def __init__(self, folder: Path, wants: SavedModelSpec) -> None:
        tf = import_tensorflow()
        errors: tuple[type[Exception], ...] = (
            tf.errors.OpError,
            OSError,
            RuntimeError,
            ValueError,
            TypeError,
            KeyError,
        )
        config = tf.compat.v1.ConfigProto()
        config.gpu_options.allow_growth = True
        try:
            with quiet_stderr(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                holder = tf.Graph()
                session = tf.compat.v1.Session(graph=holder, config=config)
                tf.compat.v1.saved_model.loader.load(session, list(wants.tags), str(folder))
                ends = [holder.get_tensor_by_name(name) for name in (wants.input, wants.output)]
        except errors as error:
            raise GraphError(f"TensorFlow cannot load {folder}: {first_line(error)}") from error
        super().__init__(session, ends, errors, "the SavedModel")
