"""Keras files as people really have them, by the command: labelled, and as backbones.

Each command imports TensorFlow in a child and again here, so all but one are slow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import Run, tlcli

TEACHABLE = "02_teachable_machine_range"
RESCALING = "04_rescaling_layer_inside_and_logits"
GREY = "06_grey_models"
NESTED = "07_backbone_is_softmax_of_nested_head"
TUTORIAL = "09_tf_transfer_learning_tutorial_refused"
KERAS_2 = "19_saved_by_tf_keras"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache for all commands here: a model is tried once."""
    return tmp_path_factory.mktemp("cache")


def label(shared: Path, cache: Path, folder: str, *options: str) -> Run:
    return tlcli("label", "--format", "jsonl", *options, cwd=shared / "wild" / folder, cache=cache)


def best(run: Run) -> tuple[str, float]:
    assert run.code == 0, run.err
    first = run.json["predictions"][0]
    return first["label"], first["score"]


@pytest.mark.slow
def test_the_model_of_teachable_machine_is_labelled(shared: Path, cache: Path) -> None:
    for _ in range(2):  # the second time by the conversion in the cache
        run = label(shared, cache, TEACHABLE, "--graph", "keras_model.h5", "--image", "dark.png")
        found, score = best(run)
        assert found == "dark"
        assert score > 0.99
        assert "assumed" not in run.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "graph", "pictures", "least"),
    [
        (RESCALING, "model.keras", {"dark": "dark", "bright": "bright"}, 0.9),
        (GREY, "model.keras", {"dark": "dark", "bright": "bright"}, 0.9),
        (TUTORIAL, "model.keras", {"red": "cat", "blue": "dog"}, 0.6),
        (TUTORIAL, "saved_model", {"red": "cat", "blue": "dog"}, 0.6),
    ],
)
def test_a_model_labels_its_own_pictures(
    shared: Path, cache: Path, folder: str, graph: str, pictures: dict[str, str], least: float
) -> None:
    options = ("--labels", "labels.txt") if graph == "saved_model" else ()
    files = [f"{picture}.png" for picture in pictures]
    run = label(shared, cache, folder, "--graph", graph, *options, *files)
    assert run.code == 0, run.err
    best = [json.loads(line)["predictions"][0] for line in run.out.splitlines()]
    assert [each["label"] for each in best] == list(pictures.values())
    assert all(each["score"] > least for each in best)


@pytest.mark.slow
def test_both_formats_of_keras_2_give_the_same_scores(
    shared: Path, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    image = str(shared / "wild" / GREY / "red.png")
    options = ("--labels", str(tmp_path / "labels.txt"), "--image", image)
    scores = [
        best(label(shared, cache, KERAS_2, "--graph", graph, *options))
        for graph in ("model.keras", "model.h5")
    ]
    assert scores[0] == pytest.approx(scores[1])


@pytest.mark.slow
def test_a_keras_file_is_described_evaluated_and_explained(
    shared: Path, cache: Path, tmp_path: Path
) -> None:
    described = label(shared, cache, TEACHABLE, "--describe", "--graph", "keras_model.h5")
    assert described.code == 0, described.err
    assert "Teachable Machine" in described.out

    folder = shared / "wild" / TEACHABLE
    for name in ("dark", "bright"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        picture = (folder / f"{name}.png").read_bytes()
        (tmp_path / "photos" / name / "1.png").write_bytes(picture)
    graph = str(folder / "keras_model.h5")
    run = tlcli(
        *("evaluate", "--graph", graph, "--image_dir", tmp_path / "photos", "--format", "json"),
        cwd=tmp_path, cache=cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert run.json["accuracy"] == 1.0

    run = tlcli(
        *("label", "--graph", graph, "--explain", tmp_path / "maps", folder / "dark.png"),
        cwd=tmp_path, cache=cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert len(list((tmp_path / "maps").iterdir())) == 1


def retrain(shared: Path, cache: Path, out: Path, module: str, *options: str) -> Any:
    run = tlcli(
        *("retrain", "--image_dir", shared / "wild" / NESTED / "photos", "--format", "json"),
        *("--module", shared / "wild" / module, "--testing_percentage", 25, *options),
        *("--preset", "original"),
        cwd=out, cache=cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "options", "size"),
    [
        (f"{NESTED}/keras_model.h5", (), 8),
        (f"{NESTED}/saved_model", (), 8),
        (f"{NESTED}/saved_model", ("--module_output", "sequential_1"), 16),
        (f"{NESTED}/keras_model_of_model.h5", ("--module_output", "sequential_1"), 16),
        (f"{TUTORIAL}/model.keras", (), 8),
        (f"{TUTORIAL}/saved_model", (), 8),
        (f"{KERAS_2}/model.keras", (), 16),
        (f"{KERAS_2}/model.h5", (), 16),
    ],
)
def test_a_model_is_a_backbone_of_features(
    shared: Path, cache: Path, tmp_path: Path, module: str, options: tuple[str, ...], size: int
) -> None:
    run = retrain(shared, cache, tmp_path, module, *options)

    assert run.json["backbone"]["bottleneck_size"] == size
    assert run.json["test_accuracy"] == 1.0
    assert ("--module_output" in run.err) == (module.endswith("saved_model") and not options)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["model.keras", "saved_model", "frozen_graph.pb"])
def test_a_model_for_grey_images_is_a_backbone(
    shared: Path, cache: Path, tmp_path: Path, module: str
) -> None:
    run = retrain(shared, cache, tmp_path, f"{GREY}/{module}")

    assert run.json["backbone"]["bottleneck_size"] == 2
    assert "--module_output" in run.err  # as narrow as a list of labels
    graph = str(tmp_path / "output_graph.pb")
    picture = shared / "wild" / GREY / "dark.png"
    assert tlcli("label", "--graph", graph, picture, cache=cache).code == 0
