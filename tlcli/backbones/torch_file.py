"""Read tensors out of torch's legacy ``.pth`` format, without torch and without unpickling.

Such a file is five pickles (magic number, protocol, description of the machine, the state
dict, the storage keys) and then the storages: for each key a 64-bit count and the values.
A crafted file can neither run code nor take more memory than a few times its own size.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.backbones.torch_pickle import Damaged, Machine, Storage, View, damaged
from tlcli.errors import BackboneError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
# EfficientNet-Lite4, the largest of its family, is 50 MB.
MAXIMUM_BYTES = 1 << 29


def _read_storages(
    stream: io.BytesIO, keys: object, views: Mapping[str, View]
) -> dict[str, np.ndarray[Any, Any]]:
    wanted: dict[str, Storage] = {}
    for view in views.values():
        if wanted.setdefault(view.storage.key, view.storage) != view.storage:
            damaged("one storage is described in two ways")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        damaged("its list of storages is none")
    if sorted(keys) != sorted(wanted):
        damaged("its list of storages does not fit its tensors")
    buffer = stream.getbuffer().toreadonly()
    position = stream.tell()
    storages: dict[str, np.ndarray[Any, Any]] = {}
    for key in keys:
        storage = wanted[key]
        size = storage.count * storage.dtype.itemsize
        if position + 8 + size > len(buffer):
            damaged("it ends early")
        (count,) = struct.unpack_from("<q", buffer, position)
        if count != storage.count:
            damaged("a storage has another length than its tensors say")
        position += 8
        storages[key] = np.frombuffer(buffer, storage.dtype, count, position)
        position += size
    if position != len(buffer):
        damaged("it goes on after its last storage")
    return storages


def _tensors(
    views: Mapping[str, View], storages: Mapping[str, np.ndarray[Any, Any]], size: int
) -> dict[str, np.ndarray[Any, Any]]:
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    total = 0
    for name, view in views.items():
        dtype = view.storage.dtype
        values = storages[view.storage.key][view.offset :]
        window = np.lib.stride_tricks.as_strided(
            values if view.shape and 0 in view.shape else values[: _extent(view)],
            shape=view.shape,
            strides=tuple(stride * dtype.itemsize for stride in view.strides),
            writeable=False,
        )
        total += window.nbytes
        if total > 2 * size:  # tensors may share a storage, within reason
            damaged("its tensors are larger than the file")
        tensors[name] = np.array(window, order="C")
    return tensors


def _extent(view: View) -> int:
    return 1 + sum(
        (size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)
    )


def _check_header(stream: io.BytesIO) -> None:
    if bytes(stream.getbuffer()[:4]) == b"PK\x03\x04":
        damaged("it is in torch's newer zip format, and only the legacy format is read")
    if Machine().run(stream) != MAGIC:
        damaged("it is no file of torch's legacy format")
    if Machine().run(stream) != PROTOCOL:
        damaged("it is in an unknown version of torch's legacy format")
    machine = Machine().run(stream)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        damaged("its numbers are not little-endian")


def _check_expected(
    views: Mapping[str, View], expected: Mapping[str, Sequence[int]] | None
) -> None:
    if expected is None:
        return
    if missing := sorted(set(expected) - set(views)):
        damaged(f"the tensor {missing[0]} is missing")
    if set(views) - set(expected):
        damaged("it holds tensors that this network does not have")
    for name, shape in expected.items():
        if views[name].shape != tuple(shape):
            damaged(
                f"the tensor {name} has the shape {list(views[name].shape)} "
                f"instead of {list(shape)}"
            )


def _parse(
    data: bytes, expected: Mapping[str, Sequence[int]] | None
) -> dict[str, np.ndarray[Any, Any]]:
    stream = io.BytesIO(data)
    _check_header(stream)
    state = Machine().run(stream)
    if not isinstance(state, dict):
        damaged("it holds no state dict")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, View):
            damaged("its state dict holds something else than tensors")
    _check_expected(state, expected)
    keys = Machine().run(stream)
    return _tensors(state, _read_storages(stream, keys, state), len(data))


def parse_state(
    data: bytes, expected: Mapping[str, Sequence[int]] | None = None, where: str = "the data"
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the tensors of the state dict in a legacy ``.pth`` file.

    Args:
        data: content of the file; see `read_weights`.
        expected: shape of every tensor by name; the file must hold these and no others.
            None takes what the file holds.
        where: how messages call the file.

    Returns:
        Contiguous arrays of the stored types by name, in the file's order.

    Raises:
        BackboneError: it is damaged, of another format, or does not hold what was expected.
    """
    # Every failure inside is foreseen or one of these, which text that is no UTF-8 and NumPy
    # for impossible sizes raise.
    try:
        return _parse(data, expected)
    except Damaged as error:
        reason = str(error)
    except (ValueError, OverflowError):
        reason = "it ends early or is damaged"
    raise BackboneError(f"the weights in {where} cannot be read: {reason}; install them again")


def read_weights(path: Path) -> bytes:
    """Return the content of a weight file.

    Raises:
        BackboneError: it cannot be read or is larger than `MAXIMUM_BYTES`.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise BackboneError(
            f"cannot read the weights in {path}: {error.strerror or error}; install them again"
        ) from error
    if len(data) > MAXIMUM_BYTES:
        raise BackboneError(
            f"the weights in {path} cannot be read: the file is larger than "
            f"{MAXIMUM_BYTES >> 20} MB; install them again"
        )
    return data
