"""LiteRT files of one operator each, with something changed: for `tests.fuzz.models`."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tests.fuzz.odd_values import FLOATS, INTEGERS, integer
from tlcli.litert.safety_rules import OPERATORS

_BINARY = frozenset(
    """
    ADD MUL SUB DIV MAXIMUM MINIMUM LESS GREATER GREATER_EQUAL LESS_EQUAL EQUAL NOT_EQUAL POW
    LOGICAL_OR LOGICAL_AND FLOOR_DIV FLOOR_MOD SQUARED_DIFFERENCE BATCH_MATMUL CONCATENATION PACK
    """.split()  # noqa: SIM905
)
# The tensors behind the image, as arrays; "x" is the image again.
_WITH: dict[str, list[Any]] = {
    "CONV_2D": [np.ones((4, 3, 3, 3)), np.zeros(4)],
    "DEPTHWISE_CONV_2D": [np.ones((1, 3, 3, 3)), np.zeros(3)],
    "FULLY_CONNECTED": [np.ones((4, 3)), np.zeros(4)],
    "RESHAPE": [[1, -1]],
    "RESIZE_BILINEAR": [[4, 5]],
    "RESIZE_NEAREST_NEIGHBOR": [[4, 5]],
    "PAD": [[[0, 0], [1, 1], [2, 0], [0, 0]]],
    "PADV2": [[[0, 0], [1, 1], [2, 0], [0, 0]], np.array(1.0)],
    "MIRROR_PAD": [[[0, 0], [1, 1], [2, 0], [0, 0]]],
    "GATHER": [[0, 0]],
    "BATCH_TO_SPACE_ND": [[1, 1], [[0, 0], [0, 0]]],
    "SPACE_TO_BATCH_ND": [[1, 1], [[0, 0], [0, 0]]],
    "TRANSPOSE": [[0, 2, 1, 3]],
    "STRIDED_SLICE": [[0, 1, 1, 0], [1, 5, 7, 3], [1, 2, 1, 1]],
    "SLICE": [[0, 1, 1, 0], [1, 3, -1, 3]],
    "TOPK_V2": [2],
    "TILE": [[1, 2, 1, 1]],
    "EXPAND_DIMS": [1],
    "ARG_MAX": [3],
    "ARG_MIN": [3],
    "BROADCAST_TO": [[1, 8, 8, 3]],
    "PRELU": [np.ones((1, 1, 3))],
    "SELECT": ["x", "x"],
    "SELECT_V2": ["x", "x"],
    **{name: [[1, 2]] for name in ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN")},
}
# All tensors, where the image is not the first.
_ALL: dict[str, list[Any]] = {
    "SPLIT": [3, "x"],
    "SPLIT_V": ["x", [1, 2], 3],
    "TRANSPOSE_CONV": [[1, 16, 16, 2], np.ones((2, 3, 3, 3)), "x"],
    "FILL": [[1, 8], np.array(1.0)],
    "RANGE": [0, 8, 1],
}
_OUTPUTS = {"SPLIT": 3, "SPLIT_V": 2, "UNPACK": 3, "TOPK_V2": 2}
_OPTIONS = {
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "L2_POOL_2D": "Pool2DOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "PADV2": "PadV2Options",
    "TOPK_V2": "TopKV2Options",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "BATCH_TO_SPACE_ND": "BatchToSpaceNDOptions",
    "SPACE_TO_BATCH_ND": "SpaceToBatchNDOptions",
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN"), "ReducerOptions"),
}
_TYPES = (0, 1, 2, 3, 4, 6, 7, 9, 10, 15, 16, 17)


@functools.cache
def _schema() -> Any:
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def litert_file(chance: random.Random) -> bytes:
    """Return a small file with one operator of the allow-list and up to three changes."""
    code = chance.choice(sorted(OPERATORS))
    return _packed(lambda: _model(code, OPERATORS[code]), chance, (0, 1, 1, 1, 1, 2, 3))


def changed_litert(content: bytes, chance: random.Random) -> bytes:
    """Return another LiteRT file with up to three changes in its tables."""
    schema = _schema()
    read = functools.partial(schema.ModelT.InitFromObj, schema.Model.GetRootAs(content, 0))
    return _packed(read, chance, (1, 1, 1, 2, 3))


def _packed(make: Callable[[], Any], chance: random.Random, changes: tuple[int, ...]) -> bytes:
    """Return a model with changes as bytes, drawn again where a change fits into no field."""
    import flatbuffers

    while True:
        model = make()
        for _ in range(chance.choice(changes)):
            _change(model, chance)
        builder = flatbuffers.Builder(1024)
        with suppress(TypeError, ValueError, OverflowError):
            builder.Finish(model.Pack(builder), b"TFL3")
            return bytes(builder.Output())


def _model(code: int, name: str) -> Any:
    schema = _schema()
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes = []
    image = _tensor(model, None, (1, 8, 8, 3))
    inputs = []
    for value in _ALL.get(name, ["x", *_WITH.get(name, ["x"] if name in _BINARY else [])]):
        if isinstance(value, str):
            inputs.append(image)
        else:
            kind = np.float32 if isinstance(value, np.ndarray) else np.int32
            inputs.append(_tensor(model, np.array(value, kind)))
    outputs = [_tensor(model, None, (1, 8, 8, 3)) for _ in range(_OUTPUTS.get(name, 1))]
    _operator(model, code, inputs, outputs, _options(name))
    flat, sum_, scores = (_tensor(model, None, shape) for shape in ((1, 192), (1, 1), (1, 2)))
    _operator(model, 22, [outputs[0], _tensor(model, np.array([1, -1], np.int32))], [flat])
    reducing = schema.ReducerOptionsT()
    reducing.keepDims = True
    axis = _tensor(model, np.array([1], np.int32))
    _operator(model, 74, [flat, axis], [sum_], ("ReducerOptions", reducing))
    weights, bias = np.ones((2, 1), np.float32), np.zeros(2, np.float32)
    ends = [sum_, _tensor(model, weights), _tensor(model, bias)]
    dense = ("FullyConnectedOptions", schema.FullyConnectedOptionsT())
    _operator(model, 9, ends, [scores], dense)
    graph.inputs, graph.outputs = [image], [scores]
    return model


def _tensor(model: Any, value: np.ndarray[Any, Any] | None, shape: tuple[int, ...] = ()) -> int:
    schema = _schema()
    tensor, tensors = schema.TensorT(), model.subgraphs[0].tensors
    tensor.name, tensor.shape = f"t{len(tensors)}", list(shape if value is None else value.shape)
    tensor.type = 2 if value is not None and value.dtype == np.int32 else 0
    tensor.buffer = 0
    if value is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
    tensors.append(tensor)
    return len(tensors) - 1


def _operator(
    model: Any,
    code: int,
    inputs: list[int],
    outputs: list[int],
    options: tuple[str, Any] | None = None,
) -> None:
    schema = _schema()
    kind, operator = schema.OperatorCodeT(), schema.OperatorT()
    kind.builtinCode, kind.deprecatedBuiltinCode, kind.version = code, min(code, 127), 1
    operator.opcodeIndex, operator.inputs, operator.outputs = (
        len(model.operatorCodes),
        inputs,
        outputs,
    )
    model.operatorCodes.append(kind)
    if options is not None:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
        operator.builtinOptions = options[1]
    model.subgraphs[0].operators.append(operator)


def _options(name: str) -> tuple[str, Any] | None:
    """Return an operator's options with sound values."""
    schema = _schema()
    words = "".join(part.capitalize() for part in name.split("_")) + "Options"
    kind = _OPTIONS.get(name, words)
    maker = getattr(schema, f"{kind}T", None)
    if maker is None or not hasattr(schema.BuiltinOptions, kind):
        return None
    options = maker()
    for field in vars(options):
        if field.startswith(("stride", "dilation", "filter")) or field in ("blockSize", "radius"):
            setattr(options, field, 1)
    sound = {"numSplits": 3, "valuesCount": 1, "num": 3, "axis": 3, "beta": 1.0, "alpha": 0.5}
    for field, value in sound.items():
        if hasattr(options, field):
            setattr(options, field, value)
    return kind, options


