"""Results are right, and the same wherever and however they are computed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import tlcli
from tests.reliability import harness
from tests.reliability.retrainings import Bench
from tlcli.core.data.image_folder import scan_folder
from tlcli.core.data.splits import assign_splits, hash_percentage, split_of
from tlcli.core.evaluation.metrics import evaluate_layer
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import SgdSettings, fit_sgd

pytestmark = pytest.mark.slow


def test_the_flowers_have_the_accuracy_of_the_originals_recipe(shared: Path) -> None:
    """3670 real Inception-v3 bottlenecks: 88.6 (deviation 0.4) over ten seeds of the original."""
    with np.load(shared / "flowers" / "bottlenecks.npz") as stored:
        names = [str(name) for name in stored["names"]]
        vectors = stored["vectors"].astype(np.float32)
    labels = sorted({name.split("/")[0] for name in names})
    targets = np.array([labels.index(name.split("/")[0]) for name in names])
    splits = np.array([split_of(hash_percentage(name.split("/")[1]), 10, 10) for name in names])
    assert [int((splits == name).sum()) for name in ("training", "validation", "testing")] == [
        2955, 356, 359,
    ]  # fmt: skip
    parts = {name: splits == name for name in ("training", "testing")}
    training = Samples(vectors[parts["training"]], targets[parts["training"]])
    fitted = fit_sgd(training, len(labels), SgdSettings(steps=4000))
    found = evaluate_layer(fitted, Samples(vectors[parts["testing"]], targets[parts["testing"]]))
    assert found.accuracy is not None
    assert 0.886 - 4 * 0.004 <= found.accuracy <= 0.886 + 4 * 0.004


def test_neither_the_order_of_sets_nor_the_threads_change_a_bit(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (hashes, threads) in enumerate((("1", "1"), ("4242", "3"))):
        monkeypatch.setenv("PYTHONHASHSEED", hashes)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.setenv(name, threads)
        folder = tmp_path / str(number)
        folder.mkdir()
        done = harness.run(bench.new.arguments, folder, folder / "cache")
        assert done.code == 0, done.err
        assert {name: harness.digest(folder / "out" / name) for name in harness.EXACT} == (
            bench.new.files
        )


def test_one_processor_gives_the_bits_of_all(bench: Bench, tmp_path: Path) -> None:
    if shutil.which("taskset") is None:
        pytest.skip("taskset is not installed")
    done = harness.run(
        bench.new.arguments, tmp_path, tmp_path / "cache", prefix=["taskset", "-c", "0"]
    )
    assert done.code == 0, done.err
    assert harness.vectors_in(tmp_path / "cache") == bench.new.vectors
    assert harness.digest(tmp_path / "out" / harness.GRAPH) == bench.new.files[harness.GRAPH]


def test_renaming_the_root_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    root = tmp_path / "another place" / "사진"
    shutil.copytree(bench.folder / "new_photos", root)
    cache = shutil.copytree(bench.folder / "reference" / "new_cache", tmp_path / "cache")
    arguments = list(bench.new.arguments)
    arguments[arguments.index("--image_dir") + 1] = str(root)
    done = harness.run(arguments, tmp_path, Path(cache))
    assert done.code == 0, done.err
    assert done.json["cache"]["computed"] == 0
    assert {name: harness.digest(tmp_path / "out" / name) for name in harness.EXACT} == (
        bench.new.files
    )


def test_label_and_evaluate_give_the_accuracy_that_retrain_printed(
    bench: Bench, tmp_path: Path
) -> None:
    arguments = ["--testing_percentage", 40]
    done = harness.run([*bench.new.arguments, *arguments], tmp_path, tmp_path / "cache")
    assert done.code == 0, done.err
    images = scan_folder(bench.folder / "new_photos").images
    names, labels = [image.name for image in images], [image.label for image in images]
    splits = assign_splits(names, labels, [None] * len(images), 40, 10)
    tested = {
        str(image.path): image
        for image, split in zip(images, splits, strict=True)
        if split == "testing"
    }
    assert len(tested) == done.json["test_count"] >= 10
    for path, image in tested.items():
        target = tmp_path / "tested" / image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    graph = tmp_path / "out" / harness.GRAPH
    evaluated = harness.run(
        ["evaluate", "--graph", graph, "--image_dir", tmp_path / "tested", "--format", "json"],
        tmp_path, tmp_path / "cache",
    )  # fmt: skip
    assert evaluated.json["count"] == len(tested)
    assert evaluated.json["accuracy"] == pytest.approx(done.json["test_accuracy"], abs=1e-12)
    labelled = harness.run(
        ["label", "--graph", graph, *tested, "--format", "json"], tmp_path, tmp_path / "cache"
    )
    wrong = [
        one["image"]
        for one in labelled.json
        if one["predictions"][0]["label"] != tested[one["image"]].label
    ]
    assert sorted(wrong) == sorted(item["image"] for item in done.json["misclassified"])
    assert 1 - len(wrong) / len(tested) == pytest.approx(done.json["test_accuracy"], abs=1e-12)


@pytest.mark.parametrize("name", [harness.GRAPH, harness.TFLITE, "plates", "mirror"])
def test_batch_size_and_order_change_no_score(bench: Bench, shared: Path, name: str) -> None:
    legacy = {"plates": "plates_128/graph.pb", "mirror": "mirror_128_quantized/graph.pb"}
    graph = shared / "legacy" / legacy[name] if name in legacy else bench.new.folder / "out" / name
    photos = sorted((bench.folder / "new_photos").rglob("*.jpg"))[::3]
    found = []
    for size, step in ((1, 1), (5, -1), (8, 1)):
        with tlcli.load(graph, batch_size=size) as classifier:
            given = {
                prediction.image: {score.label: score.score for score in prediction.scores}
                for prediction in classifier.label(photos[::step], top_k=None)
            }
        found.append([given[str(photo)] for photo in photos])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert one.keys() == two.keys()
            assert max(abs(one[label] - two[label]) for label in one) <= 1e-4
