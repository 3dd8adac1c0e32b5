"""The pickles of a torch file, carried out instruction by instruction.

A pickle is a program. Only the instructions that a state dict needs are known here; every
other instruction or name ends the reading. Nothing is imported and nothing is called.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

MAXIMUM_RANK = 8
MAXIMUM_SIZE = 1 << 29
# A damaged file must not cost minutes: 1.5 million instructions are some 100,000 tensors.
MAXIMUM_INSTRUCTIONS = 1_500_000

_STORAGES: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("i1"),
    "torch ByteStorage": np.dtype("u1"),
    "torch BoolStorage": np.dtype("u1"),
}
_ORDERED_DICT = "collections OrderedDict"
_REBUILD = "torch._utils _rebuild_tensor_v2"
_NAMES = frozenset(_STORAGES) | {_ORDERED_DICT, _REBUILD}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()
_PLAIN = {
    b"(": "MARK", b".": "STOP", b")": "EMPTY_TUPLE", b"\x85": "TUPLE1", b"\x86": "TUPLE2",
    b"\x87": "TUPLE3", b"t": "TUPLE", b"}": "EMPTY_DICT", b"]": "EMPTY_LIST", b"a": "APPEND",
    b"e": "APPENDS", b"s": "SETITEM", b"u": "SETITEMS", b"R": "REDUCE", b"Q": "BINPERSID",
    b"b": "BUILD", b"N": "NONE", b"\x88": "NEWTRUE", b"\x89": "NEWFALSE",
}  # fmt: skip
# Instructions with a number of fixed size.
_FIXED = {
    b"\x80": ("PROTO", "<B"),
    b"q": ("BINPUT", "<B"),
    b"r": ("LONG_BINPUT", "<I"),
    b"h": ("BINGET", "<B"),
    b"j": ("LONG_BINGET", "<I"),
    b"J": ("VALUE", "<i"),
    b"K": ("VALUE", "<B"),
    b"M": ("VALUE", "<H"),
}
_LONGEST_NAME = 100


class Damaged(Exception):
    """Why the file cannot be read; becomes a BackboneError at the border."""


def damaged(reason: str) -> NoReturn:
    """End the reading."""
    raise Damaged(reason)


@dataclass(frozen=True)
class _Name:
    """A global that the pickle mentions; only ever compared, never imported."""

    text: str


@dataclass(frozen=True)
class Storage:
    """Values of one type, stored under a key after the pickles."""

    key: str
    dtype: np.dtype[Any]
    count: int


@dataclass(frozen=True)
class View:
    """A tensor as the pickle describes it: a window on a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _whole_numbers(value: object) -> tuple[int, ...]:
    if not isinstance(value, tuple) or len(value) > MAXIMUM_RANK:
        damaged("a tensor has no proper shape")
    for number in value:
        if type(number) is not int or not 0 <= number <= MAXIMUM_SIZE:
            damaged("a tensor has an impossible size")
    return value


def _storage(identity: object) -> Storage:
    if not isinstance(identity, tuple) or len(identity) not in (5, 6):
        damaged("a storage is described in an unknown way")
    kind, name, key, _, count, *view = identity
    if kind != "storage" or not isinstance(name, _Name) or name.text not in _STORAGES:
        damaged("a storage is of an unknown type")
    if not isinstance(key, str) or view not in ([], [None]):
        damaged("a storage is described in an unknown way")
    return Storage(key, _STORAGES[name.text], _whole_numbers((count,))[0])


def _rebuild(arguments: tuple[Any, ...]) -> View:
    if len(arguments) != 6 or not isinstance(arguments[0], Storage):
        damaged("a tensor is described in an unknown way")
    storage, offset, shape, strides = arguments[:4]
    (offset,) = _whole_numbers((offset,))
    shape, strides = _whole_numbers(shape), _whole_numbers(strides)
    if len(shape) != len(strides):
        damaged("a tensor has more sizes than strides")
    elements, last = 1, offset
    for size, stride in zip(shape, strides, strict=True):
        elements *= size
        last += (size - 1) * stride
    # The first condition also refuses stride 0, which would blow a file up at will.
    if elements > storage.count or (elements and last >= storage.count):
        damaged("a tensor reaches beyond its storage")
    return View(storage, offset, shape, strides)


