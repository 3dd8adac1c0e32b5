"""From a model in TensorFlow to a frozen graph: its variables become constants."""

from __future__ import annotations

import contextlib
import copy
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.saved_model import load_into
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


class TensorFlowError(Exception):
    """TensorFlow cannot load a model; the cause is its own error."""


def saved_model_call(
    folder: Path, tags: Sequence[str], input: str, output: str
) -> Callable[[Any], Any]:
    """Return what computes a tensor of a SavedModel from another, its variables as constants.

    Args:
        folder: of the SavedModel, which was checked.
        tags: of the graph in it.
        input: name of the tensor that is given.
        output: name of the tensor that is computed.

    Raises:
        TensorFlowError: it cannot be loaded.
    """
    tf = import_tensorflow()
    frozen = _frozen_saved_model(tf, folder, tags, output)
    name = input if ":" in input else f"{input}:0"

    def call(tensor: Any) -> Any:
        found = tf.import_graph_def(
            frozen, input_map={name: tensor}, return_elements=[output], name="module"
        )
        return found[0]

    return call


def _frozen_saved_model(tf: Any, folder: Path, tags: Sequence[str], output: str) -> Any:
    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Not as a context, which would make its graph the default one.
        with contextlib.closing(tf.compat.v1.Session(graph=tf.Graph())) as session:
            try:
                loaded = load_into(session, tags, folder)
                graph = loaded.graph_def
                for node in graph.node:
                    node.device = ""  # one of the machine that saved it
                prune_functions(graph)
                return tf.compat.v1.graph_util.convert_variables_to_constants(
                    session, graph, [re.sub(r":\d+$", "", output)]
                )
            except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
                raise TensorFlowError(str(error)) from error


def prune_functions(graph: Any) -> None:
    """Take out of the functions of ``graph``, in place, what their results do not need by data.

    A function also runs what only has an effect. In a model for inference that is, for one, the
    counter of an augmentation layer's random numbers, which no result reads.

    Args:
        graph: a ``GraphDef`` of TensorFlow itself.
    """
    for function in graph.library.function:
        needed = _needed_in_function(function)
        kept = [node for node in function.node_def if node.name in needed]
        for node in kept:
            inputs = [
                tensor
                for tensor in node.input
                if not tensor.startswith("^") or tensor[1:].split(":")[0] in needed
            ]
            del node.input[:]
            node.input.extend(inputs)
        copies = [copy.deepcopy(node) for node in kept]
        del function.node_def[:]
        function.node_def.extend(copies)
        gone = [name for name, node in function.control_ret.items() if node not in needed]
        for name in gone:
            del function.control_ret[name]
            function.signature.control_output.remove(name)


def _needed_in_function(function: Any) -> set[str]:
    """Return the names of the nodes and arguments that the results of a function need by data."""
    nodes = {node.name: node for node in function.node_def}
    waiting = [tensor.split(":")[0] for tensor in function.ret.values()]
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            sources = nodes[name].input if name in nodes else ()
            waiting += [source.split(":")[0] for source in sources if not source.startswith("^")]
    return needed
