"""Several labels per image through the installed command, from the list to the page."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.chromium import Chromium, find
from tests.retrain.multi_label.drawn import draw
from tests.serve.running import running
from tests.support import Trained, tlcli
from tlcli.core.classifier.loading import load
from tlcli.core.export.embedded_card import read_embedded_card

pytestmark = pytest.mark.slow

LABELS = ["pool", "tennis court", "trampoline"]


@pytest.fixture(scope="module")
def gardens(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a retraining on drawn photos of which each shows some of three things, or none."""
    folder = tmp_path_factory.mktemp("gardens")
    draw(folder / "photos", 100)
    run = tlcli(
        "retrain", "--manifest", "photos/labels.csv", "--multi_label", "--format", "json",
        "--testing_percentage", 25, "--validation_percentage", 10, "--cross_validate", 2,
        "--saved_model_dir", "saved", "--print_misclassified_test_images",
        cwd=folder, cache=folder / "cache",
    )  # fmt: skip
    assert run.code == 0, run.err
    return Trained(folder, run)


def truth(gardens: Trained) -> dict[str, set[str]]:
    with (gardens.photos / "labels.csv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {row["path"]: set(filter(None, row["label"].split("|"))) for row in rows}


def test_the_report_has_findings_about_the_photos(gardens: Trained) -> None:
    counts = gardens.run.json["your_photos"]
    page = gardens.graph.with_name("output_report.html").read_text("utf-8")
    assert 'id="data"' in page
    assert ("Probably wrong labels" in page) == bool(counts["wrong_labels"])
    assert counts["notes"] >= 1
    assert "are a workable minimum" in page


def test_the_result_has_figures_and_thresholds_of_each_label(gardens: Trained) -> None:
    found = gardens.run.json
    assert list(found["labels"]) == LABELS
    # Of scores without any sense it would be 0.3.
    assert found["mean_average_precision"] > 0.4
    assert found["test_accuracy"] == found["exact_match"]
    for row in found["labels"].values():
        assert 0.05 <= row["threshold"] <= 0.95
        assert row["images"] == row["training"] + row["validation"] + row["testing"]
        assert all(row[split] for split in ("training", "validation", "testing"))
        counts = [row[f"{name}_{kind}"] for name in ("true", "false") for kind in ("positives",)]
        assert sum(counts) == row["predicted"]
    assert found["cross_validation"]["folds"] == 2
    assert found["co_occurrence"]["labels"] == LABELS
    assert "=== MISCLASSIFIED TEST IMAGES ===" in gardens.run.err


def test_the_graph_ends_in_a_sigmoid_and_carries_its_thresholds(gardens: Trained) -> None:
    card = json.loads((gardens.folder / "output_graph.json").read_text("utf-8"))
    assert list(card["thresholds"]) == LABELS
    for name in ("output_graph.pb", "output_graph.tflite"):
        embedded = read_embedded_card(gardens.folder / name)
        assert embedded is not None
        assert embedded.thresholds == tuple(card["thresholds"].values())
    image = gardens.photos / "photos" / "aerial_00000.jpg"
    rows = []
    for name in ("output_graph.pb", "output_graph.tflite", "saved"):
        with load(gardens.folder / name) as classifier:
            assert classifier.thresholds is not None
            rows.append(classifier.predict_proba(image))
            assert classifier.spec is not None
            assert classifier.spec.activation == "sigmoid"
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-3)
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-3)


