"""Which constants of a frozen network are trained, and where the untrained part ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tlcli.backbone import INPUT, BackboneGraph
from tlcli.errors import BackboneError
from tlcli.graph.nodes import DataType, Shape
from tlcli.graph.shapes import infer_shapes
from tlcli.graph.surgery import (
    constant_behind,
    data_inputs,
    needed_nodes,
    nodes_by_name,
    spell_tensor,
)

PARTS = {"head_blocks": 0.68, "all": 0.31}
"""Parts by name: the share of the weighted layers, from the input on, that stays as it is."""

_WEIGHTED = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul"})
_ADDING = frozenset({"BiasAdd", "Add", "AddV2"})
# How far from the wanted share the border may lie where the tensors that cross it are smaller.
_BEFORE, _AFTER = 0.12, 0.03
# How much larger than the smallest the tensors across a border may be for its position to count:
# averages of maps beside a block's output are next to nothing.
_AS_SMALL = 1.1


@dataclass(frozen=True)
class TrainedPart:
    """The part of a network that is trained.

    Attributes:
        weights: names of the constants of convolutions and matrix products, in their order.
        biases: names of the constants that are added to their results.
        boundary: tensors of the untrained part that the trained part reads; where the shape of
            one is unknown, the input alone.
        shapes: of each of these tensors for one image, without the batch.
    """

    weights: tuple[str, ...]
    biases: tuple[str, ...]
    boundary: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Values that the trained part reads of one image."""
        return sum(map(math.prod, self.shapes))


def trained_part(backbone: BackboneGraph, height: int, width: int, part: str) -> TrainedPart:
    """Return the part of that name.

    The border is drawn by depth: each layer has a position between 0 and 1, the weighted layers
    before it as a share of all on the longest path through it. So networks that are joined side by
    side are each cut at the same share. Near the wanted share, a border with few values across it
    is taken, which is one between blocks.

    Args:
        backbone: frozen, its batch norms folded.
        height: of the input, in pixels.
        width: of the input, in pixels.
        part: one of `PARTS`.

    Raises:
        BackboneError: nothing in it can be trained.
    """
    network = _Network(backbone)
    shapes = infer_shapes(backbone.graph, INPUT, (1, height, width, 3))
    wanted = PARTS[part]
    borders = [
        border
        for border in sorted(set(network.positions.values()))
        if wanted - _BEFORE <= border <= wanted + _AFTER
    ] or [wanted]
    found = {abs(border - wanted): network.part(border, shapes) for border in borders}
    most = _AS_SMALL * min(each.size for each in found.values())
    chosen = found[min(distance for distance, each in found.items() if each.size <= most)]
    if not chosen.weights:
        raise BackboneError(
            "the backbone cannot be fine-tuned: its graph has no convolution or matrix product "
            "with constant weights; leave --fine_tune out or choose another with --module"
        )
    return chosen


class _Network:
    """The nodes between input and output, and how deep each lies."""

    def __init__(self, backbone: BackboneGraph) -> None:
        self._nodes = nodes_by_name(backbone.graph)
        self._output = backbone.output
        reached = {INPUT}
        self._order: list[Any] = []
        for node in needed_nodes(backbone.graph, [backbone.output]):
            if any(name in reached for name, _ in data_inputs(node)):
                reached.add(node.name)
                self._order.append(node)
        self._reached = frozenset(reached)
        self.positions = self._depths()

    def part(self, border: float, shapes: Mapping[str, Any]) -> TrainedPart:
        """Return what is trained where all up to ``border`` stays as it is."""
        still = {INPUT}
        weights: dict[str, None] = {}
        biases: dict[str, None] = {}
        crossing: dict[str, None] = {}
        for node in self._order:
            moves = [name for name, _ in self._inputs(node) if name not in still]
            own = dict.fromkeys(self._constants(node))
            if not moves and (not own or self.positions[node.name] <= border):
                still.add(node.name)
                continue
            if self.positions[node.name] > border:
                (weights if node.op in _WEIGHTED else biases).update(own)
            crossing.update(
                (spell_tensor(*tensor), None) for tensor in self._inputs(node) if tensor[0] in still
            )
        found = [_of_one(shapes.get(tensor)) for tensor in crossing]
        known = tuple(each for each in found if each is not None)
        if len(known) < len(found):
            crossing, known = {INPUT: None}, (_of_one(shapes[INPUT]) or (),)
        return TrainedPart(tuple(weights), tuple(biases), tuple(crossing), known)

    def _depths(self) -> dict[str, float]:
        before = {INPUT: 0}
        for node in self._order:
            deepest = max(before[name] for name, _ in self._inputs(node))
            before[node.name] = deepest + self._is_weighted(node)
        after = dict.fromkeys(before, 0)
        for node in reversed(self._order):
            rest = after[node.name] + self._is_weighted(node)
            for name, _ in self._inputs(node):
                after[name] = max(after[name], rest)
        return {
            node.name: before[node.name] / max(1, before[node.name] + after[node.name])
            for node in self._order
        }

    def _inputs(self, node: Any) -> list[tuple[str, int]]:
        """Return the tensors that ``node`` reads and that depend on the image."""
        return [each for each in data_inputs(node) if each[0] in self._reached]

    def _is_weighted(self, node: Any) -> bool:
        return node.op in _WEIGHTED and next(self._constants(node), None) is not None

    def _constants(self, node: Any) -> Iterator[str]:
        """Yield the names of the trainable constants that ``node`` reads."""
        if node.op not in _WEIGHTED | _ADDING:
            return
        for name, _ in data_inputs(node):
            found = constant_behind(self._nodes, name)
            if found is None:
                continue
            tensor = found.attr["value"].tensor
            rank = len(tensor.tensor_shape.dim)
            if tensor.dtype == DataType.FLOAT and (
                rank >= 2 if node.op in _WEIGHTED else _is_bias(tensor)
            ):
                yield found.name


def _is_bias(tensor: Any) -> bool:
    dims = [dim.size for dim in tensor.tensor_shape.dim]
    return bool(dims) and dims[-1] > 1 and math.prod(dims) == dims[-1]


def _of_one(shape: Shape | None) -> tuple[int, ...] | None:
    """Return the shape without the batch of one image; None: unknown, or no batch comes first."""
    if not shape or shape[0] != 1:
        return None
    known = tuple(size for size in shape[1:] if size is not None)
    return known if len(known) == len(shape) - 1 else None
