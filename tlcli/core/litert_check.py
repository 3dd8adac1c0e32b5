"""What a LiteRT file may hold, looked at before LiteRT loads it.

LiteRT's interpreter checks that the tables of a file lie inside it, but its kernels trust
what the tables say: a convolution without its bias, or one that reads a tensor which nothing
computes, ends the whole process. So operators, the number of their tensors and the order in
which they are computed are checked here, from the bytes alone and without importing LiteRT.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from tlcli.core.litert_names import OTHER_OPERATORS
from tlcli.core.text_table import counted
from tlcli.errors import GraphError

LARGEST_TENSOR = 1 << 30
"""Bytes of one tensor; the largest of any known image network has some 100 MB."""
LARGEST_FILE = (1 << 31) - 1
"""Offsets in a flatbuffer are signed 32-bit numbers."""

_IDENTIFIER = b"TFL3"
_MOST_TENSORS = 100_000
_LARGEST_RANK = 8
_LONGEST_NAME = 100
_PLACEHOLDER_CODE = 127
_CUSTOM = 32
# No stack, no matter how a network joins its branches, has more.
_MANY = 1024


@dataclass(frozen=True)
class _Rule:
    """How many tensors an operator takes and gives, and how they must be.

    Attributes:
        inputs: fewest and most.
        outputs: likewise.
        optional: inputs that may be absent (-1).
        constant: inputs that must be constants: they say how large the result is.
    """

    inputs: tuple[int, int]
    outputs: tuple[int, int] = (1, 1)
    optional: tuple[int, ...] = ()
    constant: tuple[int, ...] = ()


_ONE = _Rule((1, 1))
_TWO = _Rule((2, 2))
_THREE = _Rule((3, 3))
_SIZED = _Rule((2, 2), constant=(1,))
_BIASED = _Rule((3, 3), optional=(2,))

_RULES: dict[int, tuple[str, _Rule]] = {
    0: ("ADD", _TWO),
    1: ("AVERAGE_POOL_2D", _ONE),
    2: ("CONCATENATION", _Rule((1, _MANY))),
    3: ("CONV_2D", _BIASED),
    4: ("DEPTHWISE_CONV_2D", _BIASED),
    5: ("DEPTH_TO_SPACE", _ONE),
    6: ("DEQUANTIZE", _ONE),
    8: ("FLOOR", _ONE),
    9: ("FULLY_CONNECTED", _Rule((2, 3), optional=(2,))),
    11: ("L2_NORMALIZATION", _ONE),
    12: ("L2_POOL_2D", _ONE),
    13: ("LOCAL_RESPONSE_NORMALIZATION", _ONE),
    14: ("LOGISTIC", _ONE),
    17: ("MAX_POOL_2D", _ONE),
    18: ("MUL", _TWO),
    19: ("RELU", _ONE),
    20: ("RELU_N1_TO_1", _ONE),
    21: ("RELU6", _ONE),
    22: ("RESHAPE", _Rule((1, 2))),
    23: ("RESIZE_BILINEAR", _SIZED),
    25: ("SOFTMAX", _ONE),
    26: ("SPACE_TO_DEPTH", _ONE),
    28: ("TANH", _ONE),
    34: ("PAD", _SIZED),
    36: ("GATHER", _TWO),
    37: ("BATCH_TO_SPACE_ND", _Rule((3, 3), constant=(1, 2))),
    38: ("SPACE_TO_BATCH_ND", _Rule((3, 3), constant=(1, 2))),
    39: ("TRANSPOSE", _SIZED),
    40: ("MEAN", _SIZED),
    41: ("SUB", _TWO),
    42: ("DIV", _TWO),
    43: ("SQUEEZE", _ONE),
    45: ("STRIDED_SLICE", _Rule((4, 4))),
    47: ("EXP", _ONE),
    48: ("TOPK_V2", _Rule((2, 2), (2, 2), constant=(1,))),
    49: ("SPLIT", _Rule((2, 2), (1, _MANY), constant=(0,))),
    50: ("LOG_SOFTMAX", _ONE),
    53: ("CAST", _ONE),
    54: ("PRELU", _TWO),
    55: ("MAXIMUM", _TWO),
    56: ("ARG_MAX", _SIZED),
    57: ("MINIMUM", _TWO),
    58: ("LESS", _TWO),
    59: ("NEG", _ONE),
    60: ("PADV2", _Rule((3, 3), constant=(1,))),
    61: ("GREATER", _TWO),
    62: ("GREATER_EQUAL", _TWO),
    63: ("LESS_EQUAL", _TWO),
    64: ("SELECT", _THREE),
    65: ("SLICE", _THREE),
    66: ("SIN", _ONE),
    67: ("TRANSPOSE_CONV", _Rule((3, 4), optional=(3,), constant=(0,))),
    69: ("TILE", _SIZED),
    70: ("EXPAND_DIMS", _SIZED),
    71: ("EQUAL", _TWO),
    72: ("NOT_EQUAL", _TWO),
    73: ("LOG", _ONE),
    74: ("SUM", _SIZED),
    75: ("SQRT", _ONE),
    76: ("RSQRT", _ONE),
    77: ("SHAPE", _ONE),
    78: ("POW", _TWO),
    79: ("ARG_MIN", _SIZED),
    81: ("REDUCE_PROD", _SIZED),
    82: ("REDUCE_MAX", _SIZED),
    83: ("PACK", _Rule((1, _MANY))),
    84: ("LOGICAL_OR", _TWO),
    86: ("LOGICAL_AND", _TWO),
    87: ("LOGICAL_NOT", _ONE),
    88: ("UNPACK", _Rule((1, 1), (1, _MANY))),
    89: ("REDUCE_MIN", _SIZED),
    90: ("FLOOR_DIV", _TWO),
    92: ("SQUARE", _ONE),
    93: ("ZEROS_LIKE", _ONE),
    94: ("FILL", _Rule((2, 2), constant=(0,))),
    95: ("FLOOR_MOD", _TWO),
    96: ("RANGE", _Rule((3, 3), constant=(0, 1, 2))),
    97: ("RESIZE_NEAREST_NEIGHBOR", _SIZED),
    98: ("LEAKY_RELU", _ONE),
    99: ("SQUARED_DIFFERENCE", _TWO),
    100: ("MIRROR_PAD", _SIZED),
    101: ("ABS", _ONE),
    102: ("SPLIT_V", _Rule((3, 3), (1, _MANY), constant=(1, 2))),
    104: ("CEIL", _ONE),
    108: ("COS", _ONE),
    110: ("RANK", _ONE),
    111: ("ELU", _ONE),
    114: ("QUANTIZE", _ONE),
    116: ("ROUND", _ONE),
    117: ("HARD_SWISH", _ONE),
    123: ("SELECT_V2", _THREE),
    126: ("BATCH_MATMUL", _TWO),
    130: ("BROADCAST_TO", _SIZED),
    150: ("GELU", _ONE),
}
LITERT_OPERATORS = frozenset(name for name, _ in _RULES.values())
"""Operators that compute on tensors and touch nothing else."""

# Bits of each number in the schema's TensorType; the others are no numbers.
_BITS = {0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 9: 8, 10: 64, 15: 32, 16: 16, 17: 4}


class _Damaged(Exception):
    """What is wrong with a file; becomes a GraphError at the border."""


def _damaged(reason: str) -> NoReturn:
    raise _Damaged(reason)


class _Bytes:
    """Numbers at places of a flatbuffer; every place is checked."""

    def __init__(self, content: bytes | mmap.mmap) -> None:
        self._content = content

    def number(self, kind: str, place: int) -> int:
        if place < 0:
            _damaged("an offset leads out of the file")
        try:
            return int(struct.unpack_from(kind, self._content, place)[0])
        except struct.error:
            return _damaged("an offset leads out of the file")

    def root(self) -> _Table:
        if len(self._content) < 8 or self._content[4:8] != _IDENTIFIER:
            _damaged("it does not begin like one")
        return _Table(self, self.number("<I", 0))

    def vector(self, place: int, size: int) -> tuple[int, int]:
        """Return the place of the first element of a vector and how many there are."""
        start = place + self.number("<I", place)
        count = self.number("<I", start)
        if count * size > len(self._content) - start - 4:
            _damaged("a list leads out of the file")
        return start + 4, count

    def part(self, start: int, count: int) -> bytes:
        return self._content[start : start + count]

    def integers(self, place: int) -> tuple[int, ...]:
        start, count = self.vector(place, 4)
        return struct.unpack_from(f"<{count}i", self._content, start)


class _Table:
    """One table of a flatbuffer: fields by their slot."""

    def __init__(self, data: _Bytes, place: int) -> None:
        self._data, self._place = data, place
        self._slots = place - data.number("<i", place)
        self._length = data.number("<H", self._slots)

    def _field(self, slot: int) -> int | None:
        where = 4 + 2 * slot
        if where + 2 > self._length:
            return None
        offset = self._data.number("<H", self._slots + where)
        return self._place + offset if offset else None

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        place = self._field(slot)
        return default if place is None else self._data.number(kind, place)

    def integers(self, slot: int) -> tuple[int, ...]:
        place = self._field(slot)
        return () if place is None else self._data.integers(place)

    def length(self, slot: int) -> int | None:
        """Return how many bytes a vector of bytes holds; None: there is none."""
        place = self._field(slot)
        return None if place is None else self._data.vector(place, 1)[1]

    def text(self, slot: int) -> str:
        """Return the beginning of a text, "" where there is none."""
        place = self._field(slot)
        if place is None:
            return ""
        start, count = self._data.vector(place, 1)
        return self._data.part(start, min(count, _LONGEST_NAME)).decode("utf-8", "replace")

    def table(self, slot: int) -> _Table | None:
        place = self._field(slot)
        if place is None:
            return None
        return _Table(self._data, place + self._data.number("<I", place))

    def tables(self, slot: int) -> list[_Table]:
        place = self._field(slot)
        if place is None:
            return []
        start, count = self._data.vector(place, 4)
        if count > _MOST_TENSORS:
            _damaged(f"it holds more than {_MOST_TENSORS} entries in one list")
        return [
            _Table(self._data, at + self._data.number("<I", at))
            for at in range(start, start + 4 * count, 4)
        ]


def check_litert(content: bytes | mmap.mmap, name: str) -> None:
    """Refuse a LiteRT file whose operators inference does not need, or that would crash.

    Args:
        content: of the file.
        name: what the error calls it.

    Raises:
        GraphError: it is damaged, or holds an operator outside the list, which is named.
    """
    if len(content) > LARGEST_FILE:
        raise GraphError(f"{name} has more than 2 GB, and no LiteRT file can have; give another")
    try:
        _check_model(_Bytes(content).root(), name)
    except _Damaged as error:
        raise GraphError(
            f"{name} is no LiteRT model that can be run: {error}; give another file"
        ) from error


def _check_model(model: _Table, name: str) -> None:
    entries = model.tables(1)
    codes = [_code(entry) for entry in entries]
    graphs = model.tables(2)
    if not graphs:
        _damaged("it holds no graph")
    # What it does comes before what is wrong with its tensors.
    for operator in graphs[0].tables(3):
        number = operator.number(0, "<I")
        if number < len(codes) and codes[number] not in _RULES:
            raise _outside(name, _spell(entries[number]))
    # How long the constant in each buffer is, 0 for none. One that lies behind the tables
    # (offset and size, for files above 2 GB) is not read.
    buffers = []
    for buffer in model.tables(4):
        if buffer.number(1, "<Q") > 1 or buffer.number(2, "<Q") > 1:
            _damaged("its constants lie outside its tables")
        buffers.append(buffer.length(0) or 0)
    for number, graph in enumerate(graphs):
        if number:
            # Bodies of loops and branches, which no operator in the list calls.
            raise _outside(name, "a second graph")
        _check_graph(graph, codes, buffers, name)


def _code(entry: _Table) -> int:
    old, new = entry.number(0, "<b"), entry.number(3, "<i")
    return max(old, new) if old <= _PLACEHOLDER_CODE else new


def _spell(entry: _Table) -> str:
    code = _code(entry)
    if code == _CUSTOM:
        return f"the custom operator {entry.text(1)!r}"
    return f"the operator {OTHER_OPERATORS.get(code, f'with the number {code}')}"


def _outside(name: str, what: str) -> GraphError:
    return GraphError(
        f"{name} was not run: it holds {what}, which labelling images does not need and which "
        "LiteRT may not survive; add --trust if you trust its maker"
    )


def _check_graph(graph: _Table, codes: Sequence[int], buffers: Sequence[int], name: str) -> None:
    tensors = graph.tables(0)
    constants = [_check_tensor(tensor, buffers) for tensor in tensors]
    inputs, outputs = graph.integers(1), graph.integers(2)
    known = set()
    for index in inputs:
        _check_index(index, tensors)
        if constants[index]:
            _damaged("one of its inputs is a constant")
        known.add(index)
    known.update(index for index, constant in enumerate(constants) if constant)
    for operator in graph.tables(3):
        _check_operator(operator, codes, tensors, constants, known, name)
    for index in outputs:
        _check_index(index, tensors)
        if index not in known:
            _damaged("nothing computes one of its outputs")


def _check_index(index: int, tensors: Sequence[Any]) -> None:
    if not 0 <= index < len(tensors):
        _damaged(f"it names the tensor {index} of {len(tensors)}")


def _check_tensor(tensor: _Table, buffers: Sequence[int]) -> bool:
    """Return whether a tensor is a constant."""
    shape, kind = tensor.integers(0), tensor.number(1, "<b")
    if tensor.number(5, "<B"):
        _damaged("one of its tensors is a variable")
    if len(shape) > _LARGEST_RANK or any(size < 0 for size in shape):
        _damaged(f"one of its tensors has the impossible shape {list(shape[:_LARGEST_RANK])}")
    if kind not in _BITS:
        _damaged(f"one of its tensors has the type number {kind}, which holds no numbers")
    size = (math.prod(shape) * _BITS[kind] + 7) // 8
    if size > LARGEST_TENSOR:
        _damaged(f"one of its tensors has the impossible shape {list(shape)}")
    buffer = tensor.number(2, "<I")
    if buffer >= len(buffers):
        _damaged(f"it names the buffer {buffer} of {len(buffers)}")
    length = buffers[buffer]
    if tensor.table(6) is not None:
        _damaged("one of its constants is sparse")
    if length and length != size:
        _damaged(f"a constant of the shape {list(shape)} has {counted(length, 'byte')}")
    return length > 0 or size == 0


def _check_operator(
    operator: _Table,
    codes: Sequence[int],
    tensors: Sequence[_Table],
    constants: Sequence[bool],
    known: set[int],
    name: str,
) -> None:
    number = operator.number(0, "<I")
    if number >= len(codes):
        _damaged(f"it names the operator {number} of {len(codes)}")
    code = codes[number]
    kind, rule = _RULES[code]
    inputs, outputs = operator.integers(1), operator.integers(2)
    for what, found, (fewest, most) in (
        ("inputs", inputs, rule.inputs),
        ("outputs", outputs, rule.outputs),
    ):
        if not fewest <= len(found) <= most:
            _damaged(f"one of its {kind} has {len(found)} {what}")
    for place, index in enumerate(inputs):
        if index == -1 and place in rule.optional:
            continue
        _check_index(index, tensors)
        if index not in known:
            _damaged(f"one of its {kind} reads what nothing computed")
        if place in rule.constant and not constants[index]:
            raise _outside(name, f"a {kind} whose result's size is computed")
    if len(set(outputs)) != len(outputs):
        _damaged(f"one of its {kind} gives a tensor twice")
    for index in outputs:
        _check_index(index, tensors)
        if index in known:
            _damaged(f"one of its {kind} gives a tensor that was there before")
        known.add(index)
