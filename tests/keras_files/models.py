"""Keras files for tests, written without Keras where that is enough."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

SIDE = 16


def layer(kind: str, name: str, **settings: Any) -> dict[str, Any]:
    """Return the configuration of a layer of a Sequential."""
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, **settings},
        "registered_name": None,
    }


def sequential(*layers: dict[str, Any], name: str = "sequential") -> dict[str, Any]:
    """Return the configuration of a Sequential, without its input layer."""
    inner = {"name": name, "layers": list(layers)}
    return {"module": "keras", "class_name": "Sequential", "config": inner}


def image_input(*shape: int | None) -> dict[str, Any]:
    """Return the configuration of an input layer for a batch of images."""
    return layer("InputLayer", "image", batch_shape=[None, *(shape or (SIDE, SIDE, 3))])


def write_zip(path: Path, config: Any, **members: bytes) -> Path:
    """Write a ``.keras`` file; in names of members "__" stands for a dot."""
    content = config if isinstance(config, bytes) else json.dumps(config).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", content)
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return path


def write_hdf5(path: Path, config: Any) -> Path:
    """Write an HDF5 file with a configuration and no weights."""
    import h5py  # type: ignore[import-untyped, unused-ignore]

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
    return path
