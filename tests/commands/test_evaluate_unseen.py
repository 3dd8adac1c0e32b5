"""``tlcli evaluate`` on images that trained the graph: they are counted apart."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import Result

from tests.commands.test_evaluate import evaluate, figures
from tests.support import Trained, tlcli
from tlcli.core.data.splits import assign_splits


def on_trained(trained: Trained, folder: Path, *arguments: object) -> Result:
    return evaluate(trained.graph, folder, "--quiet", *map(str, arguments))


SEEN, APART = 5, 4


@pytest.fixture
def split(trained: Trained, tmp_path: Path) -> dict[str, Path]:
    """Return folders of images that trained the graph, of others, and of all of these."""
    training = _training(trained)
    wrong = [each["name"] for each in trained.run.json["report"]["misclassified"]]
    assert not training & set(wrong)
    others = sorted(_names(trained) - training - set(wrong))
    chosen = {"seen": sorted(training)[:SEEN], "apart": [*wrong[:2], *others][:APART]}
    for folder, names in chosen.items():
        for name in names:
            for root in (tmp_path / folder, tmp_path / "all"):
                place = root / name
                place.parent.mkdir(parents=True, exist_ok=True)
                # Another name: an image is recognised by its content.
                shutil.copyfile(trained.photos / name, place.with_stem(f"x{place.stem}"))
    return {name: tmp_path / name for name in (*chosen, "all")}


def _names(trained: Trained) -> set[str]:
    return {
        path.relative_to(trained.photos).as_posix()
        for path in trained.photos.glob("*/*")
        if path.stat().st_size
    }


def _training(trained: Trained) -> set[str]:
    names = sorted(_names(trained))
    labels = [name.split("/")[0] for name in names]
    splits = assign_splits(names, labels, [None] * len(names), 25, 10)
    return {name for name, split in zip(names, splits, strict=True) if split == "training"}


def test_images_that_trained_the_graph_are_counted_apart(
    trained: Trained, split: dict[str, Path], tmp_path: Path
) -> None:
    seen, count = SEEN, SEEN + APART
    apart = figures(on_trained(trained, split["apart"], "--format", "json"))
    assert apart["trained"] == {"count": 0}
    assert apart["count"] == count - seen
    found = figures(on_trained(trained, split["all"], "--format", "json"))
    assert found["count"] == count
    assert found["trained"] == {"count": seen}
    assert found["unseen"] == {key: apart[key] for key in found["unseen"]}
    averages = {"macro_f1", "macro_f1_interval"}
    averages |= {"balanced_accuracy", "balanced_accuracy_interval", "calibration"}
    assert (
        set(found["unseen"]) == {"accuracy", "count", "interval", "labels", "confusion"} | averages
    )
    lines = on_trained(trained, split["all"]).stdout.splitlines()
    assert (
        lines[0]
        == f"{seen} of these {count} images trained this graph; on the other {count - seen}:"
    )
    alone = on_trained(trained, split["apart"]).stdout.splitlines()
    assert lines[1] == alone[0]
    assert lines[2] == f"Accuracy on all {count} = {found['accuracy']:.1%}"
    assert alone[1] == "None of these images trained this graph."
    # The tables are of the images that did not train it.
    assert lines[3:9] == alone[2:8]
    rows = list(
        csv.DictReader(io.StringIO(on_trained(trained, split["all"], "--format", "csv").stdout))
    )
    values = {row["figure"]: row["value"] for row in rows}
    assert values["trained"] == str(seen)
    assert values["unseen_images"] == str(count - seen)
    assert float(values["unseen_accuracy"]) == apart["accuracy"]
    page = tmp_path / "page.html"
    run = on_trained(trained, split["all"], "--output", page)
    assert run.stdout.splitlines()[:3] == lines[:3]
    text = page.read_text("utf-8")
    assert f"this page shows the other {count - seen}." in text
    assert f"{apart['accuracy']:.1%}<small>" in text
    # Mistakes have heat maps, lead to their files, and are reached from the confusions.
    for wrong in apart["misclassified"]:
        assert f"true label {wrong['true_score']:.1%}" in text
    assert text.count('alt="Heat map: where the network saw') >= len(apart["misclassified"])
    links = {href for href in re.findall(r'href="([^"#]+)"', text) if not href.startswith("data:")}
    assert {(tmp_path / unquote(link)).is_file() for link in links} == {True}
    assert len(links) >= len(apart["misclassified"])
    anchors = re.findall(r'href="#(m-\d+-\d+)"', text)
    assert anchors
    assert all(f'id="{anchor}"' in text for anchor in anchors)


@pytest.mark.slow
def test_the_gate_is_for_images_that_did_not_train_the_graph(
    trained: Trained, split: dict[str, Path]
) -> None:
    found = figures(on_trained(trained, split["all"], "--format", "json"))
    unseen = found["unseen"]["accuracy"]
    assert unseen < found["accuracy"], "the drawn photos are too easy for this test"
    between = f"{(unseen + found['accuracy']) / 2:.4f}"
    run = tlcli(
        *("evaluate", "--graph", trained.graph, "--image_dir", split["all"]),
        *("--min_accuracy", between),
    )
    assert run.code == 3
    assert "Error: the accuracy on images that did not train the graph" in run.err
    assert (
        on_trained(trained, split["all"], "--min_accuracy", between, "--gate", "all").return_value
        == 0
    )
    assert on_trained(trained, split["all"], "--min_accuracy", unseen).return_value == 0


def test_a_gate_without_an_unseen_image_is_not_passed(
    trained: Trained, split: dict[str, Path], tmp_path: Path
) -> None:
    seen = SEEN
    run = on_trained(trained, split["seen"], "--min_accuracy", "1%")
    assert run.return_value == 3
    assert run.stderr == (
        "Error: all images trained this graph, so there is no accuracy to compare with "
        "--min_accuracy; evaluate on images that were kept apart, or add --gate all.\n"
    )
    assert run.stdout.startswith(
        f"All {seen} images trained this graph, so the accuracy on new images"
    )
    assert (
        on_trained(trained, split["seen"], "--min_accuracy", "1%", "--gate", "all").return_value
        == 0
    )
    found = figures(on_trained(trained, split["seen"], "--format", "json"))
    assert found["trained"] == {"count": seen}
    assert found["unseen"] == {"accuracy": None, "count": 0, "interval": None}
    page = tmp_path / "page.html"
    on_trained(trained, split["seen"], "--output", page, "--min_accuracy", "1%")
    assert "could not be checked" in page.read_text("utf-8")


@pytest.mark.slow
def test_two_graphs_are_compared_on_images_that_trained_neither(
    trained: Trained, split: dict[str, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other" / "output_graph.pb"
    other.parent.mkdir()
    for suffix in (".pb", ".tflite", ".json"):
        shutil.copyfile(trained.graph.with_suffix(suffix), other.with_suffix(suffix))
    new = next(split["apart"].glob("*/*"))
    # As if it had been trained on one image that the first graph has not seen, and no other.
    card = json.loads(other.with_suffix(".json").read_text())
    digest = hashlib.sha256(new.read_bytes()).digest()
    card["training_images"] = {"count": 1, "sha256_prefixes": base64.b64encode(digest[:8]).decode()}
    other.with_suffix(".json").write_text(json.dumps(card))
    arguments = ("--compare", other)
    found = figures(on_trained(trained, split["all"], *arguments, "--format", "json"))
    compared = found["comparison"]
    count, seen, left = SEEN + APART, SEEN, APART - 1
    assert found["trained"] == {"count": seen}
    assert compared["with"]["trained"] == {"count": 1}
    assert compared["with"]["unseen"]["count"] == count - 1
    assert compared["trained"] == {"count": seen + 1}
    assert compared["unseen"]["count"] == left
    assert compared["unseen"]["both_right"] + compared["unseen"]["both_wrong"] == left
    text = on_trained(trained, split["all"], *arguments).stdout
    assert text.startswith(
        f"{seen} of these {count} images trained A and 1 of these {count} images trained B; "
        f"on the other {left}:\n"
    )
    assert f"N={left}; both right:" in text
    (other.with_suffix(".json")).unlink()
    text = on_trained(trained, split["seen"], *arguments).stdout
    assert text.startswith(
        f"{seen} of these {seen} images trained A (which ones trained B is not known), so neither "
        "accuracy is that on new images.\n"
    )


def test_what_is_embedded_in_graphs_lists_no_images(trained: Trained) -> None:
    card = json.loads(trained.graph.with_suffix(".json").read_text())
    assert card["training_images"]["count"] == len(_training(trained))
    assert len(base64.b64decode(card["training_images"]["sha256_prefixes"])) == 8 * len(
        _training(trained)
    )
    listed = card["training_images"]["sha256_prefixes"][:30].encode()
    for suffix in (".pb", ".tflite"):
        content = trained.graph.with_suffix(suffix).read_bytes()
        assert b"training_images" not in content
        assert listed not in content
