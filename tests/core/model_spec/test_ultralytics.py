"""What Ultralytics writes of a model, in each of its forms."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from tlcli.core.model_spec.adjacent_files import find_adjacent_files
from tlcli.core.model_spec.labels_file import find_labels
from tlcli.core.model_spec.ultralytics import find_ultralytics

NAMES = {0: "cat", 1: "dog's, old", 2: 'say "no"'}
METADATA = {"author": "Ultralytics", "task": "classify", "imgsz": [32, 32], "names": NAMES}
YAML = """\
description: Ultralytics YOLO11n-cls model
author: Ultralytics
task: classify
imgsz:
- 224
names:
  0: cat
  1: 'dog''s, old'
  2: say "no"
args: {}
"""


def write_litert(path: Path, name: str, content: str) -> Path:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    path.write_bytes(b"\x18\0\0\0TFL3" + bytes(100) + packed.getvalue())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [("temp_meta.txt", str(METADATA)), ("metadata.json", json.dumps(METADATA, indent=2))],
)
def test_labels_in_a_litert_file(tmp_path: Path, name: str, content: str) -> None:
    graph = write_litert(tmp_path / "model.lite", name, content)
    found = find_labels(graph)
    assert found.names == tuple(NAMES.values())
    assert found.source == f"{name} in {graph}"


def test_labels_next_to_a_saved_model(tmp_path: Path) -> None:
    folder = tmp_path / "saved_model"
    folder.mkdir()
    (folder / "metadata.yaml").write_text(YAML.replace("old'", "old'"), encoding="utf-8")
    found = find_ultralytics(folder)
    assert found is not None
    assert found.labels == tuple(NAMES.values())


@pytest.mark.parametrize(
    "content",
    [
        "names: 3",
        "author: Ultralytics\ntask: classify\nnames:\n  1: cat\n",
        '{"author": "Ultralytics", "task": "classify", "names": {"0": null}}',
        '{"author": "Ultralytics", "task": "classify", "names": {"a": "b"}}',
        '{"author": "Ultralytics", "task": "classify", "names": [' + "[" * 5000,
        "\0",
    ],
)
def test_other_metadata_are_passed_over(tmp_path: Path, content: str) -> None:
    graph = write_litert(tmp_path / "model.tflite", "metadata.json", content)
    assert find_adjacent_files(graph).ultralytics is None
    (tmp_path / "metadata.yaml").write_text(content)
    assert find_adjacent_files(graph).ultralytics is None


def test_a_damaged_zip_is_passed_over(tmp_path: Path) -> None:
    graph = write_litert(tmp_path / "model.tflite", "metadata.json", json.dumps(METADATA))
    content = bytearray(graph.read_bytes())
    content[160:190] = bytes(30)
    graph.write_bytes(content)
    assert find_ultralytics(graph) is None
