"""Check the weights of a Keras file before Keras reads them.

HDF5 files may point to other files, and may declare terabytes in a few bytes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tlcli.errors import GraphError


@dataclass(frozen=True)
class WeightLimits:
    """How large the parts of a Keras file may be.

    Attributes:
        config: bytes of config.json; that of a network of a thousand layers has 2 MB.
        weights: bytes of all weights, unpacked.
        objects: weights in one file.
    """

    config: int = 64 << 20
    weights: int = 8 << 30
    objects: int = 200_000


LIMITS = WeightLimits()
# What compression of trained weights never reaches.
_LARGEST_RATIO = 100
_ALWAYS = 64 << 20
_HDF5, _NUMPY = (".h5", ".hdf5"), ".npz"


def check_archive(archive: zipfile.ZipFile, what: str, limits: WeightLimits = LIMITS) -> None:
    """Refuse a ``.keras`` file that unpacks elsewhere, or to more than any model has.

    Raises:
        GraphError: names the member.
    """
    total = 0
    for member in archive.infolist():
        total += member.file_size
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in member.filename:
            raise _refused(what, f"its member {member.filename!r} leads out of the archive")
        if member.filename == "config.json" and member.file_size > limits.config:
            raise _refused(what, f"its config.json has {member.file_size >> 20} MB")
        if member.file_size > max(_ALWAYS, _LARGEST_RATIO * member.compress_size):
            raise _refused(
                what,
                f"{member.filename!r} unpacks to more than {_LARGEST_RATIO} times its size",
            )
    if total > limits.weights:
        raise _refused(what, f"it unpacks to {total >> 30} GB")


def check_weights(path: Path, is_zip: bool, what: str, limits: WeightLimits = LIMITS) -> None:
    """Refuse weights in other files, and weights far larger than their file.

    Every link of an HDF5 file is checked: Keras itself looks at the last part of a path only,
    and Keras 2 at none.

    Args:
        path: a ``.keras`` file, or an HDF5 file.
        is_zip: which of the two it is.
        what: the model, for messages.
        limits: on sizes.

    Raises:
        GraphError: names the weight.
        OSError: it is damaged, as are the other errors of zipfile and h5py.
    """
    if not is_zip:
        _check_hdf5(path, what, limits)
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(_HDF5):
                with archive.open(name) as file:
                    _check_hdf5(file, what, limits)
            elif name.endswith(_NUMPY):
                with archive.open(name) as file, zipfile.ZipFile(file) as arrays:
                    check_archive(arrays, what, limits)


def _check_hdf5(source: Path | IO[bytes], what: str, limits: WeightLimits) -> None:
    import h5py  # type: ignore[import-untyped, unused-ignore]

    with h5py.File(source, "r") as file:
        total = 0
        for count, (name, found) in enumerate(_links(file, h5py)):
            if count > limits.objects:
                raise _refused(what, f"it holds more than {limits.objects:,} weights")
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
            if total > limits.weights:
                raise _refused(what, f"its weights have more than {limits.weights >> 30} GB")


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


def _refused(what: str, reason: str) -> GraphError:
    return GraphError(
        f"{what} was not loaded: {reason}, which no network's weights are; give another file"
    )
