"""Check what a LiteRT file holds before LiteRT loads it.

Operators that inference does not need are refused by name, and so are sizes that would fill the
memory or change from one image to the next, and tensors that nothing computes. All is read from
the bytes alone, without importing LiteRT. What kernels make of the rest shows in a trial run
(`tlcli.core.classifier.trial`).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass

from tlcli.errors import GraphError
from tlcli.litert.safety_rules import OPERATORS, OTHER_OPERATORS, SIZING
from tlcli.litert.tables import Bytes, DamagedError, Table, damaged
from tlcli.text import counted

LARGEST_TENSOR = 1 << 30
"""Bytes of one tensor; the largest of any known image network has some 100 MB."""
LARGEST_FILE = (1 << 31) - 1
"""Offsets in a flatbuffer are signed 32-bit numbers."""

_LARGEST_RANK = 8
_PLACEHOLDER_CODE = 127
_CUSTOM = 32
# Bits of each number in the schema's TensorType; the others are no numbers.
_BITS = {0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 9: 8, 10: 64, 15: 32, 16: 16, 17: 4}


def check_litert(content: bytes | mmap.mmap, name: str) -> None:
    """Refuse a LiteRT file whose operators inference does not need, or whose tables are damaged.

    Args:
        content: of the file.
        name: what the error calls it.

    Raises:
        GraphError: it is damaged, or holds an operator outside the allow-list, which is named.
    """
    if len(content) > LARGEST_FILE:
        raise GraphError(f"{name} has more than 2 GB, and no LiteRT file can have; give another")
    try:
        _check_model(Bytes(content).root(), name)
    except DamagedError as error:
        raise GraphError(
            f"{name} is no LiteRT model that can be run: {error}; give another file"
        ) from error


def _check_model(model: Table, name: str) -> None:
    entries = model.tables(1)
    codes = [_code(entry) for entry in entries]
    graphs = model.tables(2)
    if not graphs:
        damaged("it holds no graph")
    # What it does comes before what is wrong with its tensors.
    for operator in graphs[0].tables(3):
        number = operator.number(0, "<I")
        if number < len(codes) and codes[number] not in OPERATORS:
            raise _outside(name, _spell(entries[number]))
    # How long the constant in each buffer is, 0 for none. One that lies behind the tables
    # (offset and size, for files above 2 GB) is not read.
    buffers = []
    for buffer in model.tables(4):
        if buffer.number(1, "<Q") > 1 or buffer.number(2, "<Q") > 1:
            damaged("its constants lie outside its tables")
        buffers.append(buffer.length(0) or 0)
    for number, graph in enumerate(graphs):
        if number:
            # Bodies of loops and branches, which no operator in the allow-list calls.
            raise _outside(name, "a second graph")
        _check_graph(graph, codes, buffers, name)


def _code(entry: Table) -> int:
    old, new = entry.number(0, "<b"), entry.number(3, "<i")
    return max(old, new) if old <= _PLACEHOLDER_CODE else new


def _spell(entry: Table) -> str:
    code = _code(entry)
    if code == _CUSTOM:
        return f"the custom operator {entry.text(1)!r}"
    return f"the operator {OTHER_OPERATORS.get(code, f'with the number {code}')}"


def _outside(name: str, what: str) -> GraphError:
    return GraphError(
        f"{name} was not run: it holds {what}, which labelling images does not need and which "
        "LiteRT may not survive; add --trust if you trust its maker"
    )


@dataclass(frozen=True)
class _Graph:
    """A graph whose operators are checked in the order in which they run.

    Attributes:
        name: what errors call the file.
        codes: numbers of the operators that the file lists.
        constants: for each tensor, whether it is one.
        known: indices of the tensors that are fed, constant or computed by now.
    """

    name: str
    codes: Sequence[int]
    constants: Sequence[bool]
    known: set[int]

    def check_index(self, index: int) -> None:
        if not 0 <= index < len(self.constants):
            damaged(f"it names the tensor {index} of {len(self.constants)}")

    def check_operator(self, operator: Table) -> None:
        number = operator.number(0, "<I")
        if number >= len(self.codes):
            damaged(f"it names the operator {number} of {len(self.codes)}")
        kind = OPERATORS[self.codes[number]]
        inputs, outputs = operator.integers(1), operator.integers(2)
        for position, index in enumerate(inputs):
            if index == -1:  # it is left out
                continue
            self.check_index(index)
            if index not in self.known:
                damaged(f"one of its {kind} reads what nothing computed")
            if position in SIZING.get(kind, ()) and not self.constants[index]:
                raise _outside(self.name, f"a {kind} whose result's size is computed")
        for index in outputs:
            self.check_index(index)
            if index in self.known:
                damaged(f"one of its {kind} gives a tensor that was there before")
            self.known.add(index)


def _check_graph(table: Table, codes: Sequence[int], buffers: Sequence[int], name: str) -> None:
    constants = [_check_tensor(tensor, buffers) for tensor in table.tables(0)]
    inputs, outputs = table.integers(1), table.integers(2)
    known = {index for index, constant in enumerate(constants) if constant}
    graph = _Graph(name, codes, constants, known)
    for index in inputs:
        graph.check_index(index)
        if constants[index]:
            damaged("one of its inputs is a constant")
        known.add(index)
    for operator in table.tables(3):
        graph.check_operator(operator)
    for index in outputs:
        graph.check_index(index)
        if index not in known:
            damaged("nothing computes one of its outputs")


def _check_tensor(tensor: Table, buffers: Sequence[int]) -> bool:
    """Return whether a tensor is a constant."""
    shape, kind = tensor.integers(0), tensor.number(1, "<b")
    if tensor.number(5, "<B"):
        damaged("one of its tensors is a variable")
    if len(shape) > _LARGEST_RANK or any(size < 0 for size in shape):
        damaged(f"one of its tensors has the impossible shape {list(shape[:_LARGEST_RANK])}")
    if kind not in _BITS:
        damaged(f"one of its tensors has the type number {kind}, which holds no numbers")
    size = (math.prod(shape) * _BITS[kind] + 7) // 8
    if size > LARGEST_TENSOR:
        damaged(f"one of its tensors has the impossible shape {list(shape)}")
    buffer = tensor.number(2, "<I")
    if buffer >= len(buffers):
        damaged(f"it names the buffer {buffer} of {len(buffers)}")
    length = buffers[buffer]
    if tensor.table(6) is not None:
        damaged("one of its constants is sparse")
    if length and length != size:
        damaged(f"a constant of the shape {list(shape)} has {counted(length, 'byte')}")
    return length > 0 or size == 0
