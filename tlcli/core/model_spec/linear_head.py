"""The end of a classifier: a feature map, its average over positions, and linear layers.

All that follows the average is one matrix, however many layers it takes (the original tools put
their final layer behind the ImageNet logits, which are linear too), and a bias for each label,
which is the same everywhere in an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.errors import GraphError
from tlcli.graph.nodes import tensor_to_array
from tlcli.graph.surgery import (
    ADDING,
    LINEAR_PASSING,
    constant_behind,
    data_inputs,
    nodes_by_name,
    split_tensor,
)


class NoActivationMapError(GraphError):
    """The scores are no linear function of averaged features; ``str()`` names the reason."""


@dataclass(frozen=True)
class LinearEnd:
    """What turns a feature map into logits: mean over positions, times weights, plus a bias.

    Attributes:
        features: name of the node whose output 0 is the feature map, float32 [?, h, w, D].
        window: (h, w) that the average covers, which must be the whole map; None: it does.
        weights: float32 [D, L]; None where only an average was found.
    """

    features: str
    window: tuple[int, int] | None
    weights: Array | None


def find_linear_end(graph: Any, output: str) -> LinearEnd:
    """Walk from the scores (or from a bottleneck) back to the average over positions.

    Args:
        graph: a frozen ``GraphDef``, channels last.
        output: its scores, with or without softmax, or its bottleneck.

    Raises:
        NoActivationMapError: there is something else on the way.
    """
    nodes = nodes_by_name(graph)
    weights: Array | None = None
    is_last = True
    tensor = split_tensor(output)
    for _ in range(len(nodes) + 1):
        node = nodes.get(tensor[0])
        if node is None or tensor[1] != 0 or node.op == "Placeholder":
            raise NoActivationMapError("its scores come from no average over positions")
        sources = data_inputs(node)
        if node.op == "Mean" and _averages_positions(node, nodes):
            return LinearEnd(_name(sources[0], node), None, weights)
        if node.op == "AvgPool" and _is_spatial_pool(node):
            size = node.attr["ksize"].list.i
            window = (int(size[1]), int(size[2]))
            return LinearEnd(_name(sources[0], node), window, weights)
        step = _linear_step(node, sources, nodes)
        if step is not None:
            is_last = False
            tensor, matrix = step
            if matrix is not None:
                weights = matrix if weights is None else matrix @ weights
        elif sources and (node.op in LINEAR_PASSING or (node.op == "Softmax" and is_last)):
            tensor = sources[0]
        else:
            raise NoActivationMapError(
                f"its operation {node.op} ({node.name!r}) is not linear in averaged features"
            )
    raise NoActivationMapError("its scores come from no average over positions")


def _linear_step(
    node: Any, sources: list[tuple[str, int]], nodes: dict[str, Any]
) -> tuple[tuple[str, int], Array | None] | None:
    """Return what a linear node reads and multiplies by, if it does; None: it is none."""
    if len(sources) != 2:
        return None
    second = _constant(sources[1], nodes)
    if node.op in ADDING:
        first = _constant(sources[0], nodes)
        added = first if second is None else second
        if added is None or (added.ndim and added.size != added.shape[-1]):
            return None
        return sources[1 if second is None else 0], None
    if second is None:
        return None
    if node.op == "MatMul" and second.ndim == 2:
        if _flag(node, "transpose_a"):
            return None
        return sources[0], second.T if _flag(node, "transpose_b") else second
    if node.op == "Conv2D" and second.shape[:2] == (1, 1):
        if node.attr["data_format"].s not in (b"", b"NHWC"):
            return None
        return sources[0], second[0, 0]
    return None


def _flag(node: Any, name: str) -> bool:
    return name in node.attr and bool(node.attr[name].b)


def _constant(tensor: tuple[str, int], nodes: dict[str, Any]) -> Array | None:
    """Return a float32 constant, also behind identities; None: it is computed or no float32."""
    node = constant_behind(nodes, tensor[0])
    if node is None:
        return None
    values = tensor_to_array(node.attr["value"].tensor)
    return values if values.dtype == np.float32 else None


def _name(tensor: tuple[str, int], node: Any) -> str:
    if tensor[1] != 0:
        raise NoActivationMapError(f"what {node.name!r} averages is no first output")
    return tensor[0]


def _averages_positions(node: Any, nodes: dict[str, Any]) -> bool:
    """Return whether a Mean takes away height and width, and only these."""
    sources = data_inputs(node)
    if len(sources) < 2:
        return False
    axes = constant_behind(nodes, sources[1][0])
    if axes is None:
        return False
    found = np.atleast_1d(tensor_to_array(axes.attr["value"].tensor))
    return {int(axis) % 4 for axis in found} == {1, 2}


def _is_spatial_pool(node: Any) -> bool:
    if node.attr["data_format"].s not in (b"", b"NHWC") or not data_inputs(node):
        return False
    size = list(node.attr["ksize"].list.i)
    # SAME would average fewer positions at the edges than in the middle.
    if node.attr["padding"].s not in (b"", b"VALID"):
        return False
    return len(size) == 4 and size[0] == 1 and size[3] == 1
