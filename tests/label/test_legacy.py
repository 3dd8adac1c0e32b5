"""Real graphs of the original tools give their old scores with no option but graph and image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from label.command import command

GRAPHS = [
    ("plates_128", "graph.pb", "top5"),
    ("plates_128", "graph.tflite", "top5_tflite"),
    ("banknotes_224", "graph.pb", "top5"),
    ("panels_128_optimized", "graph.pb", "top5"),
    ("mirror_128_quantized", "graph.pb", "top5"),
    ("hub_style_128_synthetic", "graph.pb", "top5"),
    ("inception2015_style_synthetic", "graph.pb", "top5"),
]


def label(*arguments: object) -> Any:
    result = CliRunner().invoke(
        command, [*map(str, arguments), "--format", "json"], standalone_mode=False
    )
    assert result.return_value == 0, result.output
    return json.loads(result.stdout)


def test_no_folder_is_forgotten(shared: Path) -> None:
    folders = {path.parent.name for path in (shared / "legacy").glob("*/graph.*")}
    assert folders == {folder for folder, _, _ in GRAPHS}


@pytest.mark.parametrize(("folder", "name", "key"), GRAPHS)
def test_old_scores(shared: Path, folder: str, name: str, key: str) -> None:
    legacy = shared / "legacy" / folder
    expected = json.loads((legacy / "expected.json").read_text())["photos"]
    images = [shared / photo for photo in expected]
    found = label("--graph", legacy / name, "--top_k", 1000, *images)
    assert [each["image"] for each in found] == [str(image) for image in images]
    for prediction, wanted in zip(found, expected.values(), strict=True):
        scores = {each["label"]: each["score"] for each in prediction["predictions"]}
        assert prediction["predictions"][0]["label"] == wanted[key][0]["label"]
        for each in wanted[key]:
            assert scores[each["label"]] == pytest.approx(each["score"], abs=0.01)


@pytest.mark.parametrize("folder", ["hub_style_128_synthetic", "panels_128_optimized"])
def test_where_tensorflow_runs_the_graph_scores_are_the_same(shared: Path, folder: str) -> None:
    legacy = shared / "legacy" / folder
    expected = json.loads((legacy / "expected.json").read_text())["photos"]
    found = label("--graph", legacy / "graph.pb", *(shared / photo for photo in expected))
    for prediction, wanted in zip(found, expected.values(), strict=True):
        best = wanted["top5"][0]
        assert prediction["predictions"][0]["score"] == pytest.approx(best["score"], abs=1e-5)


def test_a_backbone_labels_imagenet(shared: Path) -> None:
    backbones = shared / "legacy" / "backbones"
    expected = json.loads((backbones / "expected.json").read_text())["mobilenet_v1_0.25_128"]
    found = label(
        *("--graph", backbones / "mobilenet_v1_0.25_128" / "frozen_graph.pb"),
        *("--labels", backbones / "labels.txt"),
        *("--input_mean", 127.5, "--input_std", 127.5),
        *(shared / photo for photo in expected["photos"]),
    )
    for prediction, wanted in zip(found, expected["photos"].values(), strict=True):
        for got, best in zip(prediction["predictions"], wanted["top5_imagenet"], strict=True):
            assert got["label"].endswith(best["label"].split(":", 1)[1])
            assert got["score"] == pytest.approx(best["score"], abs=1e-4)


def test_one_at_a_time_and_all_at_once_give_the_same(shared: Path) -> None:
    legacy = shared / "legacy" / "inception2015_style_synthetic"
    photos = sorted((shared / "flowers/photos/roses").iterdir())[:9]
    at_once = label("--graph", legacy / "graph.pb", "--batch_size", 9, *photos)
    one_by_one = label("--graph", legacy / "graph.pb", "--batch_size", 1, *photos)
    for left, right in zip(at_once, one_by_one, strict=True):
        assert left["predictions"][0]["label"] == right["predictions"][0]["label"]
        assert left["predictions"][0]["score"] == pytest.approx(
            right["predictions"][0]["score"], abs=1e-5
        )
