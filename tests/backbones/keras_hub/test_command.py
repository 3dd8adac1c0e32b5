"""A preset of keras-hub from the command line to labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.backbones.keras_hub import presets
from tests.support import Trained, tlcli
from tlcli.backbones.keras_hub.library import import_keras_hub

pytestmark = [
    pytest.mark.slow,
    # Keras asks NumPy for copies in a way that newer NumPy warns of.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of models with two presets that were put there by hand."""
    pytest.importorskip("kagglehub", reason="needs the extra hub (keras-hub)")
    folder = tmp_path_factory.mktemp("models")
    keras_hub = import_keras_hub()
    presets.save(keras_hub, "DINOV2", folder / "dinov2_small")
    presets.save(keras_hub, "DINOV3", folder / "dinov3_vit_small_lvd1689m")
    return folder


def _retrain(models: Path, trained: Trained, folder: Path, module: str, *more: object) -> Any:
    run = tlcli(
        "retrain", "--image_dir", trained.folder / "photos", "--module", module,
        "--model_dir", models, "--how_many_training_steps", 100, "--format", "json", *more,
        cwd=folder, cache=folder / "cache",
    )  # fmt: skip
    assert run.code == 0, run.err
    return run.json, run.err


def test_retrain_and_label(models: Path, trained: Trained, tmp_path: Path) -> None:
    result, _ = _retrain(
        models, trained, tmp_path, "keras_hub:dinov2_small",
        "--input_height", 56, "--output_tflite", "output_graph.tflite",
    )  # fmt: skip

    assert result["backbone"]["name"] == "keras_hub:dinov2_small"
    card = json.loads((tmp_path / "output_graph.json").read_text())
    assert card["backbone"]["licence"] == "Apache-2.0"
    assert card["backbone"]["bottleneck_size"] == 32
    assert (card["input"]["height"], card["input"]["width"]) == (56, 56)
    photo = trained.photo
    scores = []
    for graph in ("output_graph.pb", "output_graph.tflite"):
        run = tlcli(
            "label", photo, "--graph", graph, "--format", "json",
            cwd=tmp_path, cache=tmp_path / "cache",
        )  # fmt: skip
        assert run.code == 0, run.err
        (found,) = run.json
        scores.append({each["label"]: each["score"] for each in found["predictions"]})
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_licence_that_is_not_open_is_named(models: Path, trained: Trained, tmp_path: Path) -> None:
    _, errors = _retrain(models, trained, tmp_path, "keras_hub:dinov3_vit_small_lvd1689m")

    assert "have the DINOv3 License (not open source): read its terms" in errors
    card = json.loads((tmp_path / "output_graph.json").read_text())
    assert card["backbone"]["licence"] == "DINOv3 License (not open source)"
