"""Read the tables of a flatbuffer of unknown origin: every offset is checked, nothing is copied."""

from __future__ import annotations

import mmap
import struct
from typing import Any, NoReturn

IDENTIFIER = b"TFL3"
"""Bytes 4 to 7 of a LiteRT file."""

_MOST_ENTRIES = 100_000
_LONGEST_NAME = 100


class DamagedError(Exception):
    """What is wrong with a file; whoever knows its name makes a `GraphError` of it."""


def damaged(reason: str) -> NoReturn:
    """Raise `DamagedError` with ``reason``."""
    raise DamagedError(reason)


class Bytes:
    """Numbers at positions of a flatbuffer; every position is checked."""

    def __init__(self, content: bytes | mmap.mmap) -> None:
        self._content = content

    def number(self, kind: str, position: int) -> int:
        """Return the integer of a `struct` format at a position."""
        if position < 0:
            damaged("an offset leads out of the file")
        try:
            return int(struct.unpack_from(kind, self._content, position)[0])
        except struct.error:
            return damaged("an offset leads out of the file")

    def root(self, identifier: bytes = IDENTIFIER) -> Table:
        """Return the outermost table of a flatbuffer with that identifier."""
        if len(self._content) < 8 or self._content[4:8] != identifier:
            damaged("it does not begin like one")
        return Table(self, self.number("<I", 0))

    def vector(self, position: int, size: int) -> tuple[int, int]:
        """Return the position of the first element of a vector and how many there are."""
        start = position + self.number("<I", position)
        count = self.number("<I", start)
        if count * size > len(self._content) - start - 4:
            damaged("a list leads out of the file")
        return start + 4, count

    def part(self, start: int, count: int) -> bytes:
        """Return ``count`` bytes from a position on."""
        return self._content[start : start + count]

    def numbers(self, position: int, kind: str) -> tuple[Any, ...]:
        """Return a vector of numbers, each of a `struct` format."""
        start, count = self.vector(position, struct.calcsize(f"<{kind}"))
        return struct.unpack_from(f"<{count}{kind}", self._content, start)


class Table:
    """One table of a flatbuffer: fields by their slot.

    Attributes:
        position: of the table in the flatbuffer.
    """

    def __init__(self, data: Bytes, position: int) -> None:
        self._data, self.position = data, position
        self._slots = position - data.number("<i", position)
        self._length = data.number("<H", self._slots)

    def _field(self, slot: int) -> int | None:
        where = 4 + 2 * slot
        if where + 2 > self._length:
            return None
        offset = self._data.number("<H", self._slots + where)
        return self.position + offset if offset else None

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        """Return the integer in a field."""
        position = self._field(slot)
        return default if position is None else self._data.number(kind, position)

    def integers(self, slot: int) -> tuple[int, ...]:
        """Return the numbers of a vector of int32."""
        return self.numbers(slot, "i")

    def numbers(self, slot: int, kind: str) -> tuple[Any, ...]:
        """Return the numbers of a vector, each of a `struct` format; none where it is absent."""
        position = self._field(slot)
        return () if position is None else self._data.numbers(position, kind)

    def content(self, slot: int) -> bytes:
        """Return the bytes of a vector, b"" where there is none."""
        position = self._field(slot)
        return b"" if position is None else self._data.part(*self._data.vector(position, 1))

    def length(self, slot: int) -> int | None:
        """Return how many bytes a vector of bytes holds; None: there is none."""
        position = self._field(slot)
        return None if position is None else self._data.vector(position, 1)[1]

    def text(self, slot: int) -> str:
        """Return the beginning of a text, "" where there is none."""
        position = self._field(slot)
        if position is None:
            return ""
        start, count = self._data.vector(position, 1)
        return self._data.part(start, min(count, _LONGEST_NAME)).decode("utf-8", "replace")

    def table(self, slot: int) -> Table | None:
        """Return the table in a field."""
        position = self._field(slot)
        if position is None:
            return None
        return Table(self._data, position + self._data.number("<I", position))

    @property
    def slots(self) -> int:
        """How many slots the table has, used or not."""
        return max(0, (self._length - 4) // 2)

    def target(self, slot: int) -> int | None:
        """Return the position of what an offset in a field leads to; None: the field is absent."""
        position = self._field(slot)
        return None if position is None else position + self._data.number("<I", position)

    def tables(self, slot: int) -> list[Table]:
        """Return the tables of a vector."""
        position = self._field(slot)
        if position is None:
            return []
        start, count = self._data.vector(position, 4)
        if count > _MOST_ENTRIES:
            damaged(f"it holds more than {_MOST_ENTRIES} entries in one list")
        return [
            Table(self._data, at + self._data.number("<I", at))
            for at in range(start, start + 4 * count, 4)
        ]
