"""`tlcli retrain --fine_tune` from outside, on a network that trains within a second."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from tests.retrain.tuning.striped import keras_file, striped_photos
from tests.support import Run, tlcli
from tlcli.backbones import catalogue

pytestmark = pytest.mark.slow
PLAIN = ("--no_report", "--format", "json")
# Logistic regression of the bottleneck, and enough validation images to choose by.
OPTIONS = ("--solver", "lbfgs", "--validation_percentage", 30, *PLAIN)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with photos and a network."""
    folder = tmp_path_factory.mktemp("tuned")
    keras_file(folder)
    striped_photos(folder / "photos")
    return folder


def command(place: Path, folder: Path, *options: object) -> list[object]:
    return [
        "retrain", "--image_dir", place / "photos", "--module", place / "small.keras",
        "--preset", "original", "--output_graph", folder / "graph.pb", *OPTIONS, *options,
    ]  # fmt: skip


def scores(run: Run) -> dict[str, float]:
    assert run.code == 0, run.err
    return {each["label"]: each["score"] for each in run.json[0]["predictions"]}


def test_a_gain_is_kept_in_all_outputs_and_the_same_bytes_come_out_twice(
    place: Path, tmp_path: Path
) -> None:
    graphs = []
    for name in ("one", "two"):
        folder = tmp_path / name
        run = tlcli(
            *command(place, folder, "--fine_tune", "auto", "--saved_model_dir", folder / "saved"),
            cache=tmp_path / f"cache {name}",
        )
        assert run.code == 0, run.err
        graphs.append((folder / "graph.pb").read_bytes())
    assert graphs[0] == graphs[1]
    found = run.json["fine_tuned"]
    assert found["kept"]
    assert found["after"] == min(found["tried"].values()) < found["before"]
    # Its training images were trained on, so it would promise too much.
    assert not run.json.get("learning_curve")
    card = json.loads((folder / "graph.json").read_text())
    assert card["training"]["fine_tuned"]["after"] == found["after"]
    assert card["backbone"]["source"].endswith(", fine-tuned")

    image = place / "photos" / "across" / "0.png"
    label = ("label", image, "--format", "json", "--graph")
    expected = scores(tlcli(*label, folder / "graph.pb"))
    assert max(expected, key=lambda each: expected[each]) == "across"
    for other in ("saved", "graph.tflite"):
        assert scores(tlcli(*label, folder / other)) == pytest.approx(expected, abs=1e-4)
    evaluated = tlcli(
        "evaluate", "--graph", folder / "graph.pb", "--image_dir", place / "photos",
        "--format", "json",
    )  # fmt: skip
    assert evaluated.code == 0, evaluated.err
    assert evaluated.json["accuracy"] > 0.9


def test_each_fold_trains_a_network_of_its_own(place: Path, tmp_path: Path) -> None:
    run = tlcli(*command(place, tmp_path, "--fine_tune", "head_blocks", "--cross_validate", 2))
    assert run.code == 0, run.err
    assert "--cross_validate 2 fine-tunes the network again in each of 2 folds" in run.err
    assert run.json["cross_validation"]["folds"] == 2
    assert run.json["cross_validation"]["accuracy"] > 0.7
    assert run.json["seconds"]["folds"] > 0


def test_of_joined_networks_the_first_is_trained_beside_the_frozen_ones(
    place: Path, tmp_path: Path
) -> None:
    other = keras_file(tmp_path, "other.keras", seed=2)
    run = tlcli(
        *command(place, tmp_path, "--fine_tune", "head_blocks"),
        "--module", f"{place / 'small.keras'}+{other}",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert run.json["fine_tuned"]["after"] < run.json["fine_tuned"]["before"]
    names = [part["name"] for part in run.json["backbone"]["parts"]]
    assert len(names) == 3
    assert names[0].startswith("fine-tuned ")
    assert run.json["backbone"]["bottleneck_size"] == 3 * 8
    evaluated = tlcli(
        "evaluate", "--graph", tmp_path / "graph.pb", "--image_dir", place / "photos",
        "--format", "json",
    )  # fmt: skip
    assert evaluated.json["accuracy"] > 0.9


def test_a_keras_application_is_trained_by_its_name(place: Path, tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(1)
    name = "mobilenet_v1_0.25_128"
    network = keras.applications.MobileNet(
        (128, 128, 3), alpha=0.25, weights=None, include_top=False
    )
    written = tmp_path / "written.weights.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.save_weights(written)
    written.rename(tmp_path / catalogue.entries()[name].file_name)
    run = tlcli(
        "retrain", "--image_dir", place / "photos", "--module", name, "--model_dir", tmp_path,
        *OPTIONS, "--fine_tune", "head_blocks", "--output_graph", tmp_path / "graph.pb",
    )  # fmt: skip
    assert run.code == 0, run.err
    found = run.json["fine_tuned"]
    assert found["kept"]
    assert found["part"] == "head_blocks"
    # Random weights learn little; that they are trained is the point.
    assert found["after"] != found["before"]
    assert run.json["backbone"]["name"] == name
    assert run.json["backbone"]["source"].endswith(", fine-tuned")


def test_a_frozen_graph_is_refused_before_any_work(shared: Path, place: Path) -> None:
    graph = shared / "legacy" / "backbones"
    path = min(graph.rglob("*128*/*.pb"), default=None) or min(graph.rglob("*.pb"))
    run = tlcli(
        "retrain", "--image_dir", place / "photos", "--module", path, "--fine_tune", "all", *PLAIN
    )
    assert run.code == 1
    assert "cannot be fine-tuned: frozen graphs, SavedModels and Hub modules" in run.err
    assert "Step" not in run.err
