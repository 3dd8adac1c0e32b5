"""The score of unknown images as nodes of a frozen graph, beside the probabilities.

Programs that read the probabilities alone never run these nodes. All operations are plain ones that
every reader of frozen graphs has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tlcli.core.export.frozen_graph import PRODUCT, serialise
from tlcli.core.unknown.model import ALL_OUTPUTS, SHORTEST, UNKNOWN_SCORE, UnknownModel
from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import const, node

ON_AXES = "unknown_score/on_axes"
"""Name of the node of y, see `tlcli.core.unknown.model`, float32 [?, P]."""


def unknown_nodes(bottleneck: str, size: int, model: UnknownModel) -> list[Any]:
    """Return the nodes of a model.

    Args:
        bottleneck: tensor of the vectors, float32 [?, D].
        size: D.
        model: for vectors of at least its own size.
    """
    nodes: list[Any] = []

    def constant(name: str, values: Any) -> str:
        nodes.append(const(f"unknown_score/{name}", values))
        return f"unknown_score/{name}"

    def add(name: str, op: str, *inputs: str, **attributes: Any) -> str:
        full = name if name == UNKNOWN_SCORE else f"unknown_score/{name}"
        nodes.append(node(full, op, inputs, T=np.float32, **attributes))
        return full

    def product(name: str, left: str, right: Any) -> str:
        weights = constant(f"{name}/weights", np.asarray(right, np.float32))
        return add(name, "MatMul", left, weights, transpose_a=False, transpose_b=False)

    def summed(name: str, given: str, size: int) -> str:
        # A product, as OpenCV sums over channels that a vector has none of.
        return product(name, given, np.ones((size, 1), np.float32))

    values = bottleneck
    if size > model.size:
        ends = [
            constant(f"head/{name}", np.array(value, np.int32))
            for name, value in (("begin", [0, 0]), ("end", [0, model.size]), ("step", [1, 1]))
        ]
        masks = {"begin_mask": 1, "end_mask": 1, "ellipsis_mask": 0}
        masks |= {"new_axis_mask": 0, "shrink_axis_mask": 0}
        values = add("head", "StridedSlice", values, *ends, Index=np.int32, **masks)
    square = summed("squared_length", add("squares", "Square", values), model.size)
    positive = add("positive", "Add", square, constant("shortest", np.float32(SHORTEST)))
    # No Rsqrt, which OpenCV lacks, and one length for each value, as OpenCV 4 does not repeat it.
    length = add("length", "Sqrt", positive)
    lengths = product("lengths", length, np.ones((1, model.size), np.float32))
    unit = add("unit", "RealDiv", values, lengths)
    centred = add("centred", "Sub", unit, constant("centre", model.centre))
    on_axes = product("on_axes", centred, model.axes)
    whole = summed("whole", add("squared", "Square", centred), model.size)
    axes = summed("axes", add("squared_on_axes", "Square", on_axes), model.axes.shape[1])
    beside = add("beside", "Sub", whole, axes)
    scaled = add("scaled", "Mul", beside, constant("scale", np.float32(model.scale)))
    offset = constant("offset", np.float32(-model.middle * model.scale))
    add(UNKNOWN_SCORE, "Add", scaled, offset)
    return nodes


def append_unknown(graph: bytes, model: UnknownModel) -> bytes | None:
    """Return a serialised classifier with the score of unknown images as a second output.

    The new nodes come behind the product of the final layer and before the probabilities: programs
    that take the last node for the result still find the probabilities there, and so does OpenCV,
    which takes the branch that the graph lists first. What is there stays byte for byte, as
    serialised graphs concatenate. None where the backbone has nodes of the same names.
    """
    parsed = GraphDef.FromString(graph)
    names = [item.name for item in parsed.node]
    if any(name.partition("/")[0] == UNKNOWN_SCORE for name in names):
        return None
    product = names.index(PRODUCT)
    bottleneck, weights = parsed.node[product].input
    size = int(parsed.node[names.index(weights)].attr["value"].tensor.tensor_shape.dim[0].size)
    added = serialise(GraphDef(node=unknown_nodes(bottleneck, size, model)))
    place = graph.rfind(serialise(GraphDef(node=parsed.node[product + 1 :])))
    return graph[:place] + added + graph[place:] if place >= 0 else graph + added


def with_all_outputs(graph: Any, scores: str) -> Any | None:
    """Return a graph that gives scores, unknown score and y in one tensor.

    Args:
        graph: a ``GraphDef``.
        scores: the tensor of the L scores.

    Returns:
        A graph with the output `ALL_OUTPUTS`, float32 [?, L + 1 + P]; None where the given graph
        has no unknown score.
    """
    names = {item.name for item in graph.node}
    if not {UNKNOWN_SCORE, ON_AXES} <= names:
        return None
    result = type(graph)()
    result.CopyFrom(graph)
    axis = f"{ALL_OUTPUTS}/axis"
    inputs = [scores, UNKNOWN_SCORE, ON_AXES, axis]
    joined = node(ALL_OUTPUTS, "ConcatV2", inputs, N=3, T=np.float32, Tidx=np.int32)
    result.node.extend([const(axis, np.int32(1)), joined])
    return result
