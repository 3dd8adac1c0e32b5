"""Model files as people really have them: each labels its own pictures right, by the command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import Run, tlcli

METADATA = "01_tflite_metadata_mean_std_ignored"
TEACHABLE = "02_teachable_machine_range"
CUSTOM_VISION = "03_custom_vision_bgr_0_255"
RESCALING = "04_rescaling_layer_inside_and_logits"
GREY = "06_grey_models"
SPLITS = "08_train_val_test_folders"
SCALAR = "10_scalar_placeholder_taken_for_image"
FREE_SIZE = "11_free_size_tflite"
LOBE = "13_lobe_signature_json"
ENCODED = "14_savedmodel_takes_image_bytes"
ULTRALYTICS = "15_ultralytics_temp_meta"
POINTER = "16_lfs_pointer"
JSON_LABELS = "17_labels_json"
ASSUMED = "is assumed"


def label(shared: Path, folder: str, *options: str) -> Run:
    return tlcli("label", "--format", "json", *options, cwd=shared / "wild" / folder)


def assert_right(run: Run, *pictures: str) -> None:
    """Check that pictures have their own labels, each with a high score."""
    assert run.code == 0, run.err
    best = [each["predictions"][0] for each in run.json]
    assert [each["label"] for each in best] == list(pictures)
    assert all(each["score"] > 0.9 for each in best)


@pytest.mark.parametrize(
    ("folder", "graph", "options"),
    [
        (METADATA, "model.tflite", ()),
        (TEACHABLE, "model_unquant.tflite", ()),
        pytest.param(TEACHABLE, "model.savedmodel", (), marks=pytest.mark.slow),
        pytest.param(RESCALING, "model.tflite", (), marks=pytest.mark.slow),
        pytest.param(RESCALING, "saved_model", (), marks=pytest.mark.slow),
        pytest.param(GREY, "frozen_graph.pb", ("--labels", "labels.txt"), marks=pytest.mark.slow),
        pytest.param(GREY, "saved_model", (), marks=pytest.mark.slow),
        pytest.param(SCALAR, "scalar_colour.pb", (), marks=pytest.mark.slow),
        pytest.param(SCALAR, "unknown_colour.pb", (), marks=pytest.mark.slow),
        pytest.param(LOBE, "model", (), marks=pytest.mark.slow),
        pytest.param(ENCODED, "saved_model", (), marks=pytest.mark.slow),
        pytest.param(ULTRALYTICS, "model.tflite", (), marks=pytest.mark.slow),
    ],
)
def test_a_model_labels_its_own_pictures(
    shared: Path, folder: str, graph: str, options: tuple[str, ...]
) -> None:
    run = label(shared, folder, "--graph", graph, *options, "dark.png", "bright.png")
    assert_right(run, "dark", "bright")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "options"),
    [
        (GREY, ()),
        (FREE_SIZE, ("--input_height", "32", "--input_width", "32")),
        (JSON_LABELS, ()),
        (JSON_LABELS, ("--labels", "class_indices.json")),
    ],
)
def test_a_litert_file_that_shows_nothing_is_fed_by_the_convention(
    shared: Path, folder: str, options: tuple[str, ...]
) -> None:
    run = label(shared, folder, "--graph", "model.tflite", *options, "dark.png")
    assert_right(run, "dark")
    assert ASSUMED in run.err
    # Their makers fed 0 to 1, which no file tells.
    options = (*options, "--input_mean", "0", "--input_std", "255")
    run = label(shared, folder, "--graph", "model.tflite", *options, "dark.png", "bright.png")
    assert_right(run, "dark", "bright")
    assert ASSUMED not in run.err


def test_a_free_size_is_asked_for(shared: Path) -> None:
    run = label(shared, FREE_SIZE, "--graph", "model.tflite", "dark.png")
    assert run.code == 1
    assert "--input_height and --input_width" in run.err


def test_custom_vision_takes_blue_first(shared: Path) -> None:
    run = label(shared, CUSTOM_VISION, "--graph", "model.pb", "red.png", "blue.png")
    assert_right(run, "red", "blue")
    assert ASSUMED not in run.err


def test_logits_below_zero_are_probabilities_after_a_softmax(shared: Path) -> None:
    graph = ("--graph", "negative_logits.tflite", "--labels", "negative_labels.txt")
    run = label(shared, RESCALING, *graph, "dark.png")
    assert_right(run, "dark")
    assert sum(each["score"] for each in run.json[0]["predictions"]) == pytest.approx(1)


@pytest.mark.slow
def test_what_only_a_convention_supports_is_said_even_when_quiet(shared: Path) -> None:
    for folder, graph, said in ((GREY, "model.tflite", 1), (METADATA, "model.tflite", 0)):
        run = label(shared, folder, "--graph", graph, "dark.png", "--quiet")
        assert run.err.count(ASSUMED) == said


@pytest.mark.slow
def test_grey_scalars_are_no_images(shared: Path) -> None:
    options = ("--input_mean", "0", "--input_std", "1")
    run = label(shared, SCALAR, "--graph", "scalar_grey.pb", *options, "bright.png")
    assert_right(run, "bright")


@pytest.mark.parametrize("command", ["label", "evaluate"])
def test_a_pointer_of_git_lfs_is_named(shared: Path, command: str) -> None:
    folder = shared / "wild" / POINTER
    images = ("--image", "dark.png") if command == "label" else ("--image_dir", folder)
    run = tlcli(command, "--graph", "retrained_graph.pb", *images, cwd=folder)
    assert run.code == 1
    assert run.err.count("\n") == 1
    assert "run git lfs pull" in run.err


def test_a_photo_that_is_a_pointer_of_git_lfs_is_named(shared: Path) -> None:
    graph = shared / "wild" / METADATA / "model.tflite"
    run = tlcli("label", "--graph", graph, shared / "wild" / POINTER / "photo.jpg")
    assert run.code == 1
    assert "photo.jpg: a Git LFS pointer, not the file itself: run git lfs pull" in run.err


@pytest.mark.slow
def test_folders_of_splits_are_taken_as_given(shared: Path, tmp_path: Path) -> None:
    data = shared / "wild" / SPLITS / "data"
    run = tlcli("retrain", "--image_dir", data, "--no_report", "--format", "json", cwd=tmp_path)
    assert run.code == 0, run.err
    assert set(run.json["labels"]) == {"blue", "red"}
    assert {label["testing"] for label in run.json["labels"].values()} == {4}
    run = tlcli("evaluate", "--image_dir", data, "--format", "json", cwd=tmp_path)
    assert run.code == 0, run.err
    assert (run.json["count"], run.json["trained"]["count"]) == (8, 0)
    assert str(data / "test") in run.err


DESCRIBED: list[tuple[str, str, dict[str, Any]]] = [
    (
        METADATA,
        "model.tflite",
        {"mean": 127.5, "std": 127.5, "channels": "rgb", "assumed": False},
    ),
    (CUSTOM_VISION, "model.pb", {"mean": [105.0, 117.0, 124.0], "std": 1.0, "channels": "bgr"}),
    (GREY, "model.tflite", {"channels": "grey", "assumed": True}),
    (RESCALING, "model.tflite", {"mean": 0.0, "std": 1.0, "assumed": False}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "graph", "wanted"), DESCRIBED)
def test_the_specification_is_described(
    shared: Path, folder: str, graph: str, wanted: dict[str, Any]
) -> None:
    run = tlcli(
        *("label", "--describe", "--graph", graph, "--format", "json"),
        cwd=shared / "wild" / folder,
    )
    assert run.code == 0, run.err
    found = run.json["input"]
    assert {key: found[key] for key in wanted} == wanted
    assert {"scaling", "height", "channels", "resizing"} <= found["sources"].keys()


def test_the_specification_in_words(shared: Path) -> None:
    run = tlcli("label", "--describe", "--graph", "model.pb", cwd=shared / "wild" / CUSTOM_VISION)
    assert run.code == 0, run.err
    rows = [line.split("  ")[0] for line in run.out.splitlines()[1:]]
    assert rows == [
        *("kind", "origin", "input", "size", "channels", "pixels", "resizing", "output"),
        *("scores", "labels"),
    ]
    assert "blue, green, red" in run.out
    assert "Azure Custom Vision" in run.out


@pytest.mark.slow
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_order_of_channels_can_be_given(shared: Path, order: str) -> None:
    graph = ("--graph", "model.pb", "--channel_order", order)
    run = label(shared, CUSTOM_VISION, *graph, "red.png")
    assert run.json[0]["predictions"][0]["label"] == ("red" if order == "bgr" else "blue")
