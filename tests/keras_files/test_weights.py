from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.keras_files.models import image_input, sequential, write_zip
from tlcli.errors import GraphError
from tlcli.keras_files.weights import LIMITS, WeightLimits, check_archive, check_weights

CONFIG = sequential(image_input())


def _check(path: Path, limits: WeightLimits = LIMITS) -> None:
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, "the model", limits)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = write_zip(tmp_path / "1.keras", CONFIG, model__weights__h5=bytes(65 << 20))
    with pytest.raises(GraphError, match=r"'model\.weights\.h5' unpacks to more than 100 times"):
        _check(bomb)
    long = write_zip(tmp_path / "2.keras", b"[" + b"1," * 1000 + b"1]")
    with pytest.raises(GraphError, match=r"config\.json has"):
        _check(long, WeightLimits(config=1000))
    with pytest.raises(GraphError, match="it unpacks to"):
        _check(write_zip(tmp_path / "3.keras", CONFIG, a__h5=bytes(2000)), WeightLimits(weights=9))


@pytest.mark.parametrize("name", ["../x", "/x", "assets/../../x", "c:/x", "..\\x"])
def test_members_stay_in_the_archive(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(GraphError, match="leads out of the archive"):
        _check(tmp_path / "model.keras")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", ["link", "group link", "soft link", "storage", "virtual", "empty"])
def test_weights_elsewhere_and_weights_without_values(
    tmp_path: Path, kind: str, packed: bool
) -> None:
    import h5py

    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["group/secret"] = np.ones(8)
    weights = tmp_path / "model.weights.h5"
    with h5py.File(weights, "w") as file:
        file["layers/fine"] = np.ones(3)
        if kind == "link":
            file["layers/secret"] = h5py.ExternalLink(str(other), "/group/secret")
        elif kind == "group link":
            file["layers/secret"] = h5py.ExternalLink(str(other), "/group")
        elif kind == "soft link":
            file["layers/secret"] = h5py.SoftLink("/absent")
        elif kind == "storage":
            file.create_dataset("w", (8,), "u1", external=[(str(other), 0, 8)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((8,), "f8")
            layout[:] = h5py.VirtualSource(str(other), "group/secret", (8,))
            file.create_virtual_dataset("w", layout)
        else:
            file.create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(16, 16))
    path = weights
    if packed:
        path = write_zip(tmp_path / "model.keras", CONFIG, model__weights__h5=weights.read_bytes())
    with pytest.raises(GraphError, match=r"points to another|is in another|but no values"):
        check_weights(path, packed, "the model")


def test_a_group_that_holds_itself_is_no_endless_loop(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file["layers/fine"] = np.ones(3)
        file["layers/again"] = file["layers"]

    check_weights(path, False, "the model")


def test_a_bomb_in_an_archive_of_arrays_is_found(tmp_path: Path) -> None:
    arrays = tmp_path / "model.weights.npz"
    np.savez_compressed(arrays, a=np.zeros(20 << 20, np.float32))
    path = write_zip(tmp_path / "model.keras", CONFIG, model__weights__npz=arrays.read_bytes())

    with pytest.raises(GraphError, match="unpacks to more than 100 times"):
        check_weights(path, True, "the model")
