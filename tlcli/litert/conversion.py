"""A graph on its way to LiteRT: its tensors, its constants, and what may be fused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.errors import GraphError
from tlcli.graph.constant_ops import attribute_value
from tlcli.graph.nodes import DataType, Shape, tensor_to_array
from tlcli.graph.shapes import infer_shapes
from tlcli.graph.surgery import ADDING, data_inputs, spell_tensor
from tlcli.litert.flatbuffer import LiteRTModel, OperatorOptions

Tensor = tuple[str, int]

_ACTIVATIONS = {"Relu": 1, "Relu6": 3}


class UnsupportedGraphError(GraphError):
    """The graph has something that `tlcli.litert.writer` does not know."""


def unsupported(node: Any, reason: str) -> UnsupportedGraphError:
    """Return the error for a node."""
    return UnsupportedGraphError(
        f"the operation {node.op} ({node.name!r}) cannot be written: {reason}"
    )


class Conversion:
    """What the converters of single operations need.

    Args:
        graph: may hold more than is needed.
        nodes: those that ``output`` needs, in running order.
        input: name of the placeholder.
        output: the tensor that the file is to give.

    Attributes:
        model: what was written so far.
        fused: names of nodes whose work an operator before them does.
        padded_as_same: names of convolutions that are to pad as SAME does.
    """

    def __init__(self, graph: Any, nodes: Sequence[Any], input: str, output: Tensor) -> None:
        self.model = LiteRTModel()
        self._nodes = {node.name: node for node in nodes}
        self._shapes = infer_shapes(graph, input, outputs=[output[0]])
        self._readers: dict[Tensor, list[Any]] = {}
        for node in nodes:
            for source in data_inputs(node):
                self._readers.setdefault(source, []).append(node)
        self._input, self._output = (input, 0), output
        self._arrays: dict[Tensor, Array] = {}
        self._indices: dict[Tensor, int] = {}
        self._constants: dict[str, int] = {}
        self.fused: set[str] = set()
        self.padded_as_same: set[str] = set()

    def shape(self, tensor: Tensor) -> Shape:
        """Return the tensor's shape.

        Raises:
            UnsupportedGraphError: it cannot be inferred.
        """
        found = self._shapes.get(spell_tensor(*tensor))
        if found is None:
            raise unsupported(self._nodes[tensor[0]], "its shape cannot be inferred")
        return found

    def constant(self, tensor: Tensor) -> Array | None:
        """Return the tensor's values; None when it is computed."""
        node = self._nodes[tensor[0]]
        if node.op != "Const":
            return None
        if tensor not in self._arrays:
            self._arrays[tensor] = tensor_to_array(node.attr["value"].tensor)
        return self._arrays[tensor]

    def wanted_constant(self, node: Any, number: int) -> Array:
        """Return the values of an input of ``node`` that must be constant."""
        sources = data_inputs(node)
        values = self.constant(sources[number]) if number < len(sources) else None
        if values is None:
            raise unsupported(node, f"its input {number} is not constant")
        return values

    def wanted_floats(self, node: Any, number: int) -> Array:
        """Return the same where it must be of float32."""
        values = self.wanted_constant(node, number)
        if values.dtype != np.float32:
            raise unsupported(node, f"its input {number} is of the type {values.dtype}")
        return values

    def index(self, tensor: Tensor) -> int:
        """Return the number of a tensor in the file; constants are written when asked for."""
        if tensor not in self._indices:
            values = self.constant(tensor)
            if values is None:
                raise unsupported(self._nodes[tensor[0]], "it gives no float32 tensor")
            if values.dtype != np.float32:
                raise unsupported(self._nodes[tensor[0]], f"it is of the type {values.dtype}")
            self._indices[tensor] = self.add_constant(tensor[0], values)
        return self._indices[tensor]

    def first_index(self, node: Any) -> int:
        """Return the number of the first tensor that ``node`` reads."""
        return self.index(data_inputs(node)[0])

    def add_input(self, node: Any) -> None:
        """Write the placeholder."""
        if attribute_value(node, "dtype", DataType.FLOAT) != DataType.FLOAT:
            raise unsupported(node, "it takes no float32")
        self._add_computed((node.name, 0))

    def _add_computed(self, tensor: Tensor) -> int:
        number = self.model.add_tensor(spell_tensor(*tensor), self.shape(tensor))
        self._indices[tensor] = number
        return number

    def add_constant(self, name: str, values: Array) -> int:
        """Write a constant under a name that no other has."""
        number = self._constants.get(name, 0)
        self._constants[name] = number + 1
        return self.model.add_constant(f"{name}_{number}" if number else name, values)

    def add_integers(self, name: str, values: Any) -> int:
        """Write a constant of int32."""
        return self.add_constant(name, np.array(values, np.int32))

    def emit(
        self,
        code: int,
        inputs: Sequence[int],
        result: Tensor,
        options: OperatorOptions | None = None,
        version: int = 1,
    ) -> None:
        """Write an operator that gives the tensor ``result``."""
        output = self._add_computed(result)
        self.model.add_operator(code, inputs, [output], options, version)

    def pass_on(self, source: Tensor, result: Tensor) -> None:
        """Let ``result`` be the tensor ``source``."""
        self._indices[result] = self.index(source)

    def only_reader(self, tensor: Tensor) -> Any | None:
        """Return the node that alone reads a tensor; None: several do, or the user."""
        readers = self._readers.get(tensor, [])
        return readers[0] if len(readers) == 1 and tensor != self._output else None

    def multiple(self, tensor: Tensor) -> tuple[Tensor, float] | None:
        """Return what a tensor is a multiple of, and the factor; None: it is computed otherwise."""
        node, sources = self._nodes[tensor[0]], data_inputs(self._nodes[tensor[0]])
        if node.op == "Neg":
            found = self.multiple(sources[0]) or (sources[0], 1.0)
            return found[0], -found[1]
        if node.op != "Mul":
            return None
        for factor, source in (sources, sources[::-1]):
            values = self.constant(factor)
            if values is not None and values.size == 1:
                found = self.multiple(source) or (source, 1.0)
                return found[0], found[1] * float(values.reshape(()))
        return None

    def absorb_bias(self, tensor: Tensor, channels: int) -> tuple[Tensor, Array]:
        """Return the tensor after an addition of one constant per channel, and the constants.

        The addition becomes part of the operator that gives ``tensor``. Without one the
        tensor itself is returned, and zeros.
        """
        bias: Array = np.zeros(channels, np.float32)
        reader = self.only_reader(tensor)
        if reader is None or reader.op not in ADDING:
            return tensor, bias
        if reader.op == "BiasAdd" and attribute_value(reader, "data_format", "NHWC") != "NHWC":
            return tensor, bias
        sources = data_inputs(reader)
        other = sources[1] if sources[0] == tensor else sources[0]
        values = self.constant(other)
        if (
            values is None
            or values.dtype != np.float32
            or values.size not in (1, channels)
            or values.size != math.prod(values.shape[-1:])
            or values.ndim > len(self.shape(tensor))
        ):
            return tensor, bias
        self.fused.add(reader.name)
        return (reader.name, 0), bias + values.reshape(-1)

    def absorb_activation(self, tensor: Tensor) -> tuple[Tensor, int]:
        """Return the tensor after a Relu or Relu6 that can be fused, and its number."""
        reader = self.only_reader(tensor)
        if reader is None or reader.op not in _ACTIVATIONS:
            return tensor, 0
        self.fused.add(reader.name)
        return (reader.name, 0), _ACTIVATIONS[reader.op]

    def padding(self, node: Any) -> str:
        """Return "SAME", "VALID" or "EXPLICIT" for a node with a sliding window."""
        if node.name in self.padded_as_same:
            return "SAME"
        found = attribute_value(node, "padding", "")
        return str(found.decode() if isinstance(found, bytes) else found)

    def serialise(self) -> bytes:
        """Return the file; its output has the name that it has in the graph."""
        first, last = self._indices[self._input], self.index(self._output)
        if first == last:
            raise UnsupportedGraphError(f"the output {self._output[0]!r} is the input itself")
        self.model.rename(last, spell_tensor(*self._output))
        return self.model.serialise([first], [last])
