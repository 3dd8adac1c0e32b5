"""tlcli evaluate on a LiteRT file: figures, matching of labels, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tlcli.commands.evaluate import command
from tlcli.errors import DataError, GraphError


@pytest.fixture
def graph(shared: Path) -> Path:
    return shared / "legacy" / "plates_128" / "graph.tflite"


@pytest.fixture
def photos(shared: Path, tmp_path: Path) -> Path:
    """Return six photos, of which one lies in a wrong folder, and one file that is no image."""
    folder = tmp_path / "photos"
    shutil.copytree(shared / "legacy/plates_128/bottleneck_photos", folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    indiana = next((folder / "Indiana").iterdir())
    shutil.copyfile(indiana, folder / "Oklahoma" / "wrong.jpg")
    (folder / "Oklahoma" / "broken.jpg").write_bytes(b"")
    return folder


def evaluate(graph: Path, folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        command,
        ["--graph", str(graph), "--image_dir", str(folder), *arguments],
        standalone_mode=False,
    )


def figures(result: Result) -> Any:
    return json.loads(result.stdout)


def test_figures_as_json(graph: Path, photos: Path) -> None:
    result = evaluate(graph, photos, "--format", "json")
    assert result.return_value == 0
    found = figures(result)
    assert found["count"] == 6
    assert found["accuracy"] == pytest.approx(5 / 6)
    low, high = found["interval"]
    assert 0.43 < low < 5 / 6 < high < 0.98
    assert list(found["labels"]) == ["indiana", "newyork", "oklahoma", "pennsylvania", "wyoming"]
    assert found["labels"]["indiana"] == {
        "images": 1,
        "predicted": 2,
        "precision": 0.5,
        "recall": 1.0,
        "f1": pytest.approx(2 / 3),
    }
    assert found["confusion"][2] == [1, 0, 1, 0, 0]
    (wrong,) = found["misclassified"]
    assert wrong["image"] == str(photos / "Oklahoma" / "wrong.jpg")
    assert (wrong["label"], wrong["predicted"]) == ("oklahoma", "indiana")
    assert 0 < wrong["score"] <= 1
    assert found["skipped"] == [
        {"path": str(photos / "Oklahoma" / "broken.jpg"), "reason": "empty file"}
    ]


def test_figures_as_text(graph: Path, photos: Path) -> None:
    lines = evaluate(graph, photos).stdout.splitlines()
    assert lines[0].startswith("Accuracy = 83.3% (N=6, 95% interval ")
    assert lines[2].split() == ["label", "images", "precision", "recall", "F1"]
    assert lines[3].split() == ["indiana", "1", "50.0%", "100.0%", "66.7%"]
    assert "3 oklahoma      1  0  1  0  0" in lines
    assert lines[-1] == "1 images could not be read and are not counted."


@pytest.mark.parametrize(
    ("minimum", "code"), [("0.8", 0), ("83%", 0), ("0.84", 3), ("84%", 3), ("100%", 3)]
)
def test_min_accuracy(graph: Path, photos: Path, minimum: str, code: int) -> None:
    result = evaluate(graph, photos, "--min_accuracy", minimum)
    assert result.return_value == code
    assert ("below --min_accuracy" in result.stderr) == (code == 3)
    assert "Accuracy = 83.3%" in result.stdout


def test_exact_names_come_first_and_alike_ones_are_told_apart(graph: Path, photos: Path) -> None:
    labels = photos.parent / "labels.txt"
    labels.write_text("Indiana\nindiana\nOklahoma+\nOklahoma-\nother\n")
    (photos / "Oklahoma").rename(photos / "Oklahoma-")
    for name in ("NewYork", "Pennsylvania", "Wyoming"):
        shutil.rmtree(photos / name)
    found = figures(evaluate(graph, photos, "--labels", str(labels), "--format", "json"))
    assert {name: each["images"] for name, each in found["labels"].items() if each["images"]} == {
        "Indiana": 1,
        "Oklahoma-": 2,
    }


def test_a_folder_that_is_no_label_of_the_graph(graph: Path, photos: Path) -> None:
    (photos / "Texas").mkdir()
    (photos / "Texas" / "a.jpg").write_bytes(b"")
    result = evaluate(graph, photos)
    assert isinstance(result.exception, DataError)
    assert "Texas" in str(result.exception)
    assert "indiana, newyork" in str(result.exception)


def test_folders_and_graphs_that_cannot_be_used(graph: Path, tmp_path: Path) -> None:
    assert isinstance(evaluate(graph, tmp_path / "absent").exception, DataError)
    assert isinstance(evaluate(graph, tmp_path).exception, DataError)
    assert isinstance(evaluate(tmp_path / "absent.pb", tmp_path).exception, GraphError)
    (tmp_path / "indiana").mkdir()
    (tmp_path / "indiana" / "a.jpg").write_bytes(b"no image")
    result = evaluate(graph, tmp_path)
    assert isinstance(result.exception, DataError)
    assert "no image of" in str(result.exception)


def test_image_dir_is_required(graph: Path) -> None:
    assert CliRunner().invoke(command, ["--graph", str(graph)]).exit_code == 2
