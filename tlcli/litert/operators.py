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
from tlcli.litert.conversion import Conversion, unsupported
from tlcli.litert.flatbuffer import OperatorOptions
from tlcli.litert.layers import convolution, dense, fits_same, pool
from tlcli.litert.matrices import batch_matmul, erfc

_CONCATENATION, _RESHAPE, _RESIZE_BILINEAR, _SOFTMAX = 2, 22, 23, 25
_PAD, _PADV2, _MIRROR_PAD = 34, 60, 100

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
# (operator, kind of its options, (type, attribute, default) of each)
_WITH_OPTIONS: dict[str, tuple[int, int, list[tuple[str, str, Any]]]] = {
    "LeakyRelu": (98, 75, [("float", "alpha", 0.2)]),
    "LRN": (
        13,
        13,
        [
            ("int32", "depth_radius", 5),
            ("float", "bias", 1.0),
            ("float", "alpha", 1.0),
            ("float", "beta", 0.5),
        ],
    ),
    "Transpose": (39, 26, []),
    "StridedSlice": (
        45,
        32,
        [
            ("int32", f"{name}_mask", 0)
            for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
        ],
    ),
}
# Their inputs after the first, which must be constant.
_CONSTANT_INPUTS = {"Transpose": ["order"], "StridedSlice": ["begin", "end", "step"]}
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


def _simple(conversion: Conversion, node: Any) -> None:
    inputs = [conversion.index(source) for source in data_inputs(node)]
    conversion.emit(_SIMPLE[node.op], inputs, (node.name, 0))


def _with_options(conversion: Conversion, node: Any) -> None:
    code, kind, options = _WITH_OPTIONS[node.op]
    fields = tuple((type, attribute_value(node, key, default)) for type, key, default in options)
    inputs = [conversion.first_index(node)]
    for number, name in enumerate(_CONSTANT_INPUTS.get(node.op, []), 1):
        inputs.append(_constant_input(conversion, node, number, name))
    conversion.emit(code, inputs, (node.name, 0), OperatorOptions(kind, fields))


def _constant_input(conversion: Conversion, node: Any, number: int, name: str) -> int:
    """Write an input that must be constant as int32."""
    values = conversion.wanted_constant(node, number)
    return conversion.add_integers(f"{node.name}/{name}", values)


def _softmax(conversion: Conversion, node: Any) -> None:
    source = conversion.first_index(node)
    conversion.emit(_SOFTMAX, [source], (node.name, 0), OperatorOptions(9, (("float", 1.0),)))


def _fusing(conversion: Conversion, node: Any) -> None:
    """Write an operation on two tensors that LiteRT can end with a Relu."""
    if node.op == "BiasAdd" and attribute_value(node, "data_format", "NHWC") != "NHWC":
        raise unsupported(node, "its channels come first")
    inputs = [conversion.index(source) for source in data_inputs(node)]
    code, kind = _FUSING[node.op]
    result, activation = conversion.absorb_activation((node.name, 0))
    conversion.emit(code, inputs, result, OperatorOptions(kind, (("int8", activation),)))


def _reduce(conversion: Conversion, node: Any) -> None:
    rank = len(conversion.shape(data_inputs(node)[0]))
    axes = sorted({int(axis) % rank for axis in conversion.wanted_constant(node, 1).ravel()})
    inputs = [conversion.first_index(node), conversion.add_integers(f"{node.name}/axes", axes)]
    keep = bool(attribute_value(node, "keep_dims", False))
    options = OperatorOptions(27, (("bool", keep),))
    conversion.emit(_REDUCING[node.op], inputs, (node.name, 0), options)


def _reshape(conversion: Conversion, node: Any) -> None:
    """Write any operation that changes nothing but the sizes, with a free batch."""
    source, result = data_inputs(node)[0], (node.name, 0)
    before, after = conversion.shape(source), conversion.shape(result)
    sizes = [-1 if size is None else size for size in after]
    if node.op == "Reshape" and not _keeps_batch(before, after):
        given = conversion.constant(data_inputs(node)[1])
        sizes = sizes if given is None else given.ravel().tolist()
    if sizes.count(-1) > 1:
        raise unsupported(node, "it leaves two sizes open")
    number = conversion.add_integers(f"{node.name}/sizes", sizes)
    options = OperatorOptions(17, (("ints", sizes),))
    conversion.emit(_RESHAPE, [conversion.index(source), number], result, options)


