"""What a model file is, decided once and by its content, or why it cannot be used.

The order is that of the libraries that load the files: HDF5 reads a file that begins with its
signature whatever follows, Python's ``zipfile`` one that ends with a directory whatever precedes,
so a file that is both is neither.
"""

from __future__ import annotations

import json
import mmap
import zipfile
from enum import Enum
from pathlib import Path

from tlcli.errors import GraphError, TlcliError
from tlcli.system.regular_files import (
    GIT_LFS_ADVICE,
    is_git_lfs_pointer,
    open_regular,
    read_regular,
)


class ModelKind(Enum):
    """A kind of model file that labels images or serves as a backbone."""

    FROZEN_GRAPH = "a frozen graph"
    SAVED_MODEL = "a SavedModel"
    LITERT = "a LiteRT file"
    KERAS_ZIP = "a Keras file (.keras)"
    KERAS_HDF5 = "a Keras file (HDF5)"
    KERAS_HUB = "a preset of keras-hub"

    @property
    def is_keras(self) -> bool:
        """Whether Keras loads it."""
        return self in (ModelKind.KERAS_ZIP, ModelKind.KERAS_HDF5)


KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")
_USABLE = "give a frozen .pb, a .tflite, a .keras or .h5 file, or a SavedModel folder"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_HEAD = 4096
# Longer JSON than this describes weights one by one; its beginning is enough.
_LARGEST_JSON = 64 << 20
_EDGE_TPU = b"edgetpu-custom-op"
# Names of producers that converters write at the beginning of ONNX files.
_ONNX_PRODUCERS = (b"pytorch", b"onnx", b"skl2onnx", b"CNTK", b"paddle", b"MXNet", b"matlab")

_ONNX = (
    "an ONNX model, which cannot be run here: give the TensorFlow or Keras model that it was "
    "converted from, or convert it by `onnx2tf -i NAME.onnx`"
)
_TFJS = (
    "a TensorFlow.js model, which cannot be run here: give the model that it was converted from, "
    "or convert it back by `tensorflowjs_converter --input_format tfjs_layers_model "
    "--output_format keras_saved_model`"
)
_CORE_ML = "a Core ML model, which cannot be run here: export the model for TensorFlow Lite"
_PYTORCH = "a PyTorch model, which cannot be run here: export it as a SavedModel or for LiteRT"
_CHECKPOINT = (
    "part of a training checkpoint, which holds weights without a model: freeze the graph, or "
    "export it as a SavedModel"
)
_ARCHIVE = "an archive: unpack it and give the model inside"
_BY_SUFFIX = {
    ".onnx": _ONNX,
    ".mlmodel": _CORE_ML,
    ".mlpackage": _CORE_ML,
    ".pt": _PYTORCH,
    ".pth": _PYTORCH,
    ".ckpt": _CHECKPOINT,
    ".index": _CHECKPOINT,
    ".meta": _CHECKPOINT,
    ".engine": "a TensorRT engine, which cannot be run here: give the model that it was made from",
    ".plan": "a TensorRT engine, which cannot be run here: give the model that it was made from",
    ".npz": "a file of arrays: it holds weights without a model",
    ".npy": "a file of arrays: it holds weights without a model",
    ".safetensors": "a file of tensors: it holds weights without a model",
    ".gguf": "a language model, which labels no images",
    ".pbtxt": "a graph in text form: write it out in binary form, as frozen .pb",
    ".tar": _ARCHIVE,
    ".tgz": _ARCHIVE,
    ".7z": _ARCHIVE,
    ".rar": _ARCHIVE,
}


def kind_of(path: Path, error: type[TlcliError] = GraphError) -> ModelKind:
    """Return what a model file or folder is.

    Args:
        path: of a regular file or a folder.
        error: raised where it cannot be used.

    Raises:
        TlcliError: of the type ``error``: absent, unreadable, or of a kind that cannot be used;
            the sentence names the kind and the remedy.
    """
    path = Path(path)
    if path.is_dir():
        return _kind_of_folder(path, error)
    try:
        with open_regular(path) as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        raise error(f"there is no model at {path}; check its path") from None
    except (OSError, ValueError) as reason:
        text = getattr(reason, "strerror", None) or str(reason)
        raise error(f"cannot read {path}: {text}; give a model file") from reason
    if not head:
        raise error(f"{path} is not a model: it is empty; {_USABLE}")
    refused = _refused_by_content(path, head)
    if refused is None:
        kind = _kind_of_content(path, head, error)
        if kind is not None:
            return kind
        refused = _refused_by_name(path)
    if refused is not None:
        raise error(f"{path} is {refused}")
    return ModelKind.FROZEN_GRAPH


