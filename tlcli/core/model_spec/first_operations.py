"""What the first operations of a network show of the range of its input.

A network that was trained on pixels of 0..255 begins by bringing them near zero: by a factor near
1/255 or 1/127.5, by subtracting means, or by normalising with statistics of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlcli.graph.nodes import tensor_to_array
from tlcli.graph.surgery import constant_behind, consumers, data_inputs, nodes_by_name
from tlcli.litert.description import Step

_ARITHMETIC = {
    **{"Mul": "times", "RealDiv": "by", "Div": "by", "Add": "plus", "AddV2": "plus"},
    **{"Sub": "minus", "BiasAdd": "plus"},
}
_NORMALISING = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_PASSING = frozenset(
    """
    Identity StopGradient Cast Reshape ExpandDims Squeeze Transpose Pad PadV2 MirrorPad Reverse
    ReverseV2 ResizeBilinear ResizeNearestNeighbor ResizeBicubic StridedSlice EnsureShape
    CheckNumerics PreventGradient PartitionedCall StatefulPartitionedCall
    """.split()  # noqa: SIM905
)
_NO_VALUES = frozenset({"Shape", "Size", "Rank", "NoOp"})
_MOST_STEPS = 64
_SCORES = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Sigmoid": "sigmoid"}
# What comes out of any other operation, such as the mean of two softmaxes, only values show.
_LINEAR = frozenset(
    """
    MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd BiasAddV1 Add AddV2 Conv2D
    DepthwiseConv2dNative FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
    """.split()  # noqa: SIM905
)
_AFTER_SCORES = frozenset(
    """
    Identity IdentityN StopGradient Cast Reshape Squeeze ExpandDims EnsureShape Dequantize Slice
    StridedSlice Transpose
    PartitionedCall StatefulPartitionedCall
    """.split()  # noqa: SIM905
)


class GraphSteps:
    """The first and the last operations of a ``GraphDef``, also inside the functions that it calls.

    Args:
        graph: a ``GraphDef``.
    """

    def __init__(self, graph: Any) -> None:
        self._functions = {each.signature.name: each for each in graph.library.function}
        self._nodes = nodes_by_name(graph)
        self._readers = consumers(graph)

    def steps(self, name: str) -> list[Step]:
        """Return the arithmetic with constants that comes before all else, from a node on."""
        return self._walk(name, self._nodes, self._readers, {}, 0)

    def activation(self, name: str) -> str | None:
        """Return what gives a tensor: "softmax", "log_softmax", "sigmoid" or "logits".

        None where the graph does not show it.
        """
        node, nodes = self._nodes.get(name.split(":")[0]), self._nodes
        for _ in range(_MOST_STEPS):
            if node is None:
                return None
            function = self._called(node)
            if function is not None:
                name, nodes = _returned(function, name), _nodes_of(function)
                node = nodes.get(name.split(":")[0])
                continue
            if node.op not in _AFTER_SCORES or node.op.endswith("Call"):
                return "logits" if node.op in _LINEAR else _SCORES.get(node.op)
            sources = [source for source in node.input if not source.startswith("^")]
            if not sources:
                return None
            name = sources[0]
            node = nodes.get(name.split(":")[0])
        return None

    def _called(self, node: Any) -> Any | None:
        name = node.attr["f"].func.name if node.op.endswith("PartitionedCall") else node.op
        return self._functions.get(name)

    def _walk(
        self,
        name: str,
        nodes: Mapping[str, Any],
        readers: Mapping[str, Any],
        known: Mapping[str, Any],
        depth: int,
    ) -> list[Step]:
        """Return the steps from a node on; ``known`` has constants that a function was given."""
        found: list[Step] = []
        for _ in range(_MOST_STEPS):
            following = [
                (node, position)
                for node, position, _ in readers.get(name, ())
                if node.op not in _NO_VALUES
            ]
            if len(following) != 1:
                return found
            node, position = following[0]
            function = self._called(node)
            if function is not None:
                return found + self._inside(function, node, position, nodes, depth)
            step = _step(node, position, nodes, known)
            if step is None and node.op not in _PASSING:
                return found
            if step is not None:
                found.extend(step)
            name = node.name
        return found

    def _inside(
        self, function: Any, call: Any, position: int, nodes: Mapping[str, Any], depth: int
    ) -> list[Step]:
        arguments = [argument.name for argument in function.signature.input_arg]
        if depth > 8 or position >= len(arguments):
            return []
        known = {
            name: constant
            for name, (source, _) in zip(arguments, data_inputs(call), strict=False)
            if (constant := constant_behind(nodes, source)) is not None
        }
        inner = _nodes_of(function)
        return self._walk(arguments[position], inner, _consumers_of(function), known, depth + 1)


def _nodes_of(function: Any) -> dict[str, Any]:
    """Return the nodes of a function's body by name."""
    return {node.name: node for node in function.node_def}


def _consumers_of(function: Any) -> dict[str, list[tuple[Any, int, int]]]:
    readers: dict[str, list[tuple[Any, int, int]]] = {}
    for node in function.node_def:
        for position, source in enumerate(node.input):
            if not source.startswith("^"):
                readers.setdefault(source.split(":")[0], []).append((node, position, 0))
    return readers


def _returned(function: Any, name: str) -> str:
    """Return the tensor inside a function that a call returns as the tensor ``name``, "CALL:1"."""
    outputs = [argument.name for argument in function.signature.output_arg]
    number = name.rpartition(":")[2]
    index = int(number) if number.isdigit() else 0
    return str(function.ret.get(outputs[index], "")) if index < len(outputs) else ""


def _step(
    node: Any, position: int, nodes: Mapping[str, Any], known: Mapping[str, Any]
) -> list[Step] | None:
    """Return what a node does to its input by constants; None where it is something else."""
    values = [_value(source, nodes, known) for source, _ in data_inputs(node)]
    if node.op in _NORMALISING and position == 0 and len(values) >= 5:
        scale, offset, mean, variance = values[1:5]
        if scale is None or offset is None or mean is None or variance is None:
            return None
        deviation = np.sqrt(np.maximum(variance, 0) + node.attr["epsilon"].f)
        return [("minus", mean), ("times", scale / deviation), ("plus", offset)]
    if node.op not in _ARITHMETIC or len(values) != 2:
        return None
    constant = values[1 - position]
    # 255 / pixels or 255 - pixels is no preprocessing that is known.
    if constant is None or (position == 1 and node.op in ("Sub", "RealDiv", "Div")):
        return None
    return [(_ARITHMETIC[node.op], constant)]


def _value(
    source: str, nodes: Mapping[str, Any], known: Mapping[str, Any]
) -> np.ndarray[Any, Any] | None:
    name = source.split(":")[0]
    found = known.get(name) or constant_behind(nodes, name)
    if found is None:
        node = nodes.get(name)
        # Keras's Normalization divides by the larger of a constant and a small number.
        if node is None or node.op not in ("Maximum", "Sqrt", "Reshape", "Cast"):
            return None
        inner = [_value(each, nodes, known) for each in node.input if not each.startswith("^")]
        first = inner[0] if inner else None
        return np.sqrt(first) if first is not None and node.op == "Sqrt" else first
    values: np.ndarray[Any, Any] = np.asarray(tensor_to_array(found.attr["value"].tensor))
    return values.astype(np.float64) if values.dtype.kind in "fiu" else None