def _keeps_batch(before: Shape, after: Shape) -> bool:
    """Return whether the batch is free and each of its rows has as many values as before."""
    if before[:1] != (None,) or after[:1] != (None,) or None in (*before[1:], *after[1:]):
        return False
    rows = [math.prod(size or 0 for size in shape[1:]) for shape in (before, after)]
    return rows[0] == rows[1]


def _pad(conversion: Conversion, node: Any) -> None:
    source, result = data_inputs(node)[0], (node.name, 0)
    pads = conversion.wanted_constant(node, 1).astype(np.int32)
    value = 0.0
    if node.op == "PadV2":
        value = float(conversion.wanted_floats(node, 2).reshape(()))
    if value == 0:
        reader = conversion.only_reader(result)
        if reader is not None and fits_same(conversion, reader, conversion.shape(source), pads):
            conversion.padded_as_same.add(reader.name)
            conversion.pass_on(source, result)
            return
    inputs = [conversion.index(source), conversion.add_constant(f"{node.name}/pads", pads)]
    if value == 0:
        conversion.emit(_PAD, inputs, result, OperatorOptions(22))
        return
    inputs.append(conversion.add_constant(f"{node.name}/value", np.array([value], np.float32)))
    conversion.emit(_PADV2, inputs, result, OperatorOptions(43))


def _mirror_pad(conversion: Conversion, node: Any) -> None:
    inputs = [conversion.first_index(node), _constant_input(conversion, node, 1, "pads")]
    symmetric = attribute_value(node, "mode", "REFLECT") == "SYMMETRIC"
    options = OperatorOptions(77, (("int8", int(symmetric)),))
    conversion.emit(_MIRROR_PAD, inputs, (node.name, 0), options)


def _concatenate(conversion: Conversion, node: Any) -> None:
    sources = data_inputs(node)
    number = 0 if node.op == "Concat" else len(sources) - 1
    axis = int(conversion.wanted_constant(node, number).reshape(()))
    del sources[number]
    axis %= len(conversion.shape(sources[0]))
    inputs = [conversion.index(source) for source in sources]
    options = OperatorOptions(10, (("int32", axis), ("int8", 0)))
    conversion.emit(_CONCATENATION, inputs, (node.name, 0), options)


def _resize_bilinear(conversion: Conversion, node: Any) -> None:
    inputs = [conversion.first_index(node), _constant_input(conversion, node, 1, "size")]
    centres = bool(attribute_value(node, "half_pixel_centers", False))
    corners = bool(attribute_value(node, "align_corners", False))
    # The first two slots held the size once.
    absent = ("int32", 0)
    options = OperatorOptions(15, (absent, absent, ("bool", corners), ("bool", centres)))
    conversion.emit(_RESIZE_BILINEAR, inputs, (node.name, 0), options, 3 if centres else 1)


def _identity(conversion: Conversion, node: Any) -> None:
    for number, source in enumerate(data_inputs(node)):
        conversion.pass_on(source, (node.name, number))


CONVERTERS: dict[str, Callable[[Conversion, Any], None]] = {
    **dict.fromkeys(_SIMPLE, _simple),
    **dict.fromkeys(_WITH_OPTIONS, _with_options),
    **dict.fromkeys(_FUSING, _fusing),
    **dict.fromkeys(_REDUCING, _reduce),
    "Conv2D": convolution,
    "DepthwiseConv2dNative": convolution,
    "MatMul": dense,
    "BatchMatMul": batch_matmul,
    "BatchMatMulV2": batch_matmul,
    "Erfc": erfc,
    "AvgPool": pool,
    "MaxPool": pool,
    "Softmax": _softmax,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "ExpandDims": _reshape,
    "Pad": _pad,
    "PadV2": _pad,
    "MirrorPad": _mirror_pad,
    "Concat": _concatenate,
    "ConcatV2": _concatenate,
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
    if not data_inputs(node):
        raise unsupported(node, "it has no input")
    converter(conversion, node)