def test_label_prints_all_labels_above_their_thresholds(gardens: Trained, tmp_path: Path) -> None:
    graph = tmp_path / "alone.pb"
    graph.write_bytes(gardens.graph.read_bytes())
    images = sorted((gardens.photos / "photos").iterdir())[:30]
    run = tlcli("label", *images, "--graph", graph, "--format", "json", cwd=tmp_path)
    thresholds = {name: row["threshold"] for name, row in gardens.run.json["labels"].items()}
    sizes = set()
    right = 0
    for each in run.json:
        assert all(one["score"] >= thresholds[one["label"]] for one in each["predictions"])
        assert ("best" in each) == (not each["predictions"])
        sizes.add(len(each["predictions"]))
        own = truth(gardens)[f"photos/{Path(each['image']).name}"]
        right += {one["label"] for one in each["predictions"]} == own
    assert {0, 1, 2} <= sizes
    assert right > 12
    text = tlcli("label", *images, "--graph", graph).out
    assert "unsure (best: " in text
    every = tlcli("label", images[0], "--graph", graph, "--threshold", 0).out
    assert len(every.splitlines()) == 3
    first = tlcli("label", *images, "--graph", graph, "--top_k", 1, "--format", "csv").out
    assert len(first.splitlines()) == 31


def test_images_are_sorted_into_the_folder_of_each_label(gardens: Trained, tmp_path: Path) -> None:
    images = sorted((gardens.photos / "photos").iterdir())[:20]
    run = tlcli("label", *images, "--graph", gardens.graph, "--sort_into", tmp_path / "sorted")
    assert run.code == 0, run.err
    placed = list((tmp_path / "sorted").glob("*/*.jpg"))
    assert {path.name for path in placed} == {path.name for path in images}
    assert len(placed) > len(images)
    assert (tmp_path / "sorted" / "unsure").is_dir()


def test_parts_hold_the_same_labels(gardens: Trained, tmp_path: Path) -> None:
    images = sorted((gardens.photos / "photos").iterdir())[:6]
    tlcli("label", *images, "--graph", gardens.graph, "--output", tmp_path / "parts")
    parts = (tmp_path / "parts").glob("*.jsonl")
    lines = [line for path in parts for line in path.read_text("utf-8").splitlines()]
    plain = tlcli("label", *images, "--graph", gardens.graph, "--format", "jsonl").out
    assert sorted(lines) == sorted(plain.splitlines())


def test_the_page_names_all_labels_that_count(gardens: Trained, tmp_path: Path) -> None:
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine")
    images = sorted((gardens.photos / "photos").iterdir())[:12]
    options = ("--graph", gardens.graph, "--format", "json")
    expected = {Path(each["image"]).name: each for each in tlcli("label", *images, *options).json}
    with (
        running("--graph", gardens.graph) as server,
        Chromium(program, tmp_path / "profile") as page,
    ):
        page.screen(1280)
        page.open(server.url)
        page.choose_files("#files", *images)
        page.wait("document.querySelectorAll('#list [aria-busy=false]').length === 12")
        cards = page.run(
            "[...document.querySelectorAll('#list .card')].map(card => "
            "[card.querySelector('h3').textContent, card.querySelector('.verdict').textContent])"
        )
        assert page.complaints == []
    assert {name for name, _ in cards} == set(expected)
    for name, verdict in cards:
        labels = [each["label"] for each in expected[name]["predictions"]]
        assert verdict == ", ".join(labels) if labels else verdict.startswith("unsure (best: ")


def test_suggestions_are_refused_in_a_sentence(gardens: Trained) -> None:
    run = tlcli("label", gardens.photos / "photos", "--graph", gardens.graph, "--suggest", 3)
    assert run.code == 2
    assert "--suggest is for one label per image" in run.err


def test_evaluate_measures_a_list_and_gates_on_it(gardens: Trained, tmp_path: Path) -> None:
    new = draw(tmp_path / "new", 30, seed=9)
    page = tmp_path / "evaluation.html"
    options = ("--graph", gardens.graph, "--manifest", new)
    run = tlcli("evaluate", *options, "--format", "json", cwd=tmp_path)
    assert run.code == 0, run.err
    assert run.json["count"] == 30
    assert 0.3 < run.json["mean_average_precision"] <= 1
    assert run.json["trained"] == {"count": 0}
    text = tlcli("evaluate", *options, "--min_map", 1, "--min_accuracy", 1, "--output", page)
    assert text.code == 3
    assert "the mean average precision" in text.err
    assert "the exact-match accuracy" in text.err
    assert "Mean average precision = " in text.out
    assert "trampoline" in page.read_text("utf-8")
    rows = list(csv.DictReader(tlcli("evaluate", *options, "--format", "csv").out.splitlines()))
    assert {row["label"] for row in rows if row["figure"] == "average_precision"} == set(LABELS)
    assert tlcli("evaluate", *options, "--compare", gardens.graph).code == 2


