"""A whole Keras model as a frozen graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.errors import GraphError, TlcliError
from tlcli.graph.messages import GraphDef
from tlcli.graph.safety import check_operations
from tlcli.graph.surgery import without_identity_n
from tlcli.keras_files.config import KerasFile, model_input
from tlcli.keras_files.layers import Calls, one_tensor, tensors_of
from tlcli.keras_files.loading import ensure_built, load_model
from tlcli.runtime.freezing import TracedInput, frozen_call
from tlcli.runtime.native_stderr import quietly
from tlcli.runtime.watchdog import first_line

_OUTPUT = "scores"
_NO_NAME = re.compile(r"[^A-Za-z0-9_.\\/-]")


@dataclass(frozen=True)
class FreezeOptions:
    """How a model is frozen.

    Attributes:
        height: of the images, where the model leaves it free.
        width: in the same way.
        layer: whose output is the result, by its path; None: the model's output.
        labels: how many scores there should be; settles which of several outputs has them.
        trust: True allows Python code and operations that inference does not need.
    """

    height: int | None = None
    width: int | None = None
    layer: str | None = None
    labels: int | None = None
    trust: bool = False


@dataclass(frozen=True)
class KerasGraph:
    """A frozen Keras model.

    Attributes:
        graph: a ``GraphDef`` without variables.
        input: name of its placeholder, [?, height, width, channels] or [?, height, width].
        output: name of the node of its result.
    """

    graph: Any
    input: str
    output: str


def freeze_model(file: KerasFile, digest: str, options: FreezeOptions) -> KerasGraph:
    """Load a model and return it as a frozen graph for its own range of pixels.

    Args:
        file: that was read; `load_model` checks it.
        digest: its SHA-256.
        options: what is not in the file.

    Raises:
        GraphError: it cannot be loaded or run, takes no images, or its size is unknown.
        UsageError: it has no such layer.
    """
    what, given = file.what, model_input(file.config)
    shape = given.shape or (None, None, None, 3)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, None)):
        raise GraphError(f"{what} takes {list(shape)}, no images; give another model")
    height = options.height or shape[1]
    width = options.width or shape[2]
    if height is None or width is None:
        raise GraphError(f"{what} has no fixed input size; give --input_height and --input_width")
    shape = (None if shape[0] != 1 else 1, height, width, *(each or 3 for each in shape[3:]))
    traced = TracedInput(
        _NO_NAME.sub("_", given.name).lstrip("_-/\\") or "input",
        shape,
        "uint8" if given.dtype.startswith(("int", "uint")) else "float32",
    )
    model = load_model(file.path, digest, trust=options.trust)
    inputs = getattr(model, "inputs", None) or [None]
    if len(inputs) != 1:
        raise GraphError(f"{what} has {len(inputs)} inputs, and so it is no image classifier")
    try:
        with quietly():
            ensure_built(model, shape)
            frozen = frozen_call(_caller(model, what, options), traced, _OUTPUT)
    except TlcliError:
        raise
    except Exception as error:
        # A model from elsewhere can make Keras and TensorFlow raise anything.
        raise GraphError(
            f"{what} does not run on images of {height} x {width}: {first_line(error)}"
        ) from error
    graph = GraphDef.FromString(frozen.graph)
    if not options.trust:
        check_operations(graph, what)
    return KerasGraph(without_identity_n(graph), traced.name, frozen.output)


def _caller(model: Any, what: str, options: FreezeOptions) -> Any:
    """Return what computes the scores of a tensor of images."""
    calls = None if options.layer is None else Calls(model)
    path = None if calls is None else calls.path_of(str(options.layer), what)

    def call(images: Any) -> Any:
        import tensorflow as tf

        output = model(images, training=False)
        if calls is not None and path is not None:
            output = calls.result_of(path, what)
        else:
            output = _scores(output, what, options.labels)
        return tf.cast(output, tf.float32)

    return call


def _scores(output: Any, what: str, labels: int | None) -> Any:
    """Return the tensor of the scores among the outputs of a model."""
    tensors: Sequence[Any] = tensors_of(output)
    softmaxes = [tensor for tensor in tensors if tensor.op.type == "Softmax"]
    fitting = [tensor for tensor in softmaxes or tensors if tensor.shape[-1] == labels]
    for candidates in (softmaxes, fitting):
        if len(tensors) > 1 and len(candidates) == 1:
            return candidates[0]
    return one_tensor(output, what, "--output_layer")
