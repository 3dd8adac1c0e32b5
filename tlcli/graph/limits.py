"""How much memory a graph file may ask for, checked before TensorFlow reads it.

A few bytes can stand for very much: a constant of one value repeated, a message of empty
messages, an operation that blows its input up. What a real network needs is far below the
limits here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.errors import GraphError
from tlcli.graph.constant_ops import attribute_value
from tlcli.graph.messages import length_fields
from tlcli.graph.nodes import DTYPES, VALUE_FIELDS, Shape
from tlcli.graph.shape_inference import Inference
from tlcli.graph.shapes import placeholder_shape
from tlcli.graph.surgery import needed_nodes

LARGEST_TENSOR = 1 << 30
"""Bytes of one tensor for one image; the largest of a known image network has some 100 MB."""
FILLED_LIMIT = 1 << 30
"""Bytes in all of constants that are filled from fewer values than they hold."""

_LARGEST_DIM = 1 << 40
_RESIZES = frozenset({"ResizeBicubic", "ResizeArea"})


@dataclass(frozen=True)
class MessageLimits:
    """How many messages a file may contain.

    Attributes:
        small_file: bytes up to which a file is not counted: it cannot become more than about
            1 GB of messages.
        most_messages: parts that a larger file may have.
    """

    small_file: int = 16 << 20
    most_messages: int = 1_000_000


_MESSAGE_LIMITS = MessageLimits()


# Operations that the readers look through, by how many tensors they need at least.
_INPUTS = {
    name: count
    for count, names in (
        (1, "Identity Cast Squeeze Shape Softmax Sigmoid Relu Relu6 MaxPool AvgPool Rsqrt Sqrt"),
        (2, "Conv2D DepthwiseConv2dNative MatMul BatchMatMul BatchMatMulV2 BiasAdd Reshape Add"),
        (2, "AddV2 Sub Mul RealDiv Maximum Minimum Mean Sum Max Min Pad MirrorPad ExpandDims"),
        (2, "Transpose Tile ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea"),
        (2, "Concat ConcatV2 Split Fill BroadcastTo TopKV2 Gather ArgMax"),
        (3, "PadV2 Slice SplitV GatherV2 Select SelectV2 SpaceToBatchND BatchToSpaceND"),
        (4, "StridedSlice OneHot"),
        (5, "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3"),
    )
    for name in names.split()
}


def check_inputs(nodes: Iterable[Any], name: str) -> None:
    """Refuse operations that lack a tensor, which no runtime would take either.

    Args:
        nodes: of a graph and of its functions.
        name: what the error calls the graph.

    Raises:
        GraphError: names the first such operation.
    """
    for node in nodes:
        needed = _INPUTS.get(node.op, 0)
        if needed:
            given = sum(not source.startswith("^") for source in node.input)
            if given < needed:
                raise GraphError(
                    f"{name} is damaged: its {node.op} {node.name!r} reads {given} tensors in "
                    f"place of {needed}; get the file again"
                )


def check_constants(nodes: Iterable[Any], name: str) -> None:
    """Refuse constants whose last value fills too large a rest.

    Args:
        nodes: of a graph and of its functions.
        name: what the error calls the graph.

    Raises:
        GraphError: one constant, or all of them, would take too much memory.
    """
    filled = 0
    for node in nodes:
        for value in node.attr.values():
            kind = value.WhichOneof("value")
            tensors = [value.tensor] if kind == "tensor" else value.list.tensor
            for tensor in tensors:
                filled += _filled_bytes(tensor, node, name)
        if filled > FILLED_LIMIT:
            raise GraphError(
                f"{name} was not run: its constants would take more than "
                f"{FILLED_LIMIT >> 30} GB, most of it one value repeated"
            )


def _filled_bytes(tensor: Any, node: Any, name: str) -> int:
    """Return how many bytes of memory a constant takes beyond what the file holds."""
    if tensor.tensor_content:
        return 0  # as long as its shape says, or TensorFlow refuses it
    dims = [int(dim.size) for dim in tensor.tensor_shape.dim]
    # Sizes of 0 would hide the others from a product.
    if any(size >= _LARGEST_DIM for size in dims):
        count = FILLED_LIMIT + 1
    else:
        count = math.prod(max(0, size) for size in dims)
    dtype = DTYPES.get(tensor.dtype)
    field = VALUE_FIELDS.get(tensor.dtype, "int_val")
    if count <= len(getattr(tensor, field)):
        return 0
    size = count * (16 if dtype is None or dtype.hasobject else dtype.itemsize)
    if size > FILLED_LIMIT:
        raise GraphError(
            f"{name} was not run: its constant {node.name!r} has the shape {dims}, which is more "
            f"than {FILLED_LIMIT >> 30} GB, and one value for all of it"
        )
    return size


def check_sizes(graph: Any, input: str, outputs: Sequence[str], size: Shape, name: str) -> None:
    """Refuse a graph that computes a tensor of more than `LARGEST_TENSOR` for one image.

    Sizes that depend on values are unknown here.

    Args:
        graph: a ``GraphDef``.
        input: name of its placeholder.
        outputs: what is going to be computed.
        size: (height, width) of the input.
        name: what the error calls the graph.

    Raises:
        GraphError: names the operation and the shape.
    """
    sizes = _Sizes()
    nodes = needed_nodes(graph, outputs)
    declared = next((placeholder_shape(node) for node in nodes if node.name == input), None)
    sizes.shapes[input, 0] = (1, *size, *(each or 3 for each in (declared or (None,) * 4)[3:]))
    for node in nodes:
        if node.name == input:
            continue
        sizes.visit(node)
        for output in (0, 1, 2):
            shape = sizes.shapes.get((node.name, output))
            if shape is None:
                break
            if 4 * math.prod(1 if each is None else max(0, each) for each in shape) > (
                LARGEST_TENSOR
            ):
                raise GraphError(
                    f"{name} was not run: its node {node.name!r} ({node.op}) computes a tensor of "
                    f"the shape {list(shape)}, which would take more than "
                    f"{LARGEST_TENSOR >> 30} GB; add --trust if you trust its maker"
                )


class _Sizes(Inference):
    """Shapes, also of operations that exist to make large tensors of small ones."""

    def _shapes(self, node: Any, inputs: list[tuple[str, int]]) -> Sequence[Shape | None]:
        op = node.op
        if op == "Range":
            first, last, step = (int(self.values[source].reshape(())) for source in inputs)
            return [(max(0, -(-(last - first) // step)),)]
        if op == "Fill":
            return [self._target(inputs[0])]
        if op == "BroadcastTo":
            return [self._target(inputs[1])]
        if op == "Tile":
            pairs = zip(self.shapes[inputs[0]], self._target(inputs[1]), strict=True)
            return [tuple(None if a is None or b is None else a * b for a, b in pairs)]
        if op == "Conv2DBackpropInput":
            return [self._target(inputs[0])]
        if op in _RESIZES:
            shape = self.shapes[inputs[0]]
            return [(shape[0], *self._target(inputs[1]), shape[3])]
        if op == "OneHot":
            (depth,) = self._target(inputs[1])
            return [(*self.shapes[inputs[0]], depth)]
        if op in ("RandomUniform", "RandomStandardNormal", "TruncatedNormal", "Empty"):
            return [self._target(inputs[0])]
        if op in ("BatchMatMul", "BatchMatMulV2"):
            left, right = (self.shapes[source] for source in inputs)
            if attribute_value(node, "adj_x", False) or attribute_value(node, "adj_y", False):
                return []
            return [(*left[:-1], right[-1])]
        return super()._shapes(node, inputs)

    def _target(self, source: tuple[str, int]) -> Shape:
        return tuple(
            None if each is None else int(each) for each in self.values[source].ravel().tolist()
        )


def check_messages(
    content: bytes, message: Any, name: str, limits: MessageLimits = _MESSAGE_LIMITS
) -> None:
    """Refuse a protobuf message of so many messages that reading it would fill the memory.

    An empty message takes two bytes in a file and a hundred in memory.

    Args:
        content: of the file.
        message: the class that is going to read it.
        name: what the error calls it.
        limits: from which size on parts are counted, and how many there may be.

    Raises:
        GraphError: more messages than any network has.
    """
    if len(content) <= limits.small_file:
        return
    waiting = [(0, len(content), _nested(message.DESCRIPTOR))]
    count = 0
    while waiting:
        start, end, nested = waiting.pop()
        for number, first, last in length_fields(content, start, end):
            # Text and numbers one by one take memory of their own too.
            count += 1
            if count > limits.most_messages:
                raise GraphError(
                    f"{name} was not read: it holds more than {limits.most_messages:,} parts, "
                    "which no network has; give another file"
                )
            if number in nested:
                waiting.append((first, last, _nested(nested[number])))


def _nested(descriptor: Any) -> dict[int, Any]:
    return {field.number: field.message_type for field in descriptor.fields if field.message_type}
