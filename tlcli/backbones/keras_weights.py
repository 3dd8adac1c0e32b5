"""Check the weights of a Keras file before Keras reads them.

HDF5 files may point to other files, and may declare terabytes in a few bytes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tlcli.errors import BackboneError

LARGEST_CONFIG = 64 << 20
"""Bytes of config.json; that of a network of a thousand layers has 2 MB."""
LARGEST_WEIGHTS = 8 << 30
"""Bytes of all weights, unpacked."""
_MOST_OBJECTS = 200_000
# What compression of trained weights never reaches.
_LARGEST_RATIO = 100
_ALWAYS = 64 << 20


def check_archive(archive: zipfile.ZipFile, what: str) -> None:
    """Refuse a ``.keras`` file that unpacks to more than any model has.

    Raises:
        BackboneError: names the member.
    """
    total = 0
    for member in archive.infolist():
        total += member.file_size
        if member.filename == "config.json" and member.file_size > LARGEST_CONFIG:
            raise _refused(what, f"its config.json has {member.file_size >> 20} MB")
        if member.file_size > max(_ALWAYS, _LARGEST_RATIO * member.compress_size):
            raise _refused(
                what,
                f"{member.filename!r} unpacks to more than {_LARGEST_RATIO} times its size",
            )
    if total > LARGEST_WEIGHTS:
        raise _refused(what, f"it unpacks to {total >> 30} GB")


def check_weights(path: Path, what: str) -> None:
    """Refuse weights in other files, and weights far larger than their file.

    Args:
        path: a ``.keras`` file, or an HDF5 file.
        what: the model, for messages.

    Raises:
        BackboneError: names the weight.
    """
    if not zipfile.is_zipfile(path):
        _check_hdf5(path, what)
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith((".h5", ".hdf5")):
                with archive.open(name) as file:
                    _check_hdf5(file, what)


def _check_hdf5(source: Path | IO[bytes], what: str) -> None:
    import h5py  # type: ignore[import-untyped, unused-ignore]

    with h5py.File(source, "r") as file:
        total = 0
        for count, (name, found) in enumerate(_links(file, h5py)):
            if count > _MOST_OBJECTS:
                raise _refused(what, f"it holds more than {_MOST_OBJECTS:,} weights")
            if not isinstance(found, h5py.Dataset):
                raise _refused(what, f"its entry {name!r} points to another object or file")
            if found.external or found.is_virtual:
                raise _refused(what, f"its weight {name!r} is in another file")
            stored = found.id.get_storage_size()
            if found.nbytes > max(_ALWAYS, _LARGEST_RATIO * stored):
                raise _refused(
                    what, f"its weight {name!r} has the shape {list(found.shape)} but no values"
                )
            total += found.nbytes
            if total > LARGEST_WEIGHTS:
                raise _refused(what, f"its weights have more than {LARGEST_WEIGHTS >> 30} GB")


def _links(group: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    """Yield the data of a group and of those in it, and every link that is no plain one."""
    waiting = [group]
    seen = set()
    while waiting:
        group = waiting.pop()
        if group.id in seen:  # a group may hold itself
            continue
        seen.add(group.id)
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                yield f"{group.name}/{name}", link
                continue
            found = group[name]
            if isinstance(found, h5py.Group):
                waiting.append(found)
            elif isinstance(found, h5py.Dataset):
                yield str(found.name), found


def _refused(what: str, reason: str) -> BackboneError:
    return BackboneError(
        f"{what} was not loaded: {reason}, which no network's weights are; give another file"
    )
