"""tlcli.export: the command's work from Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import tlcli
from tests.support import Trained
from tlcli.errors import UsageError


def test_formats_are_written_from_python(trained: Trained, tmp_path: Path) -> None:
    graph = tmp_path / "houses.pb"
    shutil.copyfile(trained.graph, graph)
    exports = tlcli.export(graph, ["tflite"], image_dir=trained.photos)
    (file,) = exports.files
    assert file.path == tmp_path / "houses.tflite"
    assert file.agreement is not None
    assert file.agreement.same_label == 1
    assert exports.images > 0
    assert not exports.refused


def test_a_folder_that_changed_since_the_training_is_no_obstacle(
    trained: Trained, tmp_path: Path
) -> None:
    graph = tmp_path / "houses.pb"
    shutil.copyfile(trained.graph, graph)
    other = tmp_path / "photos" / "castle"
    other.mkdir(parents=True)
    shutil.copyfile(trained.photo, other / "a.jpg")
    card = json.loads(trained.graph.with_suffix(".json").read_text())
    card["training"]["image_dir"] = str(other.parent)
    card["files"] = {"houses.pb": card["files"]["output_graph.pb"]}
    graph.with_suffix(".json").write_text(json.dumps(card))
    exports = tlcli.export(graph, "tflite", tmp_path / "a.tflite")
    assert exports.images == 0
    assert (tmp_path / "a.tflite").is_file()


def test_one_path_is_for_one_format(trained: Trained) -> None:
    with pytest.raises(UsageError, match="--output names one file"):
        tlcli.export(trained.graph, "onnx,tflite", "a.onnx")
