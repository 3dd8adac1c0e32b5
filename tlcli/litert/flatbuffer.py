"""The tables of a LiteRT file, and how they become bytes.

A .tflite file is a flatbuffer. The few tables and fields that a float network needs are
written here by their numbers in LiteRT's schema (``schema.fbs``), so that no generated code
and no converter has to be imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.errors import OutputError
from tlcli.graph.nodes import Shape

_IDENTIFIER = b"TFL3"
_SCHEMA_VERSION = 3
_DESCRIPTION = "tlcli"
# Operator numbers from here on do not fit the first field that held them.
_PLACEHOLDER_CODE = 127
# LiteRT reads constants in place.
_ALIGNMENT = 16
# Offsets in a flatbuffer are signed 32-bit numbers.
_LARGEST_FILE = (1 << 31) - 1

_TYPES = {np.dtype(np.float32): 0, np.dtype(np.int32): 2}

_Field = tuple[str, Any]
_ABSENT: _Field = ("offset", 0)


@dataclass(frozen=True)
class OperatorOptions:
    """The settings of an operator.

    Attributes:
        kind: number in the union ``BuiltinOptions``.
        fields: (type, value) slot by slot; types are int8, int32, float, bool and "ints", a list.
            Zero leaves a slot out.
    """

    kind: int
    fields: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: Shape
    data: Array | None


@dataclass(frozen=True)
class _Operator:
    code: int
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: OperatorOptions | None


@dataclass
class LiteRTModel:
    """Tensors and operators in the order in which they were added."""

    tensors: list[_Tensor] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)

    def add_tensor(self, name: str, shape: Shape, data: Array | None = None) -> int:
        """Add a float32 tensor that is computed or fed; ``None`` is a free size."""
        self.tensors.append(_Tensor(name, shape, data))
        return len(self.tensors) - 1

    def add_constant(self, name: str, array: Array) -> int:
        """Add a constant of float32 or int32."""
        return self.add_tensor(name, array.shape, np.ascontiguousarray(array))

    def rename(self, tensor: int, name: str) -> None:
        """Give a tensor another name."""
        self.tensors[tensor] = replace(self.tensors[tensor], name=name)

    def add_operator(
        self,
        code: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: OperatorOptions | None = None,
        version: int = 1,
    ) -> None:
        """Add an operator; those that give its inputs come before it."""
        self.operators.append(_Operator(code, version, tuple(inputs), tuple(outputs), options))

    def serialise(
        self, inputs: Sequence[int], outputs: Sequence[int], largest: int = _LARGEST_FILE
    ) -> bytes:
        """Return the file, of at most ``largest`` bytes; the same tables give the same bytes.

        Raises:
            OutputError: it would be larger than a LiteRT file may be (2 GB).
        """
        constants = sum(each.data.nbytes for each in self.tensors if each.data is not None)
        # Enough at once: a builder that grows copies everything each time.
        size = constants + 512 * (len(self.tensors) + len(self.operators)) + 4096
        if size > largest:
            raise OutputError(
                f"the LiteRT file would take {size / 1e9:.1f} GB and 2 GB is the most; choose a "
                "smaller backbone"
            )
        return _File(size).finish(self, inputs, outputs)


class _File:
    def __init__(self, size: int) -> None:
        import flatbuffers

        self._builder: Any = flatbuffers.Builder(size)

    def finish(self, model: LiteRTModel, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        tensors, operators = model.tensors, model.operators
        # Buffer 0 is the empty one, of all tensors that are no constants.
        buffers = [self._table()]
        for tensor in tensors:
            if tensor.data is not None:
                buffers.append(self._table(("offset", self._data(tensor.data))))
        codes = sorted({(each.code, each.version) for each in operators})
        numbers = count(1)
        tables = [self._tensor(each, 0 if each.data is None else next(numbers)) for each in tensors]
        graph = self._table(
            ("offset", self._offsets(tables)),
            ("offset", self._ints(inputs)),
            ("offset", self._ints(outputs)),
            ("offset", self._offsets([self._operator(each, codes) for each in operators])),
            ("offset", self._builder.CreateString("main")),
        )
        kinds = [
            self._table(
                ("int8", min(code, _PLACEHOLDER_CODE)), _ABSENT, ("int32", version), ("int32", code)
            )
            for code, version in codes
        ]
        root = self._table(
            ("uint32", _SCHEMA_VERSION),
            ("offset", self._offsets(kinds)),
            ("offset", self._offsets([graph])),
            ("offset", self._builder.CreateString(_DESCRIPTION)),
            ("offset", self._offsets(buffers)),
        )
        self._builder.Finish(root, file_identifier=_IDENTIFIER)
        return bytes(memoryview(self._builder.Bytes)[self._builder.Head() :])

    def _tensor(self, tensor: _Tensor, buffer: int) -> int:
        kind = _TYPES[np.dtype(np.float32) if tensor.data is None else tensor.data.dtype]
        fields: list[_Field] = [
            ("offset", self._ints([1 if size is None else size for size in tensor.shape])),
            ("int8", kind),
            ("uint32", buffer),
            ("offset", self._builder.CreateString(tensor.name)),
        ]
        if None in tensor.shape:
            free = self._ints([-1 if size is None else size for size in tensor.shape])
            fields += [_ABSENT, _ABSENT, _ABSENT, ("offset", free)]
        return self._table(*fields)

    def _operator(self, operator: _Operator, codes: Sequence[tuple[int, int]]) -> int:
        fields: list[_Field] = [
            ("uint32", codes.index((operator.code, operator.version))),
            ("offset", self._ints(operator.inputs)),
            ("offset", self._ints(operator.outputs)),
        ]
        if operator.options is not None:
            settings = [
                ("offset", self._ints(value)) if kind == "ints" else (kind, value)
                for kind, value in operator.options.fields
            ]
            fields += [("uint8", operator.options.kind), ("offset", self._table(*settings))]
        return self._table(*fields)

    def _table(self, *fields: _Field) -> int:
        """Write a table slot by slot; what it points to must have been written."""
        builder = self._builder
        put = {
            "int8": builder.PrependInt8Slot,
            "uint8": builder.PrependUint8Slot,
            "bool": builder.PrependBoolSlot,
            "int32": builder.PrependInt32Slot,
            "uint32": builder.PrependUint32Slot,
            "float": builder.PrependFloat32Slot,
            "offset": builder.PrependUOffsetTRelativeSlot,
        }
        builder.StartObject(len(fields))
        for slot, (kind, value) in enumerate(fields):
            # Zero is left out: it is the default of every field here whose value can be zero.
            put[kind](slot, value, 0)
        return int(builder.EndObject())

    def _data(self, array: Array) -> int:
        content = array.reshape(-1).view(np.uint8)
        self._builder.Prep(_ALIGNMENT, content.size)
        return int(self._builder.CreateNumpyVector(content))

    def _ints(self, values: Sequence[int]) -> int:
        return int(self._builder.CreateNumpyVector(np.array(values, np.int32)))

    def _offsets(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())