def test_evaluate_tells_training_images_apart(gardens: Trained) -> None:
    run = tlcli(
        "evaluate", "--graph", gardens.graph, "--manifest", gardens.photos / "labels.csv",
        "--format", "json",
    )  # fmt: skip
    training = len(truth(gardens)) - run.json["unseen"]["count"]
    assert run.json["trained"]["count"] == training > 50
    unseen = run.json["unseen"]["mean_average_precision"]
    assert unseen < run.json["mean_average_precision"]


def test_the_report_has_labels_pictures_and_heat_maps(gardens: Trained) -> None:
    page = (gardens.folder / "output_report.html").read_text("utf-8")
    assert all(label in page for label in LABELS)
    assert "Which labels are predicted together" in page
    assert "Heat map: where the network saw" in page
    content = page.partition('id="report-data">')[2].partition("</script>")[0]
    own = gardens.run.json
    assert json.loads(content)["mean_average_precision"] == own["mean_average_precision"]


def test_gates_of_a_training(gardens: Trained) -> None:
    run = tlcli(
        "retrain", "--manifest", "photos/labels.csv", "--multi_label", "--solver", "sgd",
        "--how_many_training_steps", 30, "--layers", "head", "--min_map", 1, "--no_report",
        "--output_graph", "sgd/graph.pb", "--label_weights", "none",
        cwd=gardens.folder, cache=gardens.cache,
    )  # fmt: skip
    assert run.code == 3
    assert "the test mean average precision" in run.err
    assert "--min_map" in run.err


def test_linked_images_in_two_folders_have_both_labels(gardens: Trained) -> None:
    folder = gardens.folder / "linked"
    for path, labels in truth(gardens).items():
        for label in labels:
            target = folder / label / Path(path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(gardens.photos / path)
    run = tlcli(
        "retrain", "--image_dir", "linked", "--multi_label", "--format", "json", "--no_report",
        "--output_graph", "linked_out/graph.pb", "--testing_percentage", 25,
        cwd=gardens.folder, cache=gardens.cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    own = gardens.run.json["labels"]
    assert {name: row["images"] for name, row in run.json["labels"].items()} == {
        name: row["images"] for name, row in own.items()
    }
    evaluated = tlcli(
        "evaluate", "--graph", gardens.graph, "--image_dir", "linked", "--format", "json",
        cwd=gardens.folder,
    )  # fmt: skip
    assert evaluated.json["count"] == sum(map(bool, truth(gardens).values()))


def test_a_label_of_all_images_is_an_error(gardens: Trained) -> None:
    text = (gardens.photos / "labels.csv").read_text("utf-8")
    head, *lines = text.splitlines()
    rows = [f"{line}|house" if line.split(",")[1] else f"{line}house" for line in lines]
    path = gardens.photos / "all.csv"
    path.write_text("\n".join([head, *rows]), "utf-8")
    run = tlcli("retrain", "--manifest", path, "--multi_label", cache=gardens.cache)
    assert run.code == 1
    assert "all images have the label 'house'" in run.err


def test_without_the_option_the_sentence_names_it(gardens: Trained) -> None:
    run = tlcli("retrain", "--manifest", gardens.photos / "labels.csv")
    assert run.code == 1
    assert "--multi_label" in run.err or "the label is empty" in run.err


def test_a_card_without_thresholds_is_one_of_one_label(gardens: Trained) -> None:
    card = read_embedded_card(gardens.graph)
    assert card is not None
    assert card.activation == "sigmoid"
    plain = replace(card, thresholds=())
    assert plain.activation == "softmax"
    assert "thresholds" not in plain.to_dict()
