"""A few dozen TensorFlow operations in NumPy: enough to evaluate constants of a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.errors import GraphError
from tlcli.graph.nodes import DTYPES, FILL_LIMIT, DataType, tensor_to_array
from tlcli.runtime.watchdog import first_line

_UNARY: dict[str, Callable[[Any], Any]] = {
    "Neg": np.negative,
    "Abs": np.abs,
    "Square": np.square,
    "Sqrt": np.sqrt,
    "Exp": np.exp,
    "Log": np.log,
    "Floor": np.floor,
    "Rsqrt": lambda x: 1 / np.sqrt(x),
    "Reciprocal": lambda x: 1 / x,
    "Relu": lambda x: np.maximum(x, 0),
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": np.add,
    "AddV2": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Less": np.less,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "FloorDiv": np.floor_divide,
    "FloorMod": np.mod,
    "Pow": np.power,
    "RealDiv": np.divide,
    "SquaredDifference": lambda x, y: np.square(x - y),
}
_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "Prod": np.prod,
    "Sum": np.sum,
    "Mean": np.mean,
    "Max": np.max,
    "Min": np.min,
}


def attribute_value(node: Any, key: str, default: Any = None) -> Any:
    """Return an attribute of ``node`` as a Python value, or ``default`` when it has none.

    Lists of integers become lists; other messages (shapes, tensors) are returned as they are.
    """
    if key not in node.attr:
        return default
    value = node.attr[key]
    kind = value.WhichOneof("value")
    if kind is None:
        return default
    if kind == "list":
        return list(value.list.i)
    if kind == "s":
        return value.s.decode("utf-8", "replace")
    return getattr(value, kind)


def _limited(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in shape)
    if any(size < 0 for size in sizes) or math.prod(sizes) * itemsize > FILL_LIMIT:
        raise GraphError(f"the graph computes a constant of the impossible shape {list(sizes)}")
    return sizes


def dequantize(node: Any, values: Array, low: float, high: float) -> Array | None:
    """Return what the ``Dequantize`` node makes of quantised ``values``; None: not known."""
    kind = attribute_value(node, "T", 0)
    if kind not in (DataType.QINT8, DataType.QUINT8, DataType.QINT16, DataType.QUINT16):
        return None
    if (
        attribute_value(node, "axis", -1) != -1
        or attribute_value(node, "dtype", 1) != DataType.FLOAT
    ):
        return None
    limits = np.iinfo(values.dtype)
    smallest, largest = int(limits.min), int(limits.max)
    steps = largest - smallest + 1
    quantised = values.astype(np.float64)
    mode = attribute_value(node, "mode", "MIN_COMBINED")
    if mode == "MIN_COMBINED":
        shift = steps / 2 if smallest < 0 else 0
        return ((quantised + shift) * ((high - low) / (steps - 1)) + low).astype(np.float32)
    if mode == "MIN_FIRST":
        if low == high:
            return np.full(values.shape, low, np.float32)
        scale = (high - low) / (steps - 1)
        return ((quantised - smallest) * scale + round(low / scale) * scale).astype(np.float32)
    if mode == "SCALED":
        bottom = smallest + 1 if attribute_value(node, "narrow_range", False) else smallest
        scale = high / largest if smallest == 0 else max(low / bottom, high / largest)
        return (quantised * scale).astype(np.float32)
    return None


def _strided_slice(node: Any, values: Array, begin: Array, end: Array, step: Array) -> Array | None:
    if attribute_value(node, "ellipsis_mask", 0) or attribute_value(node, "new_axis_mask", 0):
        return None
    no_begin, no_end, shrink = (
        attribute_value(node, f"{mask}_mask", 0) for mask in ("begin", "end", "shrink_axis")
    )
    index: list[slice | int] = []
    for axis, (first, last, stride) in enumerate(zip(begin, end, step, strict=True)):
        bit = 1 << axis
        if shrink & bit:
            index.append(int(first))
        else:
            start = None if no_begin & bit else int(first)
            stop = None if no_end & bit else int(last)
            index.append(slice(start, stop, int(stride)))
    return np.asarray(values[tuple(index)])


def moved(node: Any, inputs: Sequence[Array]) -> Array | None:
    """Return the result of an operation that moves values about; None: not known."""
    op, first = node.op, inputs[0]
    if op == "Reshape":
        return first.reshape([int(size) for size in inputs[1].ravel()])
    if op == "ExpandDims":
        return np.expand_dims(first, int(inputs[1].reshape(())))
    if op == "Squeeze":
        axes = attribute_value(node, "squeeze_dims") or attribute_value(node, "axis") or None
        return np.squeeze(first, tuple(axes) if axes else None)
    if op == "Transpose":
        return np.transpose(first, [int(axis) for axis in inputs[1]])
    if op == "Pack":
        return np.stack(inputs, attribute_value(node, "axis", 0))
    if op == "ConcatV2":
        return np.concatenate(inputs[:-1], int(inputs[-1].reshape(())))
    if op == "Concat":
        return np.concatenate(inputs[1:], int(first.reshape(())))
    if op == "StridedSlice":
        return _strided_slice(node, first, *inputs[1:4])
    if op == "Shape":
        return np.array(first.shape, DTYPES[attribute_value(node, "out_type", DataType.INT32)])
    if op == "Fill":
        return np.full(_limited(first.ravel().tolist(), inputs[1].itemsize), inputs[1].reshape(()))
    if op == "BroadcastTo":
        target = _limited(inputs[1].ravel().tolist(), first.itemsize)
        return np.array(np.broadcast_to(first, target))
    if op == "Tile":
        multiples = inputs[1].ravel().tolist()
        sizes = [size * by for size, by in zip(first.shape, multiples, strict=True)]
        _limited(sizes, first.itemsize)
        return np.tile(first, multiples)
    if op == "SelectV2":
        return np.where(*inputs)
    if op == "GatherV2" and not attribute_value(node, "batch_dims", 0):
        indices, axis = inputs[1], int(inputs[2].reshape(()))
        sizes = [*first.shape[:axis], *indices.shape, *first.shape[axis:][1:]]
        _limited(sizes, first.itemsize)
        return np.take(first, indices, axis)
    if op == "Range":
        start, stop, step = (values.reshape(()).item() for values in inputs)
        if step == 0:
            return None
        _limited([max(0, math.ceil((stop - start) / step))], first.itemsize)
        return np.asarray(np.arange(start, stop, step), dtype=first.dtype)
    return None


def compute(node: Any, inputs: Sequence[Array]) -> Array | None:
    """Return output 0 of ``node`` for constant ``inputs``, or None: the operation is not known.

    Raises:
        GraphError: the inputs do not fit the operation, or the result would be huge.
    """
    op = node.op
    try:
        with np.errstate(all="ignore"):
            if op == "Const":
                return tensor_to_array(node.attr["value"].tensor)
            result: Any = None
            if not inputs or any(values.dtype == object for values in inputs):
                return None
            if op == "Identity":
                result = inputs[0]
            elif op in _UNARY:
                result = _UNARY[op](inputs[0])
            elif op in _BINARY:
                left, right = inputs
                if op in ("RealDiv", "Pow", "FloorDiv", "FloorMod") and left.dtype.kind != "f":
                    return None
                _limited(np.broadcast_shapes(left.shape, right.shape), left.itemsize)
                result = _BINARY[op](left, right)
            elif op in _REDUCTIONS:
                axes = tuple(int(axis) for axis in inputs[1].ravel())
                keep = bool(attribute_value(node, "keep_dims", False))
                result = _REDUCTIONS[op](inputs[0], axis=axes, keepdims=keep)
                result = np.asarray(result).astype(inputs[0].dtype)
            elif op == "Cast":
                target = DTYPES.get(attribute_value(node, "DstT", 0))
                result = None if target is None else inputs[0].astype(target)
            elif op == "Dequantize":
                result = dequantize(
                    node, inputs[0], float(inputs[1].reshape(())), float(inputs[2].reshape(()))
                )
            else:
                result = moved(node, inputs)
    except GraphError:
        raise
    except Exception as error:  # NumPy raises what its own code makes of impossible values
        raise GraphError(
            f"the graph is damaged: {node.name!r} ({op}) cannot be computed: {first_line(error)}"
        ) from error
    return None if result is None else np.asarray(result)