def _change(model: Any, chance: random.Random) -> None:
    """Change one thing in place: options most often, then tensors, constants and the order."""
    graph = chance.choice(model.subgraphs)
    operator = chance.choice(list(graph.operators) or [None])
    if operator is None or graph.tensors is None or not len(graph.tensors):
        return
    tensor = chance.choice(list(graph.tensors))
    kind = chance.random()
    options = operator.builtinOptions
    if kind < 0.45 and options is not None and vars(options):
        _change_field(options, chance.choice(sorted(vars(options))), chance)
    elif kind < 0.6:
        sizes = [] if tensor.shape is None else [int(size) for size in tensor.shape]
        if sizes and chance.random() < 0.8:
            sizes[chance.randrange(len(sizes))] = chance.choice((0, 1, 2, 3, 7, 8, 9, 16, 1000))
        else:
            sizes = [chance.randint(0, 4) for _ in range(chance.randint(0, 6))]
        tensor.shape = sizes
    elif kind < 0.68:
        tensor.type = chance.choice(_TYPES)
    elif kind < 0.84:
        buffers = [each for each in model.buffers if each.data is not None and len(each.data)]
        if buffers:
            _change_values(chance.choice(buffers), chance)
    elif kind < 0.9:
        _change_field(operator, chance.choice(("inputs", "outputs")), chance)
    elif kind < 0.93:
        chance.choice(list(model.operatorCodes)).version = chance.randint(0, 12)
    else:
        tensor.quantization = _quantisation(chance)
        if chance.random() < 0.5:
            tensor.type = chance.choice((3, 9, 2, 7))


