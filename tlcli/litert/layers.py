"""Convolutions, dense layers and pooling in LiteRT, with bias and activation in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.graph.constant_ops import attribute_value
from tlcli.graph.nodes import Shape
from tlcli.graph.shape_inference import windows
from tlcli.graph.surgery import data_inputs
from tlcli.litert.conversion import Conversion, Tensor, unsupported
from tlcli.litert.flatbuffer import OperatorOptions

_AVERAGE_POOL, _CONV, _DEPTHWISE, _DENSE, _MAX_POOL, _PAD = 1, 3, 4, 9, 17, 34
_PADDINGS = {"SAME": 0, "VALID": 1}


def convolution(conversion: Conversion, node: Any) -> None:
    """Write a ``Conv2D`` or ``DepthwiseConv2dNative``."""
    sources = data_inputs(node)
    shape = conversion.shape(sources[0])
    weights = conversion.wanted_floats(node, 1)
    if weights.ndim != 4 or len(shape) != 4:
        raise unsupported(node, "it has not four dimensions")
    dilations = _steps(node, "dilations")
    image = conversion.index(sources[0])
    padding = conversion.padding(node)
    if padding == "EXPLICIT":
        pads = np.array(attribute_value(node, "explicit_paddings"), np.int32).reshape(4, 2)
        padding = "SAME" if _is_same(node, weights, shape, pads) else "VALID"
        if padding == "VALID" and pads.any():
            image = _padded(conversion, node, image, shape, pads)
    height, width, depth, last = weights.shape
    depthwise = node.op == "DepthwiseConv2dNative"
    channels = depth * last if depthwise else last
    if depthwise:
        kernel = weights.reshape(1, height, width, channels)
    else:
        kernel = weights.transpose(3, 0, 1, 2)  # [h, w, in, out] -> [out, h, w, in]
    inputs, result, activation = _weighted(conversion, node, image, kernel, channels)
    multiplier = (("int32", last),) if depthwise else ()
    fields = (
        *_padding_and_strides(node, padding),
        *multiplier,
        ("int8", activation),
        ("int32", dilations[1]),
        ("int32", dilations[0]),
    )
    options = OperatorOptions(2 if depthwise else 1, fields)
    dilated = depthwise and dilations != (1, 1)
    code = _DEPTHWISE if depthwise else _CONV
    conversion.emit(code, inputs, result, options, 2 if dilated else 1)


def dense(conversion: Conversion, node: Any) -> None:
    """Write a ``MatMul`` with constant weights."""
    sources = data_inputs(node)
    weights = conversion.wanted_floats(node, 1)
    if attribute_value(node, "transpose_a", False) or len(conversion.shape(sources[0])) != 2:
        raise unsupported(node, "its first matrix is turned")
    if not attribute_value(node, "transpose_b", False):
        weights = weights.T  # [in, out] -> [out, in]
    image = conversion.index(sources[0])
    inputs, result, activation = _weighted(conversion, node, image, weights, weights.shape[0])
    conversion.emit(_DENSE, inputs, result, OperatorOptions(8, (("int8", activation),)))


def pool(conversion: Conversion, node: Any) -> None:
    """Write an ``AvgPool`` or ``MaxPool``; neither counts what is padded."""
    source = conversion.first_index(node)
    window = _steps(node, "ksize")
    result, activation = conversion.absorb_activation((node.name, 0))
    fields = (
        *_padding_and_strides(node, conversion.padding(node)),
        ("int32", window[1]),
        ("int32", window[0]),
        ("int8", activation),
    )
    code = _AVERAGE_POOL if node.op == "AvgPool" else _MAX_POOL
    conversion.emit(code, [source], result, OperatorOptions(5, fields))


def _weighted(
    conversion: Conversion, node: Any, image: int, kernel: Array, channels: int
) -> tuple[list[int], Tensor, int]:
    """Write weights and biases; return the operator's inputs, its result and its activation."""
    result, bias = conversion.absorb_bias((node.name, 0), channels)
    result, activation = conversion.absorb_activation(result)
    weights = conversion.add_constant(f"{node.name}/weights", kernel)
    biases = conversion.add_constant(f"{node.name}/biases", bias)
    return [image, weights, biases], result, activation


def fits_same(conversion: Conversion, node: Any, shape: Shape, pads: Array) -> bool:
    """Return whether ``node``, a convolution, would pad ``shape`` with zeros as ``pads`` do."""
    if node.op not in ("Conv2D", "DepthwiseConv2dNative") or conversion.padding(node) != "VALID":
        return False
    weights = conversion.constant(data_inputs(node)[1])
    return weights is not None and weights.ndim == 4 and _is_same(node, weights, shape, pads)


def _is_same(node: Any, weights: Array, shape: Shape, pads: Array) -> bool:
    if len(shape) != 4 or pads.shape != (4, 2) or pads[[0, 3]].any():
        return False
    pairs, _ = windows(node, (weights.shape[0], weights.shape[1]))
    for axis, (extent, stride) in enumerate(pairs, 1):
        size = shape[axis]
        if size is None:
            return False
        total = max(0, ((size - 1) // stride) * stride + extent - size)
        # As many results, too: padding that reaches no window adds none.
        if [total // 2, total - total // 2] != pads[axis].tolist():
            return False
        if (size + total - extent) // stride != (size - 1) // stride:
            return False
    return True


def _padded(conversion: Conversion, node: Any, image: int, shape: Shape, pads: Array) -> int:
    """Write the zeros around an image; return the number of the result."""
    sizes = tuple(
        None if size is None else size + int(sum(pair))
        for size, pair in zip(shape, pads.tolist(), strict=True)
    )
    result = conversion.model.add_tensor(f"{node.name}/padded", sizes)
    inputs = [image, conversion.add_constant(f"{node.name}/pads", pads)]
    conversion.model.add_operator(_PAD, inputs, [result], OperatorOptions(22))
    return result


def _padding_and_strides(node: Any, padding: str) -> tuple[tuple[str, int], ...]:
    """Return the first three options of an operator with a sliding window."""
    if padding not in _PADDINGS:
        raise unsupported(node, f"its padding is {padding}")
    height, width = _steps(node, "strides")
    return ("int8", _PADDINGS[padding]), ("int32", width), ("int32", height)


def _steps(node: Any, key: str) -> tuple[int, int]:
    """Return the height and width entries of an attribute of four numbers."""
    if attribute_value(node, "data_format", "NHWC") != "NHWC":
        raise unsupported(node, "its channels come first")
    values = attribute_value(node, key) or [1, 1, 1, 1]
    if len(values) != 4 or values[0] != 1 or values[3] != 1:
        raise unsupported(node, f"its {key} are {values}")
    return int(values[1]), int(values[2])
