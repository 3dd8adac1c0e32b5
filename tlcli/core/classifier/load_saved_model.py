"""SavedModel folders made by anyone: the input spec of one, and what runs it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from tlcli.core.classifier.input_spec import (
    InputOverrides,
    InputSpec,
    Scaling,
    override_scaling,
    scaling_of,
)
from tlcli.core.classifier.signatures import Purpose, find_endpoint, inference_graph
from tlcli.errors import GraphError
from tlcli.graph.nodes import DataType
from tlcli.graph.safety import read_saved_model
from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.tensorflow import SessionEngine, import_tensorflow
from tlcli.runtime.watchdog import first_line

# The input's name in retrain.py's SavedModels and in ours, which take pixels in [0, 1].
_KNOWN_KEYS = frozenset({"image", "images"})
_TYPES: dict[int, str] = {DataType.FLOAT: "float32", DataType.UINT8: "uint8"}
_LABELLING = Purpose(
    signatures=("serving_default",),
    outputs=(*("prediction", "predictions", "probabilities", "scores", "softmax", "final_result"),),
    input_types=frozenset({DataType.FLOAT, DataType.UINT8}),
    output_types=frozenset({DataType.FLOAT}),
    first_signature=True,
    input_option="--input_layer",
    output_option="--output_layer",
    error=GraphError,
    unknown=GraphError,
)


@dataclass(frozen=True)
class SavedModelSpec(InputSpec):
    """The input spec of a SavedModel, and where it enters.

    Attributes:
        tags: of the graph to load.
        input: tensor to feed, "NAME:0".
        output: tensor of the scores.
    """

    tags: tuple[str, ...]
    input: str
    output: str


def infer_saved_model_spec(folder: Path, overrides: InputOverrides) -> SavedModelSpec:
    """Return the input spec of a SavedModel, from its signatures.

    ``--input_layer`` and ``--output_layer`` name a signature's key or its tensor.

    Raises:
        GraphError: no SavedModel, or something cannot be inferred.
    """
    meta = inference_graph(read_saved_model(folder), str(folder), _LABELLING)
    found = find_endpoint(
        meta, str(folder), _LABELLING, overrides.input_layer, overrides.output_layer
    )
    dtype = _TYPES.get(found.dtype)
    if dtype is None:
        raise GraphError(
            f"the input {found.key!r} of {folder} takes neither float32 nor uint8, so it takes no "
            "pixels; name another with --input_layer"
        )
    height = found.size[0] if overrides.input_height is None else overrides.input_height
    width = found.size[1] if overrides.input_width is None else overrides.input_width
    if height is None or width is None:
        raise GraphError(f"{folder} has no fixed input size; give --input_height and --input_width")
    scaling = Scaling(0.0, 255.0) if found.key in _KNOWN_KEYS else scaling_of(found.input)
    if dtype == "uint8":
        scaling = Scaling(0.0, 1.0)
    return SavedModelSpec(
        tags=found.tags,
        input=found.input,
        output=found.output,
        height=height,
        width=width,
        scaling=override_scaling(scaling, overrides, f"{folder} takes its images at {found.key!r}"),
        dtype=dtype,
        labels=found.output_shape[-1] if found.output_shape else None,
        any_batch=found.batch is None,
    )


class SavedModelEngine(SessionEngine):
    """A SavedModel in a TensorFlow session of its own; check it before (`tlcli.graph.safety`).

    Raises:
        GraphError: TensorFlow cannot load it.
    """

    def __init__(self, folder: Path, spec: SavedModelSpec) -> None:
        tf = import_tensorflow()
        errors: tuple[type[Exception], ...] = (
            *(tf.errors.OpError, OSError, RuntimeError, ValueError, TypeError, KeyError),
        )
        config = tf.compat.v1.ConfigProto()
        config.gpu_options.allow_growth = True
        try:
            with quiet_stderr(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                holder = tf.Graph()
                session = tf.compat.v1.Session(graph=holder, config=config)
                tf.compat.v1.saved_model.loader.load(session, list(spec.tags), str(folder))
                ends = [holder.get_tensor_by_name(name) for name in (spec.input, spec.output)]
        except errors as error:
            raise GraphError(f"TensorFlow cannot load {folder}: {first_line(error)}") from error
        super().__init__(session, ends, errors, "the SavedModel")
