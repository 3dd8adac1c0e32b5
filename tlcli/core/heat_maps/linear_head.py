"""The end of a classifier: feature maps, their averages over positions, and linear layers.

All that follows an average is one matrix, however many layers it takes (the original tools put
their final layer behind the ImageNet logits, which are linear too), and a bias for each label,
which is the same everywhere in an image. Where averages of several maps are joined, each has
its own rows of the matrix that follows the joint.
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
    spell_tensor,
    split_tensor,
)

_Tensor = tuple[str, int]
_Nodes = dict[str, Any]

# They keep the order of scores, and a label's score rises with its logit.
_SCORES = ("Softmax", "Sigmoid")
# Joints that read joints may be many more than the graph has nodes.
_MOST_PARTS = 256


class NoActivationMapError(GraphError):
    """The scores are no linear function of averaged features; ``str()`` names the reason."""


@dataclass(frozen=True)
class AveragedMap:
    """A feature map whose average is one of the joined parts, or all there is.

    Attributes:
        values: the tensor that is joined.
        features: name of the node whose output 0 is the feature map, float32 [?, h, w, C]; None:
            ``values`` is no linear function of an averaged map.
        window: (h, w) that the average covers, which must be the whole map; None: it does.
        weights: float32 [C, size of ``values``], of the layers between the average and the
            joint; None where there are none.
        reason: why ``features`` is None.
    """

    values: str
    features: str | None
    window: tuple[int, int] | None = None
    weights: Array | None = None
    reason: str = ""


@dataclass(frozen=True)
class LinearEnd:
    """What turns feature maps into logits: means over positions, times weights, plus a bias.

    Attributes:
        maps: in the order in which their averages are joined; one at least has features.
        weights: float32 [D, L], of what follows the joint, or the average where nothing is
            joined; D is the sum of the sizes. None where only averages were found.
    """

    maps: tuple[AveragedMap, ...]
    weights: Array | None


def find_linear_end(graph: Any, output: str) -> LinearEnd:
    """Walk from the scores (or from a bottleneck) back to the averages over positions.

    Args:
        graph: a frozen ``GraphDef``, channels last.
        output: its scores, with or without softmax, or its bottleneck.

    Raises:
        NoActivationMapError: there is something else on the way.
    """
    nodes = nodes_by_name(graph)
    start = split_tensor(output)
    node, weights = _walk(nodes, start, is_last=True)
    if node.op != "ConcatV2":
        return LinearEnd((_averaged(node, start, None),), weights)
    maps = _joined(nodes, node)
    if all(found.features is None for found in maps):
        raise NoActivationMapError(maps[0].reason)
    return LinearEnd(maps, weights)


def _joined(nodes: _Nodes, joint: Any) -> tuple[AveragedMap, ...]:
    """Return the parts of a joint, those of joints that it reads among them, in their order."""
    found: list[AveragedMap] = []
    waiting = data_inputs(joint)[-2::-1]
    for _ in range(2 * _MOST_PARTS):
        if not waiting:
            return tuple(found)
        tensor = waiting.pop()
        try:
            node, weights = _walk(nodes, tensor, is_last=False)
            if node.op != "ConcatV2":
                found.append(_averaged(node, tensor, weights))
            elif weights is None:
                waiting += data_inputs(node)[-2::-1]
            else:
                raise NoActivationMapError(
                    f"the values that its operation {node.name!r} joins are weighted before they "
                    "are joined again"
                )
        except NoActivationMapError as error:
            found.append(AveragedMap(spell_tensor(*tensor), None, reason=str(error)))
        if len(found) > _MOST_PARTS:
            break
    raise NoActivationMapError(f"it joins more than {_MOST_PARTS} parts")


def _averaged(node: Any, tensor: _Tensor, weights: Array | None) -> AveragedMap:
    name, number = data_inputs(node)[0]
    if number != 0:
        raise NoActivationMapError(f"what {node.name!r} averages is no first output")
    size = list(node.attr["ksize"].list.i)
    window = (int(size[1]), int(size[2])) if node.op == "AvgPool" else None
    return AveragedMap(spell_tensor(*tensor), name, window, weights)


def _walk(nodes: _Nodes, tensor: _Tensor, *, is_last: bool) -> tuple[Any, Array | None]:
    """Return the average or joint that is behind linear nodes, and the product of their weights.

    Args:
        nodes: by name.
        tensor: where to begin.
        is_last: nothing reads it, so that a softmax may be there.

    Raises:
        NoActivationMapError: there is something else on the way.
    """
    weights: Array | None = None
    for _ in range(len(nodes) + 1):
        node = nodes.get(tensor[0])
        if node is None or tensor[1] != 0 or node.op == "Placeholder":
            break
        if _averages_positions(node, nodes) or _joins_values(node, nodes):
            return node, weights
        sources = data_inputs(node)
        step = _linear_step(node, sources, nodes)
        if step is not None:
            is_last = False
            tensor, matrix = step
            if matrix is not None:
                weights = matrix if weights is None else matrix @ weights
        elif sources and (node.op in LINEAR_PASSING or (node.op in _SCORES and is_last)):
            tensor = sources[0]
        else:
            raise NoActivationMapError(
                f"its operation {node.op} ({node.name!r}) is not linear in averaged features"
            )
    raise NoActivationMapError("its scores come from no average over positions")


def _linear_step(
    node: Any, sources: list[_Tensor], nodes: _Nodes
) -> tuple[_Tensor, Array | None] | None:
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


def _constant(tensor: _Tensor, nodes: _Nodes) -> Array | None:
    """Return a float32 constant, also behind identities; None: it is computed or no float32."""
    values = _values(tensor, nodes)
    return values if values is not None and values.dtype == np.float32 else None


def _values(tensor: _Tensor, nodes: _Nodes) -> Array | None:
    node = constant_behind(nodes, tensor[0])
    return None if node is None else tensor_to_array(node.attr["value"].tensor)


def _averages_positions(node: Any, nodes: _Nodes) -> bool:
    """Return whether a node takes the average over height and width, and only over these."""
    sources = data_inputs(node)
    if node.op == "Mean" and len(sources) > 1:
        axes = _values(sources[1], nodes)
        return axes is not None and {int(axis) % 4 for axis in axes.ravel()} == {1, 2}
    if node.op != "AvgPool" or not sources or node.attr["data_format"].s not in (b"", b"NHWC"):
        return False
    size = list(node.attr["ksize"].list.i)
    # SAME would average fewer positions at the edges than in the middle.
    if node.attr["padding"].s not in (b"", b"VALID"):
        return False
    return len(size) == 4 and size[0] == 1 and size[3] == 1


def _joins_values(node: Any, nodes: _Nodes) -> bool:
    """Return whether a node puts the values of each image one after another.

    Along height or width too: of averages these have one position each, so that the values of
    one part follow those of another there as well.
    """
    sources = data_inputs(node)
    if node.op != "ConcatV2" or len(sources) < 2:
        return False
    axis = _values(sources[-1], nodes)
    return axis is not None and axis.size == 1 and int(axis.reshape(())) in (-1, 1, 2, 3)