def _change_field(owner: Any, field: str, chance: random.Random) -> None:
    value = getattr(owner, field)
    if isinstance(value, bool):
        setattr(owner, field, not value)
    elif isinstance(value, int):
        # Bytes take little; LiteRT's own enumerations end early.
        small = field in ("padding", "fusedActivationFunction", "mode", "type", "weightsFormat")
        setattr(owner, field, chance.randint(-2, 9) if small else integer(chance, value))
    elif isinstance(value, float):
        setattr(owner, field, chance.choice(FLOATS))
    elif value is not None and len(value) and isinstance(value[0], (int, np.integer)):
        values = [int(each) for each in value]
        values[chance.randrange(len(values))] = chance.choice((-1, 0, 1, 2, 3, 5, 100))
        setattr(owner, field, values)
    elif value is None:
        setattr(owner, field, [chance.choice(INTEGERS) for _ in range(chance.randint(0, 5))])


def _change_values(buffer: Any, chance: random.Random) -> None:
    data = np.array(buffer.data, np.uint8)
    if len(data) % 4 == 0:
        at, kind = chance.randrange(len(data) // 4), np.dtype(np.int32)
        if chance.random() < 0.3:
            data.view(np.float32)[at] = chance.choice(FLOATS)
        else:
            number = integer(chance, int(data.view(kind)[at]))
            data.view(kind)[at] = max(-(1 << 31), min((1 << 31) - 1, number))
    else:
        data[chance.randrange(len(data))] = chance.randrange(256)
    buffer.data = data


def _quantisation(chance: random.Random) -> Any:
    found = _schema().QuantizationParametersT()
    count = chance.choice((0, 1, 1, 2, 3, 4))
    found.scale = [chance.choice((0.5, *FLOATS)) for _ in range(count)]
    found.zeroPoint = [chance.choice((0, 128, *INTEGERS)) for _ in range(chance.choice((count, 1)))]
    found.quantizedDimension = chance.choice((0, 0, 1, 3, -1, 100))
    return found
