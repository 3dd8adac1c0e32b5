"""`tlcli retrain` from outside, as the contract has it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.retrain.imported_houses import IMPORT_ONLY, houses
from tests.support import Run, Trained, tlcli
from tlcli.core.export.model_card import load_for


def test_standard_output_is_one_json_object_with_the_contract_keys(trained: Trained) -> None:
    result = trained.run.json
    assert set(result) >= {
        "test_accuracy",
        "test_count",
        "test_interval",
        "validation_accuracy",
        "labels",
        "skipped",
        "preset",
        "backbone",
        "outputs",
        "seconds",
        "cache",
    }
    low, high = result["test_interval"]
    assert 0 <= low <= result["test_accuracy"] <= high <= 1
    counts = result["labels"]["house with pool"]
    assert set(counts) == {"images", "training", "validation", "testing", "precision", "recall"}
    assert counts["images"] == counts["training"] + counts["validation"] + counts["testing"]
    assert sum(label["testing"] for label in result["labels"].values()) == result["test_count"]
    assert result["backbone"]["name"] == "efficientnet_lite0"
    assert result["preset"] == "original"
    # The originals' scores stay as they are.
    assert result["calibration"]["before"] == result["calibration"]["after"]
    assert result["calibration"]["temperature"] == 1
    assert result["cache"]["computed"] == sum(x["images"] for x in result["labels"].values())


def test_figures_that_count_every_label_alike_and_what_more_photos_would_bring(
    trained: Trained,
) -> None:
    result = trained.run.json
    low, high = result["balanced_accuracy_interval"]
    assert 0 <= low <= result["balanced_accuracy"] <= high <= 1
    assert 0 <= result["macro_f1"] <= 1
    # Each label has fewer test images than an interval needs.
    assert result["macro_f1_interval"] is None
    images = [count for count, _ in result["learning_curve"]]
    assert images == sorted(images)
    assert all(0 <= accuracy <= 1 for _, accuracy in result["learning_curve"])
    low, high = result["expected_with_twice_interval"]
    assert low <= result["expected_with_twice"] <= high
    page = (trained.folder / "output_report.html").read_text("utf-8")
    assert 'id="more-photos"' in page
    assert re.search(r"Macro F1</dt><dd>[\d.]+%", page)


def test_an_unreadable_image_is_named_and_skipped(trained: Trained) -> None:
    (skipped,) = trained.run.json["skipped"]
    assert skipped["path"].endswith("broken.jpg")
    assert "empty" in skipped["reason"]
    assert "broken.jpg" in trained.run.err


def test_the_log_lines_are_those_of_the_original(trained: Trained) -> None:
    log = trained.run.err
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"
    for step in (0, 10, 290, 299):
        assert re.search(rf"^{stamp}: Step {step}: Train accuracy = \d+\.\d%$", log, re.M)
        assert re.search(rf"^{stamp}: Step {step}: Cross entropy = \d+\.\d{{6}}$", log, re.M)
        assert re.search(
            rf"^{stamp}: Step {step}: Validation accuracy = \d+\.\d% \(N=\d+\)$", log, re.M
        )
    assert not re.search(r"Step 5: ", log)
    result = trained.run.json
    final = f"Final test accuracy = {result['test_accuracy'] * 100:.1f}% (N={result['test_count']})"
    assert re.search(rf"^{re.escape(final)}$", log, re.M)


def test_misclassified_images_are_listed_as_the_original_did(trained: Trained) -> None:
    lines = trained.run.err.splitlines()
    start = lines.index("=== MISCLASSIFIED TEST IMAGES ===")
    wrong = trained.run.json["misclassified"]
    listed = lines[start + 1 : start + 1 + len(wrong)]
    assert [line.split("  ") for line in listed] == [[w["image"], w["predicted"]] for w in wrong]


def test_every_output_is_there_and_in_the_card(trained: Trained) -> None:
    outputs = trained.run.json["outputs"]
    for path in outputs.values():
        assert (trained.folder / path).exists()
    card = json.loads((trained.folder / "output_graph.json").read_text(encoding="utf-8"))
    assert card["format"] == 1
    assert card["labels"] == ["house with pool", "house without pool"]
    assert card["input"]["name"] == "Placeholder"
    assert (card["input"]["height"], card["input"]["width"]) == (224, 224)
    assert card["output"] == "final_result"
    assert card["accuracy"]["test"] == trained.run.json["test_accuracy"]
    for name, digest in card["files"].items():
        assert hashlib.sha256((trained.folder / name).read_bytes()).hexdigest() == digest
    assert {"output_graph.pb", "output_labels.txt", "output_graph.tflite"} <= set(card["files"])


def test_nothing_temporary_stays(trained: Trained) -> None:
    assert not [path for path in trained.folder.rglob("*") if "tmp" in path.name]


def test_a_second_run_computes_nothing_and_writes_the_same_bytes(trained: Trained) -> None:
    again = trained.folder / "again" / "output_graph.pb"
    run = tlcli(
        "retrain", "--image_dir", "photos", "--output_graph", again, "--format", "json",
        "--how_many_training_steps", 300, "--testing_percentage", 25, "--quiet", "--no_report",
        cwd=trained.folder, cache=trained.cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert run.json["cache"]["computed"] == 0
    assert run.json["test_accuracy"] == trained.run.json["test_accuracy"]
    assert again.read_bytes() == trained.graph.read_bytes()
    assert not (again.parent / "output_report.html").exists()
    assert "Step" not in run.err


def test_label_gives_the_accuracy_that_retrain_printed_image_by_image(trained: Trained) -> None:
    from retrain.arguments.options import RetrainOptions
    from retrain.sources import find_images
    from tlcli.core.data.splits import assign_splits

    dataset = find_images(RetrainOptions(image_dir=trained.photos)).dataset
    images = [image for image in dataset.images if image.path and image.path.stat().st_size]
    splits = assign_splits(
        [image.name for image in images],
        [image.label for image in images],
        [None] * len(images),
        25,
        10,
    )
    tested = {
        str(image.path): image.label
        for image, split in zip(images, splits, strict=True)
        if split == "testing"
    }
    listing = trained.folder / "tested.txt"
    listing.write_text("\n".join(tested))
    run = tlcli(
        "label", "--graph", trained.graph, "--image", f"@{listing}", "--format", "jsonl",
        cache=trained.cache,
    )  # fmt: skip
    assert run.code == 0
    lines = [json.loads(line) for line in run.out.splitlines()]
    assert [line["image"] for line in lines] == list(tested)
    wrong = [
        line["image"] for line in lines if line["predictions"][0]["label"] != tested[line["image"]]
    ]
    result = trained.run.json
    assert len(tested) == result["test_count"]
    assert {Path(path).name for path in wrong} == {
        Path(item["image"]).name for item in result["misclassified"]
    }


def import_houses(shared: Path, folder: Path, *more: object) -> Run:
    return tlcli(
        "retrain", "--import_bottlenecks", houses(shared), *IMPORT_ONLY, "--format", "json",
        "--output_graph", folder / "output_graph.pb", *more, cache=folder / "cache",
    )  # fmt: skip


@pytest.mark.slow
def test_imported_vectors_alone_give_a_final_layer(shared: Path, tmp_path: Path) -> None:
    run = import_houses(shared, tmp_path)
    assert run.code == 0, run.err
    assert run.json["cache"] == {"hits": 0, "computed": 0, "imported": 518}
    assert sum(label["images"] for label in run.json["labels"].values()) == 518
    assert run.json["test_accuracy"] > 0.7
    labels = (tmp_path / "output_labels.txt").read_text(encoding="utf-8").splitlines()
    assert labels == ["house with pool", "house without pool"]


@pytest.mark.slow
def test_images_may_be_empty_where_vectors_are_imported(shared: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for text in houses(shared).glob("*/*.txt"):
        image = photos / text.parent.name / text.name.removesuffix(".txt")
        image.parent.mkdir(parents=True, exist_ok=True)
        image.touch()
    run = import_houses(shared, tmp_path, "--image_dir", photos)
    assert run.code == 0, run.err
    assert run.json["cache"]["imported"] == 518
    assert run.json["skipped"] == []
    alone = import_houses(shared, tmp_path / "alone")
    assert run.json["test_accuracy"] == alone.json["test_accuracy"]


@pytest.mark.slow
def test_exported_bottlenecks_come_back_the_same(trained: Trained, tmp_path: Path) -> None:
    common = ["--how_many_training_steps", 50, "--no_report", "--format", "json", "--quiet"]
    out = tlcli(
        "retrain", "--image_dir", trained.photos, "--export_bottlenecks", tmp_path / "text",
        "--output_graph", tmp_path / "a" / "g.pb", "--final_layer_only", *common,
        cache=trained.cache,
    )  # fmt: skip
    assert out.code == 0, out.err
    back = tlcli(
        "retrain", "--import_bottlenecks", tmp_path / "text", "--final_layer_only",
        "--output_graph", tmp_path / "b" / "g.pb", *common, cache=tmp_path / "other",
    )  # fmt: skip
    assert back.code == 0, back.err
    assert (tmp_path / "b" / "g.pb").read_bytes() == (tmp_path / "a" / "g.pb").read_bytes()


@pytest.mark.slow
def test_a_fit_cut_short_ends_with_the_layer_of_an_uncut_one(shared: Path, tmp_path: Path) -> None:
    whole = import_houses(shared, tmp_path / "whole")
    prefix = tmp_path / "checkpoint"
    first = import_houses(
        shared, tmp_path / "cut", "--checkpoint_path", prefix, "--how_many_training_steps", 123
    )
    second = import_houses(shared, tmp_path / "cut", "--checkpoint_path", prefix)
    assert (whole.code, first.code, second.code) == (0, 0, 0)
    assert "Step 10:" in first.err
    assert "Step 10:" not in second.err
    assert "goes on at step 123" in second.err
    graphs = [(tmp_path / name / "output_graph.pb").read_bytes() for name in ("whole", "cut")]
    assert graphs[0] == graphs[1]


@pytest.mark.slow
def test_intermediate_graphs_are_written(shared: Path, tmp_path: Path) -> None:
    run = import_houses(
        shared, tmp_path, "--intermediate_output_graphs_dir", tmp_path / "between",
        "--intermediate_store_frequency", 200,
    )  # fmt: skip
    assert run.code == 0, run.err
    names = sorted(path.name for path in (tmp_path / "between").glob("*.pb"))
    assert names == ["intermediate_200.pb", "intermediate_400.pb"]
    for name in names:
        assert load_for(tmp_path / "between" / name) is not None


@pytest.mark.slow
def test_logistic_regression_and_cross_validation(shared: Path, tmp_path: Path) -> None:
    run = import_houses(shared, tmp_path, "--solver", "lbfgs", "--cross_validate", 5)
    assert run.code == 0, run.err
    cross = run.json["cross_validation"]
    assert cross["folds"] == 5
    assert 0.75 < cross["accuracy"] < 1
    assert 0 < cross["deviation"] < 0.2


@pytest.mark.slow
def test_discriminant_analysis(shared: Path, tmp_path: Path) -> None:
    run = import_houses(shared, tmp_path, "--solver", "lda", "--no_report")
    assert run.code == 0, run.err
    assert "Shrinkage 0." in run.err
    assert 0.7 < run.json["test_accuracy"] < 1
    run = import_houses(shared, tmp_path, "--solver", "lda", "--checkpoint_path", tmp_path / "c")
    assert run.code == 2
    assert "--solver lda takes no steps" in run.err


@pytest.mark.slow
def test_below_the_minimum_is_exit_3_with_all_outputs(shared: Path, tmp_path: Path) -> None:
    run = import_houses(shared, tmp_path, "--min_accuracy", "99.9%", "--quiet")
    assert run.code == 3
    assert re.fullmatch(
        r"Error: the test accuracy \d\d\.\d% is below --min_accuracy 99\.9%\.\n", run.err
    )
    assert run.json["passed"] is False
    assert (tmp_path / "output_graph.pb").is_file()
    above = import_houses(shared, tmp_path, "--min_accuracy", "0.5", "--quiet")
    assert (above.code, above.err) == (0, "")


@pytest.mark.slow
def test_distorted_views_are_cached(trained: Trained, tmp_path: Path) -> None:
    arguments = [
        "retrain", "--image_dir", trained.photos, "--flip_left_right", "--random_crop", 10,
        "--random_scale", 10, "--random_brightness", 10, "--distortion_views", 2, "--no_report",
        "--how_many_training_steps", 50, "--format", "json", "--quiet", "--final_layer_only",
        "--output_graph", tmp_path / "output_graph.pb",
    ]  # fmt: skip
    first = tlcli(*arguments, cache=trained.cache)
    assert first.code == 0, first.err
    training = sum(label["training"] for label in first.json["labels"].values())
    assert first.json["cache"]["computed"] == 2 * training
    graph = (tmp_path / "output_graph.pb").read_bytes()
    second = tlcli(*arguments, cache=trained.cache)
    assert second.json["cache"]["computed"] == 0
    assert (tmp_path / "output_graph.pb").read_bytes() == graph


@pytest.mark.slow
def test_the_text_summary_names_accuracy_outputs_and_the_next_command(
    shared: Path, tmp_path: Path
) -> None:
    run = tlcli(
        "retrain", "--import_bottlenecks", houses(shared), *IMPORT_ONLY, "--output_graph",
        tmp_path / "output_graph.pb", "--quiet",
    )  # fmt: skip
    assert re.search(r"^Test accuracy \d+\.\d% \(N=\d+, 95% interval", run.out)
    assert str(tmp_path / "output_labels.txt") in run.out
    assert run.err == ""


@pytest.mark.slow
def test_switches_take_the_spelling_of_the_first_generation(trained: Trained) -> None:
    for spelling, distorted in (("=true", True), ("=False", False), ("", True)):
        run = tlcli(
            "retrain", "--image_dir", trained.photos, f"--flip_left_right{spelling}",
            "--distortion_views", 1, "--how_many_training_steps", 5, "--final_layer_only",
            "--output_graph", trained.folder / "flip" / "g.pb", "--format", "json", "--quiet",
            cache=trained.cache,
        )  # fmt: skip
        assert run.code == 0, run.err
        images = sum(label["images"] for label in run.json["labels"].values())
        cache = run.json["cache"]
        assert (cache["hits"] + cache["computed"] > images) == distorted
