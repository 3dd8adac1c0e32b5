"""Read the tensors of a known file in torch's legacy ``.pth`` format, without torch.

Such a file is five pickles (magic number, protocol, description of the machine, state dict,
storage keys) and then the storages: for each key a 64-bit count and the values. It is unpickled
only if its SHA-256 is the expected one, and even then it can create nothing but tensors.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.errors import BackboneError
from tlcli.system.digests import sha256_bytes

MAXIMUM_BYTES = 1 << 29
"""EfficientNet-Lite4, the largest of its family, has 50 MB."""

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGE_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Damaged(Exception):
    """The reason why a file cannot be read."""


# Python's own implementation: its memo is a dict, where that of the C implementation is an array
# as long as the largest index in the file, which a damaged file makes many gigabytes.
class _Unpickler(pickle._Unpickler):
    """Create dicts, and tensors as windows on storages that are filled later."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, Array] = {}
        self._free_bytes = len(file.getbuffer())

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if module == "torch" and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        raise _Damaged(f"it names {module}.{name}, which a state dict does not need")

    def persistent_load(self, pid: Any) -> Any:
        _, dtype, key, _, count, _ = pid
        if key not in self.storages:
            self._free_bytes -= count * np.dtype(dtype).itemsize
            if count < 0 or self._free_bytes < 0:
                raise _Damaged("its storages are larger than the file")
            self.storages[key] = np.empty(count, dtype)
        return self.storages[key]

    @staticmethod
    def _tensor(
        storage: Array, offset: int, shape: Sequence[int], strides: Sequence[int], *_: Any
    ) -> Array:
        # NumPy checks the extent, but not that computing it stays within 64 bits.
        far = any(abs(stride) > MAXIMUM_BYTES for stride in strides)
        if far or math.prod(shape) > storage.size:
            raise _Damaged("a tensor reaches beyond its storage")
        size = storage.itemsize
        window: Array = np.ndarray(
            shape, storage.dtype, storage, offset * size, [stride * size for stride in strides]
        )
        return window


def _unpickle(data: bytes) -> dict[str, Array]:
    file = io.BytesIO(data)
    unpickler = _Unpickler(file)
    if unpickler.load() != _MAGIC or unpickler.load() != _PROTOCOL:
        raise _Damaged("it is not in torch's legacy format")
    unpickler.load()
    state: dict[str, Array] = unpickler.load()
    for key in unpickler.load():
        storage = unpickler.storages.pop(key)
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.size or file.readinto(storage.data) != storage.nbytes:
            raise _Damaged("a storage has another length than its tensors")
    if unpickler.storages or file.read(1):
        raise _Damaged("its list of storages does not fit its tensors")
    return state


def read_tensors(
    path: Path, sha256: str, shapes: Mapping[str, Sequence[int]], advice: str
) -> dict[str, Array]:
    """Return the tensors of a state dict in a legacy ``.pth`` file.

    Args:
        path: the file, of at most `MAXIMUM_BYTES`.
        sha256: of the file, in hex.
        shapes: shape of every tensor by name; the file must hold these and no others.
        advice: end of the messages, what to do about a damaged file.

    Returns:
        Contiguous arrays of the stored types by name, in the file's order. Tensors that share a
        storage may share memory.

    Raises:
        BackboneError: it cannot be read, is another file, or does not hold these tensors.
    """
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise _Damaged(f"the file is larger than {MAXIMUM_BYTES >> 20} MB")
        data = path.read_bytes()
        if sha256_bytes(data) != sha256:
            raise _Damaged("the file is damaged or was changed")
        state = _unpickle(data)
        if {name: array.shape for name, array in state.items()} != dict(shapes):
            raise _Damaged("it does not hold the tensors of this network")
        return {name: np.asarray(array, order="C") for name, array in state.items()}
    except OSError as error:
        reason = error.strerror or str(error)
    except _Damaged as error:
        reason = str(error)
    except Exception:  # unpickling damaged data raises whatever its values raise
        reason = "the file is damaged"
    raise BackboneError(f"cannot read the weights in {path}: {reason}; {advice}")
