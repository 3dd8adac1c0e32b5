"""What a model file is, or why it cannot be used."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from tlcli.core.model_spec.kinds import ModelKind, kind_of
from tlcli.errors import BackboneError, GraphError

HDF5 = b"\x89HDF\r\n\x1a\n" + bytes(600)


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return stream.getvalue()


def stored_at(position: int) -> bytes:
    """Return a Keras file whose weights begin at a position where HDF5 looks for its signature."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        first, second = zipfile.ZipInfo("config.json"), zipfile.ZipInfo("model.weights.h5")
        headers = 60 + len(first.filename) + len(second.filename)
        archive.writestr(first, b" " * (position - headers))
        archive.writestr(second, HDF5)
    assert stream.getvalue()[position : position + 8] == HDF5[:8]
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("weights_at_512.keras", stored_at(512), ModelKind.KERAS_ZIP),
        ("graph.pb", b"\x0a\x05nodes", ModelKind.FROZEN_GRAPH),
        ("graph", b"\x0a\x05nodes", ModelKind.FROZEN_GRAPH),
        ("model.tflite", b"\x1c\0\0\0TFL3" + bytes(20), ModelKind.LITERT),
        ("model.lite", b"\x1c\0\0\0TFL3" + bytes(20) + zipped("labels.txt"), ModelKind.LITERT),
        ("damaged.tflite", b"\1\2\3", ModelKind.LITERT),
        ("model.keras", zipped("config.json", "metadata.json"), ModelKind.KERAS_ZIP),
        ("model.h5", HDF5, ModelKind.KERAS_HDF5),
        ("model.hdf5", bytes(512) + HDF5, ModelKind.KERAS_HDF5),
    ],
)
def test_what_is_usable(tmp_path: Path, name: str, content: bytes, kind: ModelKind) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert kind_of(path) is kind


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pb", b"", "it is empty"),
        ("a.pb", b"version https://git-lfs.github.com/spec/v1\noid", "run git lfs pull"),
        ("a.h5", HDF5 + zipped("config.json"), "two files in one"),
        ("a.keras", bytes(512) + HDF5 + zipped("config.json"), "two files in one"),
        ("a.zip", zipped("model/model.tflite", "model/labels.txt"), r"unpack it .*model\.tflite"),
        ("a.pt", zipped("archive/data.pkl"), "PyTorch"),
        ("a.pkl", b"\x80\x04\x95", "PyTorch"),
        ("a.onnx", b"\x08\x07\x12\x07pytorch", "ONNX.*onnx2tf"),
        ("a.bin", b"\x08\x08\x12\x0bonnx.quantize", "ONNX"),
        ("a.mlmodel", b"\x08\x05\x12\x10", "Core ML"),
        (
            "a.tflite",
            b"\x1c\0\0\0TFL3" + bytes(20) + b"edgetpu-custom-op",
            "Edge TPU.*compiled from",
        ),
        ("model.json", json.dumps({"modelTopology": {}}).encode(), r"TensorFlow\.js"),
        ("model.json", json.dumps({"class_name": "Sequential"}).encode(), "without its weights"),
        ("list.json", b'["a"]', "JSON file, not a model"),
        ("a.pb", b"<!DOCTYPE html><html>", "a web page"),
        ("a.tar.gz", b"\x1f\x8b\x08", "unpack it"),
        ("model.ckpt.data-00000-of-00001", b"\1\2", "checkpoint"),
        ("a.pbtxt", b"node {", "text form"),
    ],
)
def test_refusals_name_the_kind_and_the_remedy(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(GraphError, match=message) as caught:
        kind_of(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(BackboneError):
        kind_of(path, BackboneError)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["config.json", "model.weights.h5"], "unpacked Keras file: zip"),
        (["checkpoint", "model.index"], "checkpoint"),
        (["labels.txt", "keras_model.h5"], r"give .*keras_model\.h5"),
        (["photo.jpg"], "holds no saved_model"),
    ],
)
def test_folders_that_are_no_model(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(GraphError, match=message):
        kind_of(tmp_path)


def test_a_folder_around_a_saved_model_names_it(tmp_path: Path) -> None:
    inner = tmp_path / "model.savedmodel"
    inner.mkdir()
    (inner / "saved_model.pb").write_bytes(b"x")
    assert kind_of(inner) is ModelKind.SAVED_MODEL
    with pytest.raises(GraphError, match=r"give .*model\.savedmodel"):
        kind_of(tmp_path)
