"""What `tlcli retrain` cannot do: one sentence, the right exit code, and nothing half-written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.retrain.imported_houses import IMPORT_ONLY, houses
from tests.support import Trained, tlcli


def test_imported_vectors_of_another_backbone_are_refused(shared: Path, tmp_path: Path) -> None:
    run = tlcli("retrain", "--import_bottlenecks", houses(shared), cwd=tmp_path)
    assert run.code == 2
    assert "2048" in run.err
    assert "1280" in run.err
    assert "--module" in run.err


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    run = tlcli("retrain", "--image_dir", tmp_path / "absent")
    assert run.code == 1
    assert str(tmp_path / "absent") in run.err
    assert len(run.err.strip().splitlines()) == 1


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    run = tlcli("retrain", "--image_dir", tmp_path)
    assert run.code == 1
    assert len(run.err.strip().splitlines()) == 1


def test_one_label_only_is_one_sentence(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.photos / "house_without_pool", tmp_path / "photos" / "one")
    run = tlcli("retrain", "--image_dir", tmp_path / "photos", cache=trained.cache)
    assert run.code == 1
    assert "one" in run.err


def test_too_few_images_is_one_sentence(trained: Trained, tmp_path: Path) -> None:
    for label in ("a", "b"):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        source = "house_with_pool" if label == "a" else "house_without_pool"
        for image in sorted((trained.photos / source).glob("*.jpg"))[-(2 if label == "b" else 5) :]:
            if image.stat().st_size:
                shutil.copy(image, folder)
    run = tlcli("retrain", "--image_dir", tmp_path / "photos", cache=trained.cache)
    assert run.code == 1
    assert "'b'" in run.err


def test_strict_ends_at_an_unreadable_image(trained: Trained, tmp_path: Path) -> None:
    run = tlcli(
        "retrain", "--image_dir", trained.photos, "--strict", "--output_graph",
        tmp_path / "output_graph.pb", cache=trained.cache,
    )  # fmt: skip
    assert run.code == 1
    assert "broken.jpg" in run.err
    assert not (tmp_path / "output_graph.pb").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--testing_percentage", "60", "--validation_percentage", "40"],
        ["--testing_percentage", "-1"],
        ["--how_many_training_steps", "0"],
        ["--learning_rate", "0"],
        ["--learning_rate", "nan"],
        ["--random_crop", "101"],
        ["--train_batch_size", "0"],
        ["--distortion_views", "0"],
        ["--min_accuracy", "101%"],
        ["--min_accuracy", "high"],
        ["--cross_validate", "1"],
        ["--solver", "adam"],
        ["--preset", "great"],
        ["--preset", "standard", "--learning_rate", "0.1"],
        ["--precision", "float16"],
        ["--import_bottlenecks", "texts", "--precision", "bfloat16"],
        ["--input_std", "0"],
        ["--final_layer_only", "--saved_model_dir", "x"],
        ["--intermediate_store_frequency", "10"],
        ["--final_tensor_name", "final result"],
        ["--architecture", "inception_v3", "--module", "resnet50"],
        ["--output_labels", ""],
        ["--output_labels", "output_graph.pb"],
        ["--output_report", "output_graph.json"],
        ["--output_tflite", "output_graph.pb"],
        ["--no_report", "--output_report", "x.html"],
    ],
)
def test_values_that_cannot_work_are_wrong_use(trained: Trained, arguments: list[str]) -> None:
    run = tlcli("retrain", "--image_dir", trained.photos, *arguments, cwd=trained.folder / "photos")
    assert run.code == 2, run.err
    assert arguments[0] in run.err


@pytest.mark.skipif(os.name != "posix", reason="needs /dev/full")
def test_an_output_that_cannot_be_written_is_one_sentence(trained: Trained) -> None:
    run = tlcli(
        "retrain", "--image_dir", trained.photos, "--output_graph", "/dev/full/output_graph.pb",
        cache=trained.cache,
    )  # fmt: skip
    assert run.code == 1
    assert "/dev/full" in run.err


def test_an_empty_image_dir_is_not_the_current_folder(tmp_path: Path) -> None:
    run = tlcli("retrain", "--image_dir", "", cwd=tmp_path)
    assert run.code == 2
    assert "empty" in run.err


@pytest.mark.slow
def test_unusable_text_files_are_named_and_end_a_strict_run(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vectors"
    shutil.copytree(houses(shared), folder)
    (folder / "house_with_pool" / "bad.jpg.txt").write_text("1,2,x")
    common = ["--import_bottlenecks", folder, *IMPORT_ONLY, "--no_report", "--output_graph"]
    run = tlcli("retrain", *common, tmp_path / "g.pb", "--quiet")
    assert run.code == 0
    assert "bad.jpg.txt" in run.err
    run = tlcli("retrain", *common, tmp_path / "h.pb", "--strict")
    assert run.code == 1
    assert "bad.jpg.txt" in run.err
    assert not (tmp_path / "h.pb").exists()


def test_a_failing_output_leaves_the_older_ones_as_they_were(trained: Trained) -> None:
    before = {path: path.read_bytes() for path in trained.folder.iterdir() if path.is_file()}
    run = tlcli(
        "retrain", "--image_dir", trained.photos, "--output_graph", trained.graph,
        "--output_labels", "/dev/full/labels.txt", "--how_many_training_steps", 5,
        cache=trained.cache,
    )  # fmt: skip
    assert run.code == 1
    blocked = trained.folder / "blocked"
    blocked.write_text("")
    run = tlcli(
        "retrain", "--image_dir", trained.photos, "--output_graph", trained.graph,
        "--saved_model_dir", blocked / "model", "--how_many_training_steps", 5,
        cache=trained.cache,
    )  # fmt: skip
    assert run.code == 1
    blocked.unlink()
    after = {path: path.read_bytes() for path in trained.folder.iterdir() if path.is_file()}
    assert after == before


def test_the_python_interface_names_a_wrong_option() -> None:
    import tlcli as package

    with pytest.raises(package.errors.UsageError, match="nosuch"):
        package.retrain("photos", nosuch=1)
    with pytest.raises(package.errors.UsageError, match="how_many_training_steps"):
        package.retrain("photos", how_many_training_steps="50")
