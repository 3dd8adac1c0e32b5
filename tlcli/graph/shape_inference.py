"""Follow shapes through the operations of image networks.

A shape is a tuple whose unknown sizes are ``None``; the batch is ``None``. A tensor whose
shape cannot be inferred is absent from the result, never guessed.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.graph.constant_ops import attribute_value, moved
from tlcli.graph.nodes import DataType, Shape, shape_dims, tensor_to_array
from tlcli.graph.surgery import data_inputs

_KEEPING = """
    Identity StopGradient PlaceholderWithDefault CheckNumerics Snapshot PreventGradient BiasAdd
    Dequantize
    Neg Abs Square Sqrt Rsqrt Exp Log Log1p Erf Erfc Sin Cos Floor Round Reciprocal Cast
    Relu Relu6 Elu Selu LeakyRelu Sigmoid Tanh Softplus Softsign Softmax LogSoftmax LRN
    BatchNormWithGlobalNormalization FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
"""
SAME = frozenset(_KEEPING.split())
"""Operations whose output 0 has the shape of their first input."""
_COMBINING = "Add AddV2 Sub Mul RealDiv Div Maximum Minimum Pow SquaredDifference"
BROADCASTING = frozenset(_COMBINING.split())
_REDUCTIONS = frozenset({"Mean", "Max", "Min", "Sum", "Prod"})
WINDOWS = frozenset({"Conv2D", "DepthwiseConv2dNative", "AvgPool", "MaxPool"})
_MOVING = frozenset({"Pack", "ConcatV2", "Reshape", "ExpandDims", "StridedSlice"})


def _of_known(compute: Callable[[int, int], int]) -> Any:
    """Return ``compute`` for arrays, unknown where an operand is."""
    return np.frompyfunc(lambda x, y: None if x is None or y is None else compute(x, y), 2, 1)


_ARITHMETIC = {
    "Mul": _of_known(operator.mul),
    "Add": _of_known(operator.add),
    "AddV2": _of_known(operator.add),
    "Sub": _of_known(operator.sub),
}
# A list of sizes computed by a graph is short; longer constants are weights.
_LONGEST_SHAPE = 64
_MOST_PARTS = 4096


def windows(node: Any, kernel: tuple[int, int]) -> tuple[list[tuple[int, int]], str]:
    """Return [(extent, stride) for height and width] and the padding of a sliding window."""
    strides = attribute_value(node, "strides", [1, 1, 1, 1])
    dilations = attribute_value(node, "dilations") or [1, 1, 1, 1]
    pairs = [
        ((kernel[axis] - 1) * dilations[axis + 1] + 1, max(1, strides[axis + 1])) for axis in (0, 1)
    ]
    return pairs, attribute_value(node, "padding", "")


class Inference:
    """Shapes and, for small integer tensors, values, node by node in running order."""

    def __init__(self) -> None:
        self.shapes: dict[tuple[str, int], Shape] = {}
        self.values: dict[tuple[str, int], Array] = {}  # of object: int or None

    def visit(self, node: Any) -> None:
        """Infer what can be inferred of the outputs of ``node``; its inputs were visited."""
        inputs = data_inputs(node)
        try:
            if node.op == "Const":
                self._visit_const(node)
                return
            value = self._value(node, inputs)
            if value is not None:
                self.values[node.name, 0] = value
                self.shapes[node.name, 0] = value.shape
                return
            for number, shape in enumerate(self._shapes(node, inputs)):
                if shape is not None:
                    self.shapes[node.name, number] = shape
        except (ValueError, IndexError, TypeError, KeyError, ZeroDivisionError):
            return  # not a shape that TensorFlow would take: nothing is known

    def _visit_const(self, node: Any) -> None:
        tensor = node.attr["value"].tensor
        dims = shape_dims(tensor.tensor_shape)
        if dims is None:
            return
        self.shapes[node.name, 0] = dims
        if (
            tensor.dtype in (DataType.INT32, DataType.INT64)
            and math.prod(size or 0 for size in dims) <= _LONGEST_SHAPE
        ):
            self.values[node.name, 0] = tensor_to_array(tensor).astype(object)

    def _value(self, node: Any, inputs: list[tuple[str, int]]) -> Array | None:
        """Return the integers that ``node`` computes from shapes, None where unknown."""
        op = node.op
        if op == "Shape":
            shape = self.shapes.get(inputs[0])
            return None if shape is None else np.array(shape, dtype=object)
        if not inputs or any(name not in self.values for name in inputs):
            return None
        values = [self.values[name] for name in inputs]
        if op in ("Identity", "Cast"):
            return values[0]
        if op in _MOVING:
            return moved(node, values)
        if op in ("Gather", "GatherV2"):
            return np.asarray(values[0][values[1].astype(np.int64)], dtype=object)
        if op == "Prod":
            flat = values[0].ravel().tolist()
            return np.array(None if None in flat else math.prod(flat), dtype=object)
        if op in _ARITHMETIC:
            return np.asarray(_ARITHMETIC[op](values[0], values[1]), dtype=object)
        return None

    def _shapes(self, node: Any, inputs: list[tuple[str, int]]) -> Sequence[Shape | None]:
        op = node.op
        if op in ("Split", "SplitV", "Unpack"):
            return self._split(node, inputs)
        shape = self.shapes.get(inputs[0]) if inputs else None
        if op in ("Concat", "ConcatV2", "Pack"):
            return [self._joined(node, inputs)]
        if shape is None:
            return []
        if op in SAME:
            return [shape]
        if op in BROADCASTING:
            return [self._broadcast(inputs)]
        if op in WINDOWS:
            return [self._window(node, inputs, shape)]
        if op == "MatMul":
            other = self.shapes[inputs[1]]
            rows = shape[1 if attribute_value(node, "transpose_a", False) else 0]
            return [(rows, other[0 if attribute_value(node, "transpose_b", False) else 1])]
        if op in ("BatchMatMul", "BatchMatMulV2"):
            return [self._matrices(node, shape, self.shapes[inputs[1]])]
        if op == "Einsum":
            return [_summed(node, [self.shapes[name] for name in inputs])]
        if op in _REDUCTIONS:
            axes = {int(axis) % len(shape) for axis in self.values[inputs[1]].ravel()}
            if attribute_value(node, "keep_dims", False):
                return [tuple(1 if axis in axes else size for axis, size in enumerate(shape))]
            return [tuple(size for axis, size in enumerate(shape) if axis not in axes)]
        return [self._moved(node, inputs, shape)]

    def _broadcast(self, inputs: list[tuple[str, int]]) -> Shape | None:
        left, right = (self.shapes[name] for name in inputs)
        return _broadcast_shape(left, right)

    def _matrices(self, node: Any, left: Shape, right: Shape) -> Shape | None:
        """Return the shape of products of matrices, whose leading sizes are broadcast."""
        rows = left[-1 if attribute_value(node, "adj_x", False) else -2]
        columns = right[-2 if attribute_value(node, "adj_y", False) else -1]
        leading = _broadcast_shape(left[:-2], right[:-2])
        return None if leading is None else (*leading, rows, columns)

    def _window(self, node: Any, inputs: list[tuple[str, int]], shape: Shape) -> Shape | None:
        if attribute_value(node, "data_format", "NHWC") != "NHWC" or len(shape) != 4:
            return None
        if node.op in ("AvgPool", "MaxPool"):
            ksize = attribute_value(node, "ksize")
            kernel, channels = (ksize[1], ksize[2]), shape[3]
        else:
            height, width, depth, last = self.shapes[inputs[1]]
            if height is None or width is None or depth is None or last is None:
                return None
            kernel = (height, width)
            channels = depth * last if node.op == "DepthwiseConv2dNative" else last
        pairs, padding = windows(node, kernel)
        explicit = attribute_value(node, "explicit_paddings") or [0] * 8
        sizes: list[int | None] = []
        for axis, (extent, stride) in enumerate(pairs):
            size = shape[axis + 1]
            if size is None:
                sizes.append(None)
            elif padding == "SAME":
                sizes.append(-(-size // stride))
            else:
                if padding == "EXPLICIT":
                    size += explicit[2 * axis + 2] + explicit[2 * axis + 3]
                sizes.append(-(-(size - extent + 1) // stride))
        if any(size is not None and size < 1 for size in sizes):
            return None
        return (shape[0], *sizes, channels)

    def _joined(self, node: Any, inputs: list[tuple[str, int]]) -> Shape | None:
        if node.op == "Pack":
            parts = [self.shapes[name] for name in inputs]
            axis = attribute_value(node, "axis", 0) % (len(parts[0]) + 1)
            return (*parts[0][:axis], len(parts), *parts[0][axis:])
        first = node.op == "Concat"
        parts = [self.shapes[name] for name in (inputs[1:] if first else inputs[:-1])]
        axis = int(self.values[inputs[0 if first else -1]].reshape(())) % len(parts[0])
        sizes = [part[axis] for part in parts]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        return (*parts[0][:axis], total, *parts[0][axis + 1 :])

    def _split(self, node: Any, inputs: list[tuple[str, int]]) -> Sequence[Shape | None]:
        if any(attribute_value(node, key, 0) > _MOST_PARTS for key in ("num", "num_split")):
            return []
        if node.op == "Unpack":
            shape, count = self.shapes[inputs[0]], attribute_value(node, "num", 0)
            axis = attribute_value(node, "axis", 0) % len(shape)
            return [(*shape[:axis], *shape[axis + 1 :])] * count
        if node.op == "Split":
            shape, count = self.shapes[inputs[1]], attribute_value(node, "num_split", 1)
            axis = int(self.values[inputs[0]].reshape(())) % len(shape)
            size = shape[axis]
            parts: list[int | None] = [None if size is None else size // count] * count
        else:
            shape, axis = self.shapes[inputs[0]], int(self.values[inputs[2]].reshape(()))
            axis %= len(shape)
            parts = [int(size) for size in self.values[inputs[1]].ravel()]
            if -1 in parts:
                return []
        return [(*shape[:axis], part, *shape[axis + 1 :]) for part in parts]

    def _moved(self, node: Any, inputs: list[tuple[str, int]], shape: Shape) -> Shape | None:
        op = node.op
        if op == "Reshape":
            target = self.values[inputs[1]].ravel().tolist()
            known = [size for size in target if size is not None and size >= 0]
            if None not in shape and target.count(-1) + target.count(None) == 1:
                rest = math.prod(size or 0 for size in shape) // max(1, math.prod(known))
                return tuple(rest if size is None or size < 0 else size for size in target)
            return tuple(None if size is None or size < 0 else size for size in target)
        if op == "Squeeze":
            axes = attribute_value(node, "squeeze_dims") or attribute_value(node, "axis") or []
            gone = {axis % len(shape) for axis in axes}
            if not gone:
                if None in shape:
                    return None
                gone = {axis for axis, size in enumerate(shape) if size == 1}
            return tuple(size for axis, size in enumerate(shape) if axis not in gone)
        if op == "ExpandDims":
            axis = int(self.values[inputs[1]].reshape(()))
            axis = axis % (len(shape) + 1)
            return (*shape[:axis], 1, *shape[axis:])
        if op == "Tile":
            multiples = self.values[inputs[1]].ravel().tolist()
            return tuple(
                None if size is None or by is None else size * by
                for size, by in zip(shape, multiples, strict=True)
            )
        if op == "GatherV2":
            if attribute_value(node, "batch_dims", 0):
                return None
            axis = int(self.values[inputs[2]].reshape(())) % len(shape)
            return (*shape[:axis], *self.shapes[inputs[1]], *shape[axis + 1 :])
        if op == "Transpose":
            return tuple(shape[int(axis)] for axis in self.values[inputs[1]])
        if op in ("Pad", "PadV2", "MirrorPad"):
            pads = self.values[inputs[1]]
            return tuple(
                None if size is None else size + int(before) + int(after)
                for size, (before, after) in zip(shape, pads, strict=True)
            )
        if op in ("ResizeBilinear", "ResizeNearestNeighbor"):
            return (shape[0], *self.values[inputs[1]].tolist(), shape[3])
        if op == "StridedSlice":
            return self._sliced(node, inputs, shape)
        if op in ("SpaceToBatchND", "BatchToSpaceND"):
            # The batch grows and shrinks again; seen from outside it is the batch.
            block, pads = self.values[inputs[1]], self.values[inputs[2]]
            sizes = list(shape)
            for axis, (factor, (before, after)) in enumerate(zip(block, pads, strict=True), 1):
                size = sizes[axis]
                if size is not None:
                    spread = (size + before + after) // factor
                    sizes[axis] = spread if op[0] == "S" else size * factor - before - after
            return (None, *sizes[1:])
        return None

    def _sliced(self, node: Any, inputs: list[tuple[str, int]], shape: Shape) -> Shape | None:
        if attribute_value(node, "new_axis_mask", 0):
            return None
        begin, end, step = (self.values[name].ravel().tolist() for name in inputs[1:4])
        masks = {
            key: attribute_value(node, f"{key}_mask", 0)
            for key in ("begin", "end", "ellipsis", "shrink_axis")
        }
        sizes: list[int | None] = []
        axis = 0
        for number in range(len(begin)):
            on = {key for key, mask in masks.items() if mask >> number & 1}
            if "ellipsis" in on:  # as many axes as are left over, whole
                whole = len(shape) - len(begin) + 1
                sizes += shape[axis : axis + whole]
                axis += whole
                continue
            size = shape[axis]
            axis += 1
            if "shrink_axis" in on:
                continue
            if {"begin", "end"} <= on and step[number] == 1:
                sizes.append(size)
                continue
            if size is None:
                return None
            first = None if "begin" in on else int(begin[number])
            last = None if "end" in on else int(end[number])
            sizes.append(len(range(*slice(first, last, int(step[number])).indices(size))))
        return (*sizes, *shape[axis:])


def _broadcast_shape(left: Shape, right: Shape) -> Shape | None:
    sizes: list[int | None] = []
    for x, y in itertools.zip_longest(left[::-1], right[::-1], fillvalue=1):
        if x == 1 or y == 1:
            sizes.append(y if x == 1 else x)
        elif x is not None and y is not None and x != y:
            return None
        else:
            sizes.append(y if x is None else x)
    return tuple(sizes[::-1])


def _summed(node: Any, shapes: Sequence[Shape]) -> Shape | None:
    """Return the shape of an ``Einsum`` whose equation names every axis."""
    given, arrow, result = attribute_value(node, "equation", "").partition("->")
    terms = given.split(",")
    if not arrow or "." in given or [*map(len, terms)] != [*map(len, shapes)]:
        return None
    sizes = {
        letter: size
        for term, shape in zip(terms, shapes, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    return tuple(sizes[letter] for letter in result)