def _kind_of_content(path: Path, head: bytes, error: type[TlcliError]) -> ModelKind | None:
    hdf5 = _is_hdf5(path, head)
    archive = zipfile.is_zipfile(path)
    # LiteRT files carry their metadata in a zip at their end.
    if head[4:8] == b"TFL3" and not hdf5:
        if _holds(path, _EDGE_TPU):
            raise error(
                f"{path} is compiled for the Edge TPU, and runs on that alone: give the .tflite "
                "file that it was compiled from"
            )
        return ModelKind.LITERT
    # A zip from its first byte on may hold anything further on, also a file of HDF5.
    if hdf5 and archive and not head.startswith(_ZIP):
        raise error(
            f"{path} is two files in one, HDF5 and a zip, and each library would load another: "
            "save the model again"
        )
    if hdf5 and not archive:
        return ModelKind.KERAS_HDF5
    if archive:
        return _kind_of_zip(path, error)
    suffix = path.suffix.lower()
    if suffix == ".tflite":
        return ModelKind.LITERT
    if suffix in KERAS_SUFFIXES:
        return ModelKind.KERAS_ZIP if suffix == ".keras" else ModelKind.KERAS_HDF5
    return None


def _is_hdf5(path: Path, head: bytes) -> bool:
    """Return whether HDF5 finds its signature: at 0, or at 512, 1024, 2048 ... bytes."""
    if head.startswith(_HDF5):
        return True
    position, size = 512, path.stat().st_size
    with path.open("rb") as file:
        while position < size:
            file.seek(position)
            if file.read(len(_HDF5)) == _HDF5:
                return True
            position *= 2
    return False


def _kind_of_zip(path: Path, error: type[TlcliError]) -> ModelKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as reason:
        raise error(f"{path} is a damaged zip; save the model again") from reason
    if "config.json" in names:
        return ModelKind.KERAS_ZIP
    if any(name.endswith("data.pkl") for name in names):
        raise error(f"{path} is {_PYTORCH}")
    if any(".mlmodel" in name for name in names):
        raise error(f"{path} is {_CORE_ML}")
    models = [
        name
        for name in names
        if name.endswith((".pb", ".tflite", *KERAS_SUFFIXES)) and not name.startswith("__MACOSX")
    ]
    inside = f" ({models[0]})" if len(models) == 1 else ""
    raise error(f"{path} is a zip: unpack it and give the model inside{inside}")


def _refused_by_content(path: Path, head: bytes) -> str | None:
    if is_git_lfs_pointer(head):
        return GIT_LFS_ADVICE
    text = head.lstrip()
    if text[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, not a model: download the file itself again"
    if text.startswith((b"{", b"[")):
        return _refused_json(path)
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        return _ARCHIVE
    if head.startswith(b"\x80") and head[1:2] in b"\x02\x03\x04\x05":
        return _PYTORCH
    # The first field of ONNX files is their version, from 3 on; of a SavedModel it is always 1.
    if head[0] == 8 and 3 <= head[1] < 64 and any(name in head[:64] for name in _ONNX_PRODUCERS):
        return _ONNX
    return None


def _refused_json(path: Path) -> str | None:
    """Return what a file of JSON is, or None where it is no JSON."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            return "a JSON file, not a model"
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    keys = content.keys() if isinstance(content, dict) else frozenset()
    if keys & {"modelTopology", "weightsManifest"}:
        return _TFJS
    if "class_name" in keys:
        return (
            "the configuration of a Keras model without its weights: save the whole model with "
            "model.save('NAME.keras')"
        )
    return "a JSON file, not a model"


def _refused_by_name(path: Path) -> str | None:
    if ".data-0000" in path.name:
        return _CHECKPOINT
    return _BY_SUFFIX.get(path.suffix.lower())


def _kind_of_folder(folder: Path, error: type[TlcliError]) -> ModelKind:
    if (folder / "saved_model.pb").is_file():
        return ModelKind.SAVED_MODEL
    if folder.suffix == ".mlpackage":
        raise error(f"{folder} is {_CORE_ML}")
    try:
        names = sorted(each.name for each in folder.iterdir())
    except OSError as reason:
        raise error(f"cannot read {folder}: {reason.strerror or reason}") from reason
    if "config.json" in names and _is_keras_hub(folder / "config.json"):
        return ModelKind.KERAS_HUB
    if "config.json" in names and "model.weights.h5" in names:
        raise error(
            f"{folder} is an unpacked Keras file: zip its content again, as NAME.keras, and give "
            "that"
        )
    if "model.json" in names and _refused_json(folder / "model.json") == _TFJS:
        raise error(f"{folder} is {_TFJS}")
    if "checkpoint" in names or any(name.endswith(".index") for name in names):
        raise error(f"{folder} is {_CHECKPOINT.removeprefix('part of ')}")
    inside = [
        folder / name
        for name in names
        if name.endswith((".pb", ".tflite", *KERAS_SUFFIXES))
        or (folder / name / "saved_model.pb").is_file()
    ]
    if inside:
        listed = ", ".join(map(str, inside[:3]))
        raise error(f"{folder} is not a SavedModel: it holds no saved_model.pb; give {listed}")
    raise error(
        f"{folder} is not a SavedModel: it holds no saved_model.pb; "
        "give the folder that holds it, or a .pb, .tflite, .keras or .h5 file"
    )


def _is_keras_hub(config: Path) -> bool:
    """Return whether a configuration is that of a network of keras-hub."""
    try:
        content = json.loads(read_regular(config, _LARGEST_JSON))
    except (OSError, ValueError, RecursionError):
        return False
    name = content.get("registered_name") if isinstance(content, dict) else None
    return isinstance(name, str) and name.startswith("keras_hub>")


def _holds(path: Path, part: bytes) -> bool:
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(part) >= 0
