"""Where presets lie on this machine, and which files make one; light, for lists.

A preset is a folder with ``config.json`` (the serialised network), ``model.weights.h5`` or several
such files under ``model.weights.json``, and ``image_converter.json`` (size and scaling).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tlcli.backbones.keras_hub.addresses import PresetAddress
from tlcli.errors import BackboneError
from tlcli.system.regular_files import read_regular

FOLDER = "keras_hub"
"""Of downloads, in the folder of models."""
CONFIG, CONVERTER = "config.json", "image_converter.json"
WEIGHTS, SHARDS = "model.weights.h5", "model.weights.json"
OF_TRANSFORMERS = (
    "a model of the transformers library, which cannot be a backbone; use a preset of keras-hub, "
    "such as hf://keras/dinov2_small"
)
"""What a folder in that library's format is, for messages."""
_LARGEST_LIST = 16 << 20
_MOST_SHARDS = 100


def is_of_transformers(folder: Path) -> bool:
    """Return whether a folder has the configuration of a model of the transformers library."""
    try:
        found = json.loads(read_regular(folder / CONFIG, _LARGEST_LIST))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "model_type" in found and "class_name" not in found


def on_this_machine(address: PresetAddress, folders: Sequence[Path]) -> Path | None:
    """Return the folder of a preset that needs no download, None where there is none.

    In this order: downloaded by tlcli or put by hand into one of ``folders`` under the preset's
    name; in the caches of kagglehub and huggingface-hub, which keras-hub itself fills.
    """
    return next((path for path in _candidates(address, folders) if is_whole(path)), None)


def _candidates(address: PresetAddress, folders: Sequence[Path]) -> Iterator[Path]:
    name = address.handle.split("/")[3 if address.host == "kaggle" else 1]
    for folder in folders:
        yield folder / FOLDER / address.host / address.handle
        yield folder / name
    if address.host == "kaggle":
        root = os.environ.get("KAGGLEHUB_CACHE")
        cache = Path(root) if root else Path.home() / ".cache" / "kagglehub"
        yield cache / "models" / address.handle
        return
    home, root = os.environ.get("HF_HOME"), os.environ.get("HF_HUB_CACHE")
    cache = Path(home) if home else Path.home() / ".cache" / "huggingface"
    repository = f"models--{address.handle.replace('/', '--')}"
    holder = (Path(root) if root else cache / "hub") / repository
    with contextlib.suppress(OSError, ValueError):
        commit = (holder / "refs" / "main").read_text(encoding="ascii").strip()
        yield holder / "snapshots" / commit


def is_whole(folder: Path) -> bool:
    """Return whether a folder has all the files that a preset needs."""
    if not (folder / CONFIG).is_file():
        return False
    if (folder / WEIGHTS).is_file():
        return True
    if not (folder / SHARDS).is_file():
        return False
    try:
        return all((folder / name).is_file() for name in shard_names(folder / SHARDS))
    except BackboneError:
        return False


def shard_names(listed: Path) -> list[str]:
    """Return the names of the weight files that a ``model.weights.json`` lists.

    Raises:
        BackboneError: it is damaged, or a name leads out of the folder.
    """
    try:
        content = json.loads(read_regular(listed, _LARGEST_LIST))
        weight_map = content["weight_map"]
        found = {name for each in weight_map.values() for name in _as_list(each)}
        names = sorted(found)
        plain = all(re.fullmatch(r"model_\d+\.weights\.h5", name) for name in names)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        names, plain = [], False
    if not names or not plain or len(names) > _MOST_SHARDS:
        raise BackboneError(f"cannot read {listed}: it lists no weight files; fetch it again")
    return names


def _as_list(value: object) -> list[str]:
    return value if isinstance(value, list) else [str(value)]
