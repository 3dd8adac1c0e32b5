"""Which maps of a convolutional network tell most beside its bottleneck.

They are found by the graph alone, walking back from the bottleneck to the map that is averaged:
the output of the last block, the last two spatial convolutions of that resolution (depthwise, or
with a kernel larger than 1 x 1), and the output and the last spatial convolution of the stage
before. Of a convolution the activated map counts; one that is joined as it is to the map of the
stage is left out, as its average is a part of that map's. Where the last map is pooled from a
larger one, as in VGG, that larger one ends the last stage. Layers short of the last one carry what
a network's own labels had no use for (Yosinski et al., "How transferable are features in deep
neural networks?", 2014).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlcli.backbone import INPUT, BackboneGraph
from tlcli.errors import GraphError
from tlcli.graph.nodes import Shape
from tlcli.graph.shapes import infer_shapes
from tlcli.graph.surgery import (
    PASSING,
    constant_behind,
    consumers,
    data_inputs,
    needed_nodes,
    spell_tensor,
    split_tensor,
)

HEAD_WEIGHT, _BLOCK_WEIGHT, _SPATIAL_WEIGHT, _EARLIER_WEIGHT = 4.0, 0.5, 1.0, 0.5
"""Weights of the blocks: without most of it on the head, few images lose accuracy."""

_POOLED = frozenset({"AvgPool", "MaxPool"})
_JOINS = frozenset({"Concat", "ConcatV2"})
_POOLING = frozenset({"Mean", "Max", "Sum", "AvgPool", "MaxPool"})
_CONVOLUTIONS = frozenset({"Conv2D", "DepthwiseConv2dNative"})
_AFFINE = frozenset({"BiasAdd", "Add", "AddV2", "Sub", "Mul", "RealDiv", "Div"}) | {
    "FusedBatchNorm",
    "FusedBatchNormV2",
    "FusedBatchNormV3",
    "BatchNormWithGlobalNormalization",
}
_ACTIVATIONS = frozenset({"Relu", "Relu6", "Elu", "Selu", "LeakyRelu", "Tanh", "Softplus"})
# What a gate such as x * sigmoid(x) computes from x before it multiplies.
_GATES = _ACTIVATIONS | _AFFINE | {"Sigmoid", "Erf", "Minimum", "Maximum", "Exp", "Log1p", "Pow"}
_LONGEST_GATE = 8
# Between the map that a stage ends with and the layer that makes it smaller.
_BEFORE_STRIDE = PASSING | {"Pad", "PadV2", "MirrorPad"}
# A 1 x 1 convolution that makes at least this many times as many channels is the beginning of
# the next block, or the head, and not the end of a block.
_EXPANDING = 2

_LITE_BLOCK = re.compile(r"efficientnet_lite/block_(\d+)/(depthwise|project|add)\b.*")
# EfficientNet-Lite1 and Lite2 have six blocks of the last resolution, Lite0 has five: a further
# one of these stands in place of the stage before.
_LITE_DEEP = ("efficientnet_lite/block_20/add", "efficientnet_lite/block_20/project/BiasAdd")
_LITE_DEEP_MAP = "efficientnet_lite/block_16/depthwise/Relu6"
# What operations add to the name of their layer.
_OPERATION = re.compile(
    r"(.+)/(Conv2D|convolution|depthwise|DepthwiseConv2dNative|Add|AddV2)(_\d+)?"
)


@dataclass(frozen=True)
class StageMap:
    """A map whose average over all places is a part of the vector.

    Attributes:
        name: for people.
        tensor: as inputs of nodes spell it; float32 [?, h, w, size].
        size: channels.
        weight: as in `tlcli.backbone.FeatureBlock`.
    """

    name: str
    tensor: str
    size: int
    weight: float


def find_stage_maps(loaded: BackboneGraph, height: int, width: int) -> tuple[StageMap, ...]:
    """Return the maps beside the bottleneck, the most telling first; the head is none of them.

    Args:
        loaded: the backbone's graph.
        height: of the input, in pixels.
        width: of the input, in pixels.

    Raises:
        GraphError: the graph shows no map that is averaged, or none before it; the reason alone.
    """
    network = _Network(loaded, height, width)
    last = network.pooled_map()
    found: dict[str, StageMap] = {}

    def add(tensor: str, weight: float) -> None:
        size = network.shapes[tensor][-1]
        # The average of the last map is the head, unless further layers follow it.
        is_head = tensor == last and size == loaded.bottleneck_size
        if size is not None and not is_head and tensor not in found:
            found[tensor] = StageMap(network.name_of(tensor), tensor, size, weight)

    end = network.before_pooling(last)
    block = network.before_expansion(end)
    add(block, _BLOCK_WEIGHT)
    for tensor in network.spatial_maps(end)[-2:][::-1]:
        add(tensor, _SPATIAL_WEIGHT)
    earlier = network.end_of_stage_before(end)
    if block in _LITE_DEEP and _LITE_DEEP_MAP in network.nodes:
        add(_LITE_DEEP_MAP, _EARLIER_WEIGHT)
    elif earlier is not None:
        add(earlier, _EARLIER_WEIGHT)
        for tensor in network.spatial_maps(earlier)[-1:]:
            add(tensor, _EARLIER_WEIGHT)
    if not found:
        raise GraphError("its graph shows no convolutions before the map that is averaged")
    return tuple(found.values())


class _Network:
    """The part of a graph that the bottleneck needs; tensors are spelled as inputs are."""

    def __init__(self, loaded: BackboneGraph, height: int, width: int) -> None:
        self.output = loaded.output
        order = needed_nodes(loaded.graph, [loaded.output])
        self.nodes: Mapping[str, Any] = {node.name: node for node in order}
        self.place = {node.name: number for number, node in enumerate(order)}
        self.readers = {
            name: [each for each in readers if each[0].name in self.nodes]
            for name, readers in consumers(loaded.graph).items()
        }
        shape = (None, height, width, 3)
        self.shapes: dict[str, Shape] = infer_shapes(loaded.graph, INPUT, shape, [loaded.output])
        convolutions = [node for node in order if node.op in _CONVOLUTIONS]
        self.activated = {node.name: self._activated(node.name) for node in convolutions}
        # The last convolution wins where one ends in another's activation, as in a sum.
        self.convolution_of = {tensor: name for name, tensor in self.activated.items()}

    def resolution(self, tensor: str) -> tuple[int, int] | None:
        """Return height and width of a map of more than one place; None: it is no such map."""
        shape = self.shapes.get(tensor)
        name = split_tensor(tensor)[0]
        if shape is None or len(shape) != 4 or constant_behind(self.nodes, name) is not None:
            return None
        height, width = shape[1:3]
        if height is None or width is None or height * width <= 1:
            return None
        return height, width

    def pooled_map(self) -> str:
        """Return the map whose average the bottleneck is.

        Raises:
            GraphError: there is not exactly one; the reason alone.
        """
        found: dict[str, None] = {}
        seen: set[str] = set()
        waiting = [self.output]
        while waiting:
            tensor = waiting.pop()
            name = split_tensor(tensor)[0]
            if name in seen:
                continue
            seen.add(name)
            node = self.nodes[name]
            for source in data_inputs(node):
                spelled = spell_tensor(*source)
                if self.resolution(spelled) is None:
                    waiting.append(spelled)
                elif node.op in _POOLING:
                    found[spelled] = None
                else:
                    raise GraphError("its bottleneck is no average of a map")
        if len(found) != 1:
            raise GraphError("its bottleneck is not the average of one map")
        return next(iter(found))

    def spatial_maps(self, end: str) -> list[str]:
        """Return the activated maps of spatial convolutions that ``end`` depends on, in order.

        Those of its resolution alone, neither ``end`` itself nor what is joined to it.
        """
        left_out, resolution = {end, *self._joined_to(end)}, self.resolution(end)
        found = [
            self.activated[node.name]
            for node in self._ancestors(end)
            if node.op in _CONVOLUTIONS
            and self._is_spatial(node)
            and self.resolution(node.name) == resolution
        ]
        return [each for each in dict.fromkeys(found) if each not in left_out]

    def before_pooling(self, tensor: str) -> str:
        """Return the map that a map is pooled from; the map itself, where it is not pooled."""
        while (node := self.nodes[split_tensor(tensor)[0]]).op in _POOLED | _BEFORE_STRIDE:
            tensor = spell_tensor(*data_inputs(node)[0])
        return tensor

    def before_expansion(self, tensor: str) -> str:
        """Return what a 1 x 1 convolution widened to this map; the map itself, where none did."""
        name = self.convolution_of.get(tensor)
        if name is None or self.nodes[name].op != "Conv2D" or self._is_spatial(self.nodes[name]):
            return tensor
        (source, output), *_ = data_inputs(self.nodes[name])
        narrow = spell_tensor(source, output)
        before, after = self.shapes.get(narrow), self.shapes.get(tensor)
        if before is None or after is None or self.resolution(narrow) != self.resolution(tensor):
            return tensor
        channels, made = before[-1], after[-1]
        if channels is None or made is None or made < _EXPANDING * channels:
            return tensor
        return narrow

    def end_of_stage_before(self, last: str) -> str | None:
        """Return the map that was made smaller to the resolution of ``last``, None without one."""
        resolution = self.resolution(last)
        found: list[str] = []
        for node in self._ancestors(last):
            # A gate of squeeze and excitation has one place.
            if self.resolution(node.name) != resolution:
                continue
            for source in data_inputs(node):
                tensor = spell_tensor(*source)
                before = self.resolution(tensor)
                # Padding is no stage of its own.
                if before is not None and before != resolution and node.op not in _BEFORE_STRIDE:
                    found.append(self.before_expansion(self._before_padding(tensor)))
        # Branches of a block that makes maps smaller may have layers before they do so.
        return min(found, key=lambda each: self.place[split_tensor(each)[0]], default=None)

    def name_of(self, tensor: str) -> str:
        """Return a name for people."""
        name = self.convolution_of.get(tensor, split_tensor(tensor)[0])
        match = _LITE_BLOCK.fullmatch(name)
        if match is not None:
            return f"{'depthwise' if match[2] == 'depthwise' else 'block'} {match[1]}"
        match = _OPERATION.fullmatch(name)
        return match[1] if match is not None else name

    def _ancestors(self, tensor: str) -> list[Any]:
        """Return the node of a tensor and all that it depends on, in running order."""
        seen = {split_tensor(tensor)[0]}
        waiting = list(seen)
        while waiting:
            for name, _ in data_inputs(self.nodes[waiting.pop()]):
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)
        return [self.nodes[name] for name in sorted(seen, key=self.place.__getitem__)]

    def _joined_to(self, tensor: str) -> set[str]:
        """Return the maps that a map joins as they are."""
        found: set[str] = set()
        waiting = [tensor]
        while waiting:
            node = self.nodes[split_tensor(waiting.pop())[0]]
            if node.op in _JOINS | PASSING:
                parts = [spell_tensor(*source) for source in data_inputs(node)]
                waiting += [each for each in parts if self.resolution(each) is not None]
                found.update(parts)
        return found

    def _before_padding(self, tensor: str) -> str:
        while (node := self.nodes[split_tensor(tensor)[0]]).op in _BEFORE_STRIDE:
            tensor = spell_tensor(*data_inputs(node)[0])
        return tensor

    def _is_spatial(self, node: Any) -> bool:
        if node.op == "DepthwiseConv2dNative":
            return True
        kernel = self.shapes.get(spell_tensor(*data_inputs(node)[1]))
        return kernel is not None and len(kernel) == 4 and kernel[:2] != (1, 1)

    def _activated(self, name: str) -> str:
        """Return the tensor of a convolution after bias, batch norm and activation."""
        tensor = name
        while True:
            readers = [node for node, _, output in self.readers[tensor] if output == 0]
            gated = self._gated(tensor, readers)
            if gated is not None:
                return gated
            if len({node.name for node in readers}) != 1:
                return tensor
            (reader,) = {node.name: node for node in readers}.values()
            if reader.op in _ACTIVATIONS:
                return str(reader.name)
            if not (reader.op in PASSING or self._is_affine(reader, tensor)):
                return tensor
            tensor = reader.name

    def _is_affine(self, node: Any, tensor: str) -> bool:
        """Return whether a node adds constants to a tensor, or multiplies it by constants."""
        others = [name for name, _ in data_inputs(node) if name != tensor]
        return node.op in _AFFINE and all(constant_behind(self.nodes, name) for name in others)

    def _gated(self, tensor: str, readers: list[Any]) -> str | None:
        """Return x * gate(x) where x is ``tensor`` (Swish, hard Swish, GELU), else None."""
        for reader in readers:
            if reader.op != "Mul":
                continue
            others = [name for name, _ in data_inputs(reader) if name != tensor]
            if not others or self._is_gate_of(others[0], tensor):
                return str(reader.name) if len(readers) > 1 and others else None
        return None

    def _is_gate_of(self, name: str, tensor: str) -> bool:
        """Return whether a node depends on a tensor by operations on single values alone."""
        for _ in range(_LONGEST_GATE):
            node = self.nodes[name]
            sources = [source for source, _ in data_inputs(node)]
            varying = [each for each in sources if constant_behind(self.nodes, each) is None]
            if node.op not in _GATES or len(set(varying)) != 1:
                return False
            name = varying[0]
            if name == tensor:
                return True
        return False
