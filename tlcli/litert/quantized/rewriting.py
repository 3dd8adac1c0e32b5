"""Changes of whole LiteRT files by the schema's objects, which LiteRT brings."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

# LiteRT reads constants in place.
_ALIGNMENT = 16


def prepared(content: bytes, fixed_batch: bool) -> bytes:
    """Return a LiteRT file as ai-edge-quantizer needs it: with a list of signatures, if empty.

    Args:
        content: of the file.
        fixed_batch: fix the batch size to 1.
    """
    model = _read(content)
    model.signatureDefs = model.signatureDefs or []
    if fixed_batch:
        for tensor in model.subgraphs[0].tensors:
            tensor.shapeSignature = None
    return _written(model)


def constants_inside(content: bytes) -> bytes:
    """Return a LiteRT file whose constants lie in its tables.

    Behind the tables, where ai-edge-quantizer writes them, programs with a LiteRT of before 2024
    do not look for them.
    """
    return _written(_read(content))


def _read(content: bytes) -> Any:
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def _written(model: Any) -> bytes:
    import flatbuffers

    size = 1 << 20
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data):
            size += len(buffer.data) + _ALIGNMENT
            # The schema's own writer aligns nothing.
            buffer.Pack = functools.partial(_pack, buffer.data)
    builder = flatbuffers.Builder(size)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


def _pack(data: Any, builder: Any) -> int:
    """Write a buffer whose bytes begin at a multiple of `_ALIGNMENT`."""
    values = np.frombuffer(data, np.uint8)
    builder.Prep(_ALIGNMENT, len(values))
    offset = builder.CreateNumpyVector(values)
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(0, offset, 0)
    return int(builder.EndObject())
