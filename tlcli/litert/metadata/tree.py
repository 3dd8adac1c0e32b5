"""Nested tables as a flatbuffer, alone or to be put in front of one that exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ALIGNMENT = 16
"""LiteRT reads constants in place."""


@dataclass(frozen=True)
class Scalar:
    """A number of a type as `flatbuffers.Builder` spells it: "Uint8", "Int8", "Uint32"."""

    kind: str
    value: float


@dataclass(frozen=True)
class Floats:
    """A vector of float32."""

    values: Sequence[float]


@dataclass(frozen=True)
class Place:
    """A table or vector of the file that will follow, by its position there."""

    position: int


@dataclass(frozen=True)
class Node:
    """A table: the values of its slots, in order.

    None leaves a slot out, as does a number that is zero; bytes become a vector that begins at a
    multiple of `ALIGNMENT`, and a list of tables a vector of offsets.
    """

    slots: tuple[Scalar | Floats | Place | Node | list[Node | Place] | str | bytes | None, ...]


def node(*slots: Any) -> Node:
    """Return a table with the values of its slots, in order."""
    return Node(slots)


def serialise(root: Node, identifier: bytes) -> bytes:
    """Return a flatbuffer; the same tables give the same bytes.

    It may be put in front of another one, which then is as aligned as it was: offsets lead
    forwards, so the new root can refer by `Place` to all that is in the older file.

    Args:
        root: its outermost table.
        identifier: its bytes 4 to 7.
    """
    writer = _Writer()
    return writer.finish(writer.put(root), identifier)


class _Writer:
    def __init__(self) -> None:
        import flatbuffers

        self._builder: Any = flatbuffers.Builder(1024)
        # What follows begins at a multiple of this.
        self._builder.Prep(ALIGNMENT, 0)

    def finish(self, root: int, identifier: bytes) -> bytes:
        self._builder.Finish(root, file_identifier=identifier)
        return bytes(memoryview(self._builder.Bytes)[self._builder.Head() :])

    def put(self, value: Any) -> int:
        """Write what an offset leads to, and return where it is."""
        builder = self._builder
        if isinstance(value, Place):
            return -value.position  # a builder counts from its end, where the older file begins
        if isinstance(value, str):
            return int(builder.CreateString(value))
        if isinstance(value, bytes):
            builder.Prep(ALIGNMENT, len(value))
            return int(builder.CreateByteVector(value))
        if isinstance(value, Floats):
            return int(builder.CreateNumpyVector(np.array(value.values, "<f4")))
        if isinstance(value, list):
            offsets = [self.put(each) for each in value]
            builder.StartVector(4, len(offsets), 4)
            for offset in reversed(offsets):
                builder.PrependUOffsetTRelative(offset)
            return int(builder.EndVector())
        return self._table(value)

    def _table(self, table: Node) -> int:
        # What a table refers to must have been written before it.
        offsets = {
            slot: self.put(value)
            for slot, value in enumerate(table.slots)
            if value is not None and not isinstance(value, Scalar)
        }
        self._builder.StartObject(len(table.slots))
        for slot, value in enumerate(table.slots):
            if isinstance(value, Scalar):
                getattr(self._builder, f"Prepend{value.kind}Slot")(slot, value.value, 0)
            elif slot in offsets:
                self._builder.PrependUOffsetTRelativeSlot(slot, offsets[slot], 0)
        return int(self._builder.EndObject())
