"""The report of real runs: what is on the page is what the run found."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from retrain.job import retrain
from retrain.result import RetrainResult
from tests.report.test_page import Page
from tests.support import Trained, tlcli

HOSTILE = (
    "<script>alert(1)<.jpg",
    "\"><img src=x onerror='alert(2)'>.jpg",
    "שלום \u202eגן.jpg",
    "🌻 👩‍👩‍👧.jpg",
    "two\nlines\tand a tab.jpg",
    "&amp; {{ 7 * 7 }} {% raw %}.jpg",
)


def page_of(folder: Path) -> tuple[str, Page]:
    text = (folder / "output_report.html").read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def shown(trained: Trained) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(page_of(trained.folder)[1].json)
    return content


def test_the_pages_json_is_that_of_format_json(trained: Trained, shown: dict[str, Any]) -> None:
    assert trained.run.json["report"] == shown


def test_the_report_agrees_with_the_result(trained: Trained, shown: dict[str, Any]) -> None:
    result = trained.run.json
    assert shown["accuracy"] == result["test_accuracy"]
    assert shown["interval"] == result["test_interval"]
    assert shown["test_count"] == result["test_count"]
    assert shown["validation_accuracy"] == result["validation_accuracy"]
    assert shown["skipped"] == result["skipped"]
    assert shown["cache"] == result["cache"]
    assert shown["outputs"] == result["outputs"]
    assert shown["misclassified_count"] == len(result["misclassified"])
    assert shown["your_photos"]["counts"] == result["your_photos"]
    # The unreadable file of the fixture, and two labels of fewer than 30 photos.
    assert result["your_photos"]["unreadable"] == 1
    assert result["your_photos"]["notes"] == 2
    for stage, seconds in shown["seconds"].items():
        assert result["seconds"][stage] == pytest.approx(seconds, abs=1e-3)
    for key, value in result["backbone"].items():
        assert shown["backbone"][key] == value
    assert [row["label"] for row in shown["labels"]] == list(result["labels"])
    for row in shown["labels"]:
        counts = result["labels"][row["label"]]
        for figure in ("training", "validation", "testing", "precision", "recall"):
            assert row[figure] == counts[figure]
        for figure in ("precision", "recall", "f1"):
            if row[figure] is not None:
                low, high = row[f"{figure}_interval"]
                assert low <= row[figure] <= high


def test_accuracy_is_that_of_the_confusion_matrix(shown: dict[str, Any]) -> None:
    matrix = np.array(shown["confusion"])
    assert matrix.sum() == shown["test_count"]
    assert np.trace(matrix) / matrix.sum() == pytest.approx(shown["accuracy"])
    assert 0 <= shown["untrained_accuracy"] <= 1
    for item in shown["comparisons"]:
        assert item["before"] == pytest.approx([0.5, 0.5], abs=0.1)
        assert item["after"] != pytest.approx(item["before"], abs=1e-3)
        for scores in (item["before"], item["after"]):
            assert sum(scores) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_the_command_gives_the_same_run_again(trained: Trained, shown: dict[str, Any]) -> None:
    words = shlex.split(shown["command"])
    assert words[:2] == ["tlcli", "retrain"]
    again = tlcli(
        *words[1:], "--format", "json", "--quiet", cwd=trained.folder, cache=trained.cache
    ).json["report"]
    for key in ("accuracy", "confusion", "comparisons", "misclassified", "settings"):
        assert again[key] == shown[key]


def decoded(uri: str | None) -> Image.Image:
    assert uri is not None
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_every_photo_with_a_verdict_has_its_heat_map(
    trained: Trained, shown: dict[str, Any]
) -> None:
    text, page = page_of(trained.folder)
    cards = [
        *(image for group in shown["mistakes"] for image in group["images"]),
        *shown["least_confident"],
        *shown["most_confident"],
    ]
    maps = [image for image in page.all("img") if "Heat map" in str(image["alt"])]
    assert len(maps) == len(cards) > 0
    assert shown["heat_maps_missing"] is None
    for image, heat in zip(cards, maps, strict=True):
        assert heat["alt"] == f"Heat map: where the network saw {image['predicted']} in " + str(
            image["name"]
        )
        pixels = np.asarray(decoded(heat["src"]).convert("RGB"), dtype=int)
        assert max(pixels.shape[:2]) <= 160
        # Purple to yellow over grey: some places are far from the others in colour.
        warmth = pixels[..., 0] - pixels[..., 2]
        assert warmth.max() - warmth.min() > 60
    assert len(text) < 1_000_000


def test_mistakes_are_all_there_and_lead_to_their_files(
    trained: Trained, shown: dict[str, Any]
) -> None:
    labels = [row["label"] for row in shown["labels"]]
    images = [image for group in shown["mistakes"] for image in group["images"]]
    assert sum(group["count"] for group in shown["mistakes"]) == shown["mistakes_count"]
    assert shown["mistakes_count"] == len(trained.run.json["misclassified"]) == len(images)
    for group in shown["mistakes"]:
        assert shown["confusion"][group["label"]][group["predicted"]] == group["count"]
        assert {image["label"] for image in group["images"]} == {labels[group["label"]]}
        assert {image["predicted"] for image in group["images"]} == {labels[group["predicted"]]}
    links = {str(link["href"]) for link in page_of(trained.folder)[1].all("a")}
    for image in images:
        # Relative, so that the folder can be moved.
        assert image["link"] in links
        assert image["link"].startswith("photos/")
        assert (trained.folder / image["link"]).is_file()


def test_the_curve_ends_at_the_validation_accuracy(shown: dict[str, Any]) -> None:
    curve = shown["validation_split_curve"]
    assert curve["steps"][-1] == 299
    assert 1 < len(curve["steps"]) <= 61
    assert curve["accuracy"][-1] == pytest.approx(shown["validation_accuracy"])
    assert curve["images"] == sum(row["validation"] for row in shown["labels"])
    assert shown["training_split_curve"]["steps"] == curve["steps"]
    # The originals' points, drawn again at each step, keep their place.
    assert len(shown["validation_curve"]["steps"]) == 31


def test_thresholds_are_those_of_the_test_images(shown: dict[str, Any]) -> None:
    found = {row["threshold"]: row for row in shown["thresholds"]}
    assert found[0.0]["count"] == shown["test_count"]
    assert found[0.0]["accuracy"] == pytest.approx(shown["accuracy"])
    assert found[0.0]["interval"] == pytest.approx(shown["interval"])
    counts = [row["count"] for row in shown["thresholds"]]
    assert counts == sorted(counts, reverse=True)
    certain = sum(image["score"] >= 0.8 for image in shown["misclassified"])
    assert found[0.8]["count"] >= certain


def test_advice_is_in_the_json_and_on_the_page(trained: Trained, shown: dict[str, Any]) -> None:
    advice = trained.run.json["advice"]
    assert shown["advice"] == advice
    assert 1 <= len(advice) <= 5
    # A handful of drawn houses: few tests, and hard ones.
    assert "few_tests" in [each["rule"] for each in advice]
    text = " ".join(page_of(trained.folder)[1].text.split())
    for each in advice:
        assert each["text"] in text


def test_out_of_fold_predictions_of_all_images_are_the_headline(tmp_path: Path) -> None:
    result = small_run(tmp_path, cross_validate=3)
    report = json.loads(result.to_json())["report"]
    folds = report["out_of_fold"]
    assert folds["count"] == 2 * len(HOSTILE)
    assert folds["folds"] == 3
    assert folds["accuracy"] == pytest.approx(report["cross_validation"]["accuracy"], abs=0.05)
    matrix = np.array(folds["confusion"])
    assert matrix.sum() == folds["count"]
    assert np.trace(matrix) / matrix.sum() == pytest.approx(folds["accuracy"])
    assert report["mistakes_count"] == matrix.sum() - np.trace(matrix)
    assert report["thresholds"][0]["count"] == folds["count"]
    # What is said of the test images is still theirs.
    assert report["test_count"] == np.array(report["confusion"]).sum() < folds["count"]
    assert report["misclassified_count"] == len(result.misclassified)
    text = " ".join(page_of(tmp_path)[1].text.split())
    assert f"{100 * folds['accuracy']:.1f}%cross-validated accuracy" in text


def small_run(folder: Path, **options: Any) -> RetrainResult:
    """Retrain on imported vectors, with photos of hostile names beside them."""
    generator = np.random.default_rng(0)
    for number, label in enumerate(("<b>one", "two & \"three\" 'four'")):
        photos, texts = folder / "photos" / label, folder / "texts" / label
        photos.mkdir(parents=True)
        texts.mkdir(parents=True)
        for name in HOSTILE:
            colours = generator.integers(0, 255, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(colours).save(photos / name, "JPEG")
            values = generator.normal(size=4) + 3 * number
            (texts / f"{name}.txt").write_text(",".join(map(str, values)))
    return retrain(
        folder / "photos",
        import_bottlenecks=folder / "texts",
        output_graph=folder / "output_graph.pb",
        final_layer_only=True,
        keep_label_names=True,
        how_many_training_steps=20,
        testing_percentage=40,
        **options,
    )


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    result = small_run(tmp_path)
    page = page_of(tmp_path)[1]
    assert json.loads(page.json) == json.loads(result.to_json())["report"]
    assert [attributes.get("type") for attributes in page.all("script")] == ["application/json"]
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    pictures = page.all("img")
    assert pictures
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in pictures)
    names = {image["name"] for image in json.loads(page.json)["comparisons"]}
    assert names <= {f"{label}/{name}" for label in result.labels for name in HOSTILE}
    # Each links to its file, whatever its name.
    shown = {link for link in (str(link["href"]) for link in page.all("a")) if "photos/" in link}
    files = {unquote(link) for link in shown}
    assert files
    assert files <= {f"photos/{label}/{name}" for label in result.labels for name in HOSTILE}
    spoken = re.sub(r"\s+", " ", page.text)
    for name in names:
        # Controls that no page may hold are shown as such.
        assert re.sub(r"\s+", " ", name) in spoken


def test_a_final_layer_alone_has_no_heat_maps_and_says_so(tmp_path: Path) -> None:
    result = small_run(tmp_path)
    assert result.report is not None
    assert result.report["heat_maps_missing"] == (
        "No heat maps: the final layer was trained alone."
    )
    page = page_of(tmp_path)[1]
    assert "No heat maps" in page.text
    assert not [image for image in page.all("img") if "Heat map" in str(image["alt"])]


def test_no_report_means_none_of_it(tmp_path: Path) -> None:
    result = small_run(tmp_path, no_report=True)
    assert result.report is None
    assert "report" not in json.loads(result.to_json())
    assert not (tmp_path / "output_report.html").exists()