def _exactly(stream: io.BytesIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        damaged("it ends early")
    return data


def _name_line(stream: io.BytesIO) -> str:
    line = stream.readline(_LONGEST_NAME)
    if not line.endswith(b"\n"):
        damaged("it asks for code that a state dict does not need")
    return line[:-1].decode("ascii", "replace")


def _instruction(stream: io.BytesIO) -> tuple[str, Any]:
    """Return the next instruction's name and argument; the names are those of pickletools.

    Text and whole numbers of all sizes are "VALUE".
    """
    code = _exactly(stream, 1)
    if code in _PLAIN:
        return _PLAIN[code], None
    if code in _FIXED:
        name, layout = _FIXED[code]
        return name, struct.unpack(layout, _exactly(stream, struct.calcsize(layout)))[0]
    if code == b"X":
        (length,) = struct.unpack("<I", _exactly(stream, 4))
        return "VALUE", _exactly(stream, length).decode("utf-8")
    if code == b"\x8a":
        return "VALUE", int.from_bytes(
            _exactly(stream, _exactly(stream, 1)[0]), "little", signed=True
        )
    if code == b"c":
        return "GLOBAL", f"{_name_line(stream)} {_name_line(stream)}"
    return damaged("its pickle holds an instruction that a state dict does not need")


class Machine:
    """Carries out the instructions of one pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, stream: io.BytesIO) -> Any:
        """Return the object that the pickle at the stream's position describes."""
        for _ in range(MAXIMUM_INSTRUCTIONS):
            name, argument = _instruction(stream)
            if name == "STOP":
                return self._pop()
            self._step(name, argument)
        return damaged("its state dict is too long")

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            damaged("its pickle takes what it has not put")
        return self._stack.pop()

    def _since_mark(self) -> list[Any]:
        values: list[Any] = []
        while self._stack:
            value = self._stack.pop()
            if value is _MARK:
                values.reverse()
                return values
            values.append(value)
        return damaged("its pickle takes what it has not put")

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            damaged("its pickle fills what is no container")
        return self._stack[-1]

    def _set(self, pairs: Sequence[Any]) -> None:
        if len(pairs) % 2:
            damaged("its pickle holds a key without a value")
        target = self._top(dict)
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) not in (str, int):
                damaged("its pickle holds a key that is no name")
            target[key] = value

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name == "VALUE":
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            value = self._pop()
            stack.append(value)
            self._memo[argument] = value
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in self._memo:
                damaged("its pickle recalls what it has not kept")
            stack.append(self._memo[argument])
        elif name in _TUPLES:
            values = [self._pop() for _ in range(_TUPLES[name])]
            stack.append(tuple(reversed(values)))
        elif name == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "APPEND":
            value = self._pop()
            self._top(list).append(value)
        elif name == "APPENDS":
            values = self._since_mark()
            self._top(list).extend(values)
        elif name == "SETITEM":
            value = self._pop()
            self._set([self._pop(), value])
        elif name == "SETITEMS":
            self._set(self._since_mark())
        elif name == "GLOBAL":
            if argument not in _NAMES:
                damaged("it asks for code that a state dict does not need")
            stack.append(_Name(argument))
        elif name == "REDUCE":
            arguments = self._pop()
            stack.append(self._call(self._pop(), arguments))
        elif name == "BINPERSID":
            stack.append(_storage(self._pop()))
        elif name == "BUILD":
            # Attributes of a container ("_metadata"): nothing that a tensor needs.
            self._pop()
            self._top(dict)
        # PROTO, the only one left, says what the instructions above already do.

    def _call(self, function: object, arguments: object) -> Any:
        if isinstance(function, _Name) and isinstance(arguments, tuple):
            if function.text == _ORDERED_DICT and arguments == ():
                return {}
            if function.text == _REBUILD:
                return _rebuild(arguments)
        return damaged("it asks for code that a state dict does not need")
