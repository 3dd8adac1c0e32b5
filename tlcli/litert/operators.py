"""How each operation of a plain graph is written in LiteRT.

A converter gets the conversion and a node whose inputs were written; it writes operators,
or raises `UnsupportedGraphError`. Numbers are those of LiteRT's schema.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tlcli.graph.constant_ops import attribute_value
from tlcli.graph.nodes import DataType, Shape
from tlcli.graph.surgery import data_inputs
from tlcli.litert.conversion import Conversion, Tensor, unsupported
from tlcli.litert.flatbuffer import OperatorOptions
from tlcli.litert.layers import convolution, dense, fits_same, pool

Converter = Callable[[Conversion, Any], None]

_CONCATENATION, _LOCAL_RESPONSE_NORMALIZATION = 2, 13
_RESHAPE, _RESIZE_BILINEAR, _SOFTMAX, _STRIDED_SLICE = 22, 23, 25, 45
_PAD, _TRANSPOSE, _PADV2, _LEAKY_RELU, _MIRROR_PAD = 34, 39, 60, 98, 100

# Operators without options.
_SIMPLE = {
    "Relu": 19,
    "Relu6": 21,
    "Sigmoid": 14,
    "Tanh": 28,
    "Elu": 111,
    "Exp": 47,
    "Log": 73,
    "Sqrt": 75,
    "Rsqrt": 76,
    "Square": 92,
    "Abs": 101,
    "Neg": 59,
    "Floor": 8,
    "LogSoftmax": 50,
    "Maximum": 55,
    "Minimum": 57,
    "Pow": 78,
    "SquaredDifference": 99,
}
# (operator, kind of its options)
_FUSING = {
    "Add": (0, 11),
    "AddV2": (0, 11),
    "BiasAdd": (0, 11),
    "Sub": (41, 28),
    "Mul": (18, 21),
    "RealDiv": (42, 29),
    "Div": (42, 29),
}
_REDUCING = {"Mean": 40, "Sum": 74, "Max": 82, "Min": 89}
_REDUCER_OPTIONS = 27


def _simple(conversion: Conversion, node: Any) -> None:
    inputs = [conversion.index(source) for source in data_inputs(node)]
    conversion.emit(_SIMPLE[node.op], inputs, (node.name, 0))


def _leaky_relu(conversion: Conversion, node: Any) -> None:
    source = conversion.index(data_inputs(node)[0])
    options = OperatorOptions(75, (("float", attribute_value(node, "alpha", 0.2)),))
    conversion.emit(_LEAKY_RELU, [source], (node.name, 0), options)


def _softmax(conversion: Conversion, node: Any) -> None:
    source = conversion.index(data_inputs(node)[0])
    conversion.emit(_SOFTMAX, [source], (node.name, 0), OperatorOptions(9, (("float", 1.0),)))


def _response_normalisation(conversion: Conversion, node: Any) -> None:
    source = conversion.index(data_inputs(node)[0])
    options = OperatorOptions(
        13,
        (
            ("int32", attribute_value(node, "depth_radius", 5)),
            ("float", attribute_value(node, "bias", 1.0)),
            ("float", attribute_value(node, "alpha", 1.0)),
            ("float", attribute_value(node, "beta", 0.5)),
        ),
    )
    conversion.emit(_LOCAL_RESPONSE_NORMALIZATION, [source], (node.name, 0), options)


def _fusing(conversion: Conversion, node: Any) -> None:
    """Write an operation on two tensors that LiteRT can end with a Relu."""
    if node.op == "BiasAdd" and attribute_value(node, "data_format", "NHWC") != "NHWC":
        raise unsupported(node, "its channels come first")
    inputs = [conversion.index(source) for source in data_inputs(node)]
    code, kind = _FUSING[node.op]
    result, activation = conversion.absorb_activation((node.name, 0))
    conversion.emit(code, inputs, result, OperatorOptions(kind, (("int8", activation),)))


def _reduce(conversion: Conversion, node: Any) -> None:
    source = data_inputs(node)[0]
    rank = len(conversion.shape(source))
    axes = sorted({int(axis) % rank for axis in conversion.wanted_constant(node, 1).ravel()})
    inputs = [conversion.index(source), conversion.add_integers(f"{node.name}/axes", axes)]
    keep = bool(attribute_value(node, "keep_dims", False))
    options = OperatorOptions(_REDUCER_OPTIONS, (("bool", keep),))
    conversion.emit(_REDUCING[node.op], inputs, (node.name, 0), options)


def _reshape(conversion: Conversion, node: Any) -> None:
    """Write any operation that changes nothing but the sizes, with a free batch."""
    source, result = data_inputs(node)[0], (node.name, 0)
    given: list[int]
    if node.op == "Reshape" and conversion.constant(data_inputs(node)[1]) is not None:
        given = [int(size) for size in conversion.wanted_constant(node, 1).ravel()]
        given = _one_free(given, conversion.shape(source), conversion.shape(result))
    else:
        given = [-1 if size is None else size for size in conversion.shape(result)]
    if given.count(-1) > 1:
        raise unsupported(node, "it leaves two sizes open")
    sizes = conversion.add_integers(f"{node.name}/sizes", given)
    options = OperatorOptions(17, (("ints", given),))
    conversion.emit(_RESHAPE, [conversion.index(source), sizes], result, options)


def _one_free(given: list[int], before: Shape, after: Shape) -> list[int]:
    """Return the sizes with the batch free and all others fixed, where that is the same."""
    sizes = [-1 if size is None else size for size in after]
    known = None not in before[1:] and None not in after[1:]
    if before and after and known and before[0] is None and after[0] is None:
        rows = [math.prod(size or 0 for size in shape[1:]) for shape in (before, after)]
        if rows[0] == rows[1]:
            return sizes
    return given


def _pad(conversion: Conversion, node: Any) -> None:
    source, result = data_inputs(node)[0], (node.name, 0)
    pads = conversion.wanted_constant(node, 1).astype(np.int32)
    value = 0.0
    if node.op == "PadV2":
        value = float(conversion.wanted_floats(node, 2).reshape(()))
    if value == 0:
        reader = conversion.only_reader(result)
        if reader is not None and fits_same(conversion, reader, conversion.shape(source), pads):
            conversion.pad_as_same(reader)
            conversion.pass_on(source, result)
            return
    inputs = [conversion.index(source), conversion.add_constant(f"{node.name}/pads", pads)]
    if value == 0:
        conversion.emit(_PAD, inputs, result, OperatorOptions(22))
        return
    inputs.append(conversion.add_constant(f"{node.name}/value", np.array([value], np.float32)))
    conversion.emit(_PADV2, inputs, result, OperatorOptions(43))


def _mirror_pad(conversion: Conversion, node: Any) -> None:
    pads = conversion.wanted_constant(node, 1).astype(np.int32)
    inputs = [
        conversion.index(data_inputs(node)[0]),
        conversion.add_constant(f"{node.name}/pads", pads),
    ]
    symmetric = attribute_value(node, "mode", "REFLECT") == "SYMMETRIC"
    options = OperatorOptions(77, (("int8", int(symmetric)),))
    conversion.emit(_MIRROR_PAD, inputs, (node.name, 0), options)


def _concatenate(conversion: Conversion, node: Any) -> None:
    sources = data_inputs(node)
    number = 0 if node.op == "Concat" else len(sources) - 1
    axis = int(conversion.wanted_constant(node, number).reshape(()))
    joined = sources[1:] if number == 0 else sources[:-1]
    axis %= len(conversion.shape(joined[0]))
    inputs = [conversion.index(source) for source in joined]
    options = OperatorOptions(10, (("int32", axis), ("int8", 0)))
    conversion.emit(_CONCATENATION, inputs, (node.name, 0), options)


def _transpose(conversion: Conversion, node: Any) -> None:
    order = conversion.wanted_constant(node, 1).ravel().tolist()
    inputs = [
        conversion.index(data_inputs(node)[0]),
        conversion.add_integers(f"{node.name}/order", order),
    ]
    conversion.emit(_TRANSPOSE, inputs, (node.name, 0), OperatorOptions(26))


def _strided_slice(conversion: Conversion, node: Any) -> None:
    bounds = [
        conversion.add_integers(f"{node.name}/{name}", conversion.wanted_constant(node, number))
        for number, name in enumerate(("begin", "end", "step"), 1)
    ]
    masks = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    options = OperatorOptions(
        32, tuple(("int32", attribute_value(node, mask, 0)) for mask in masks)
    )
    inputs = [conversion.index(data_inputs(node)[0]), *bounds]
    conversion.emit(_STRIDED_SLICE, inputs, (node.name, 0), options)


def _resize_bilinear(conversion: Conversion, node: Any) -> None:
    size = conversion.wanted_constant(node, 1).ravel().tolist()
    inputs = [
        conversion.index(data_inputs(node)[0]),
        conversion.add_integers(f"{node.name}/size", size),
    ]
    centres = bool(attribute_value(node, "half_pixel_centers", False))
    corners = bool(attribute_value(node, "align_corners", False))
    options = OperatorOptions(15, (("bool", corners), ("bool", centres)), first_slot=2)
    version = 3 if centres else 1
    conversion.emit(_RESIZE_BILINEAR, inputs, (node.name, 0), options, version)


def _identity(conversion: Conversion, node: Any) -> None:
    for number, source in enumerate(data_inputs(node)):
        conversion.pass_on(source, (node.name, number))


CONVERTERS: dict[str, Converter] = {
    **dict.fromkeys(_SIMPLE, _simple),
    **dict.fromkeys(_FUSING, _fusing),
    **dict.fromkeys(_REDUCING, _reduce),
    "Conv2D": convolution,
    "DepthwiseConv2dNative": convolution,
    "MatMul": dense,
    "AvgPool": pool,
    "MaxPool": pool,
    "LeakyRelu": _leaky_relu,
    "Softmax": _softmax,
    "LRN": _response_normalisation,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "ExpandDims": _reshape,
    "Pad": _pad,
    "PadV2": _pad,
    "MirrorPad": _mirror_pad,
    "Concat": _concatenate,
    "ConcatV2": _concatenate,
    "Transpose": _transpose,
    "StridedSlice": _strided_slice,
    "ResizeBilinear": _resize_bilinear,
    "Identity": _identity,
}
"""The operations that can be written, by name."""


def convert_node(conversion: Conversion, node: Any) -> None:
    """Write the operators that do what ``node`` does.

    Raises:
        UnsupportedGraphError: it is not known how.
    """
    converter = CONVERTERS.get(node.op)
    if converter is None:
        raise unsupported(node, "it is not known how")
    if attribute_value(node, "T", DataType.FLOAT) != DataType.FLOAT:
        raise unsupported(node, "it computes no float32")
    inputs: list[Tensor] = data_inputs(node)
    if not inputs:
        raise unsupported(node, "it has no input")
    converter(conversion, node)
