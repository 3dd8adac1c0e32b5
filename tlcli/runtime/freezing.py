"""From something callable in TensorFlow to a frozen graph: its variables become constants."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.tensorflow import import_tensorflow


@dataclass(frozen=True)
class TracedInput:
    """The one input of what is traced.

    Attributes:
        name: of its placeholder.
        shape: None where a size is free.
        dtype: such as "float32".
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class FrozenCall:
    """A graph without variables.

    Attributes:
        graph: a serialised ``GraphDef``; functions that it calls are in its library.
        output: name of the node of the result.
        shape: of the result, None where a size is free; () where it is unknown.
    """

    graph: bytes
    output: str
    shape: tuple[int | None, ...]


def frozen_call(call: Callable[[Any], Any], given: TracedInput, output: str) -> FrozenCall:
    """Trace ``call`` and return it as a frozen graph.

    Args:
        call: takes a tensor and returns one.
        given: the tensor that it takes.
        output: name of the node of its result.

    Raises:
        Exception: whatever ``call`` and TensorFlow raise; a model from elsewhere can make them
            raise anything.
    """
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    def named(tensor: Any) -> Any:
        return tf.identity(call(tensor), name=output)

    specification = tf.TensorSpec(given.shape, given.dtype, name=given.name)
    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = tf.function(named, input_signature=[specification], autograph=False)
        frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    tensor = frozen.outputs[0]
    shape = () if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return FrozenCall(frozen.graph.as_graph_def().SerializeToString(), tensor.op.name, shape)
