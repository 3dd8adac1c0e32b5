"""tlcli evaluate on a LiteRT file: figures, matching of labels, exit codes."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from click.testing import CliRunner, Result

from tests.support import Trained, tlcli
from tlcli.commands.evaluate import command
from tlcli.core.data.splits import assign_splits
from tlcli.errors import DataError, GraphError


@pytest.fixture
def graph(shared: Path) -> Path:
    return shared / "legacy" / "plates_128" / "graph.tflite"


@pytest.fixture
def photos(shared: Path, tmp_path: Path) -> Path:
    """Return six photos, one of them in the wrong folder, and one file that is not an image."""
    folder = tmp_path / "photos"
    shutil.copytree(shared / "legacy/plates_128/bottleneck_photos", folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    indiana = next((folder / "Indiana").iterdir())
    shutil.copyfile(indiana, folder / "Oklahoma" / "wrong.jpg")
    (folder / "Oklahoma" / "broken.jpg").write_bytes(b"")
    return folder


def evaluate(graph: Path, folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        command,
        ["--graph", str(graph), "--image_dir", str(folder), *arguments],
        standalone_mode=False,
    )


def figures(result: Result) -> Any:
    return json.loads(result.stdout)


def test_figures_as_json(graph: Path, photos: Path) -> None:
    result = evaluate(graph, photos, "--format", "json")
    assert result.return_value == 0
    found = figures(result)
    assert found["count"] == 6
    assert found["accuracy"] == pytest.approx(5 / 6)
    low, high = found["interval"]
    assert 0.43 < low < 5 / 6 < high < 0.98
    assert list(found["labels"]) == ["indiana", "newyork", "oklahoma", "pennsylvania", "wyoming"]
    assert found["labels"]["indiana"] == {
        "images": 1,
        "predicted": 2,
        "precision": 0.5,
        "precision_interval": pytest.approx([0.0945, 0.9055], abs=1e-4),
        "recall": 1.0,
        "recall_interval": pytest.approx([0.2065, 1.0], abs=1e-4),
        "f1": pytest.approx(2 / 3),
        "f1_interval": pytest.approx([0.1727, 0.9504], abs=1e-4),
    }
    assert found["graph"] == str(graph)
    assert found["confusion"][2] == [1, 0, 1, 0, 0]
    (wrong,) = found["misclassified"]
    assert wrong["image"] == str(photos / "Oklahoma" / "wrong.jpg")
    assert (wrong["label"], wrong["predicted"]) == ("oklahoma", "indiana")
    assert 0 < wrong["score"] <= 1
    assert found["skipped"] == [
        {"path": str(photos / "Oklahoma" / "broken.jpg"), "reason": "empty file"}
    ]


def test_figures_as_text(graph: Path, photos: Path) -> None:
    lines = evaluate(graph, photos).stdout.splitlines()
    assert lines[0].startswith("Accuracy = 83.3% (N=6, 95% interval ")
    assert lines[2].split() == ["label", "images", "precision", "recall", "F1"]
    assert re.split(r"\s{2,}", lines[3]) == [
        "indiana",
        "1",
        "50.0% (9 to 91)",
        "100.0% (21 to 100)",
        "66.7% (17 to 95)",
    ]
    assert "3 oklahoma      1  0  1  0  0" in lines
    assert "1 image could not be read and is not counted." in lines


@pytest.mark.parametrize(
    ("minimum", "code"), [("0.8", 0), ("83%", 0), ("0.84", 3), ("84%", 3), ("100%", 3)]
)
def test_min_accuracy(graph: Path, photos: Path, minimum: str, code: int) -> None:
    result = evaluate(graph, photos, "--min_accuracy", minimum, "--quiet")
    assert result.return_value == code
    assert ("below --min_accuracy" in result.stderr) == (code == 3)
    assert "Accuracy = 83.3%" in result.stdout


def test_exact_names_come_first_and_alike_ones_are_told_apart(graph: Path, photos: Path) -> None:
    labels = photos.parent / "labels.txt"
    labels.write_text("Indiana\nindiana\nOklahoma+\nOklahoma-\nother\n")
    (photos / "Oklahoma").rename(photos / "Oklahoma-")
    for name in ("NewYork", "Pennsylvania", "Wyoming"):
        shutil.rmtree(photos / name)
    found = figures(evaluate(graph, photos, "--labels", str(labels), "--format", "json"))
    assert {name: each["images"] for name, each in found["labels"].items() if each["images"]} == {
        "Indiana": 1,
        "Oklahoma-": 2,
    }


def test_a_second_graph_that_is_not_there_is_looked_for_where_it_was_named(
    graph: Path, photos: Path
) -> None:
    result = evaluate(graph, photos, "--compare", "nowhere.pb")
    assert isinstance(result.exception, GraphError)
    assert str(result.exception) == "there is no graph at nowhere.pb; check --compare"


def test_a_folder_that_is_no_label_of_the_graph(graph: Path, photos: Path) -> None:
    (photos / "Texas").mkdir()
    (photos / "Texas" / "a.jpg").write_bytes(b"")
    result = evaluate(graph, photos)
    assert isinstance(result.exception, DataError)
    assert "Texas" in str(result.exception)
    assert "indiana, newyork" in str(result.exception)


def test_folders_and_graphs_that_cannot_be_used(graph: Path, tmp_path: Path) -> None:
    assert isinstance(evaluate(graph, tmp_path / "absent").exception, DataError)
    assert isinstance(evaluate(graph, tmp_path).exception, DataError)
    assert isinstance(evaluate(tmp_path / "absent.pb", tmp_path).exception, GraphError)
    (tmp_path / "indiana").mkdir()
    (tmp_path / "indiana" / "a.jpg").write_bytes(b"no image")
    result = evaluate(graph, tmp_path)
    assert isinstance(result.exception, DataError)
    assert "no image of" in str(result.exception)


def test_image_dir_is_required(graph: Path) -> None:
    assert CliRunner().invoke(command, ["--graph", str(graph)]).exit_code == 2


@pytest.fixture
def other(shared: Path, tmp_path: Path) -> Path:
    """Return a second graph of the same network: its last two labels change places."""
    folder = tmp_path / "other graph"
    folder.mkdir()
    shutil.copyfile(shared / "legacy/plates_128/graph.tflite", folder / "graph.tflite")
    names = (shared / "legacy/plates_128/labels.txt").read_text().split("\n")
    names[3], names[4] = names[4], names[3]
    (folder / "labels.txt").write_text("\n".join(names))
    return folder / "graph.tflite"


def test_two_graphs_on_the_same_images_as_json(graph: Path, other: Path, photos: Path) -> None:
    result = evaluate(graph, photos, "--compare", str(other), "--format", "json")
    assert result.return_value == 0
    found = figures(result)
    assert (found["graph"], found["count"], found["accuracy"]) == (
        str(graph),
        6,
        pytest.approx(5 / 6),
    )
    compared = found["comparison"]
    assert compared["with"]["graph"] == str(other)
    assert compared["with"]["accuracy"] == pytest.approx(3 / 6)
    assert compared["with"]["count"] == 6
    assert [compared[key] for key in ("both_right", "only_this_right", "only_other_right")] == [
        3,
        2,
        0,
    ]
    assert compared["both_wrong"] == 1
    assert compared["p_value"] == 0.5
    assert not compared["significant"]
    assert {Path(each["image"]).parent.name for each in compared["differing"]} == {
        "Pennsylvania",
        "Wyoming",
    }
    each = compared["differing"][0]
    assert (each["label"], each["this"]["label"], each["other"]["label"]) == (
        "pennsylvania",
        "pennsylvania",
        "wyoming",
    )
    assert each["this"]["right"]
    assert not each["other"]["right"]
    assert [Path(each["path"]).name for each in found["skipped"]] == ["broken.jpg"]


def test_two_graphs_as_text(graph: Path, other: Path, photos: Path) -> None:
    text = evaluate(graph, photos, "--compare", str(other)).stdout
    assert "may well be chance: of the 2 images that only one graph got right" in text
    assert "McNemar's exact test, p = 0.50" in text
    lines = text.splitlines()
    (line,) = [line for line in lines if line.startswith("A  ")]
    assert line.split()[1:3] == [str(graph), "83.3%"]
    assert "They differ on 2 images:" in lines
    (row,) = [line for line in lines if "Wyoming" in line]
    assert "wyoming (0.94)" in row
    assert "pennsylvania (0.94)" in row


def test_one_image_is_not_many(graph: Path, other: Path, photos: Path) -> None:
    shutil.rmtree(photos / "Wyoming")
    for image in sorted((photos / "Pennsylvania").iterdir())[1:]:
        image.unlink()
    lines = evaluate(graph, photos, "--compare", str(other)).stdout.splitlines()
    assert "They differ on 1 image:" in lines
    assert "1 image could not be read and is not counted." in lines


def test_a_graph_beside_itself_does_not_differ(graph: Path, photos: Path) -> None:
    text = evaluate(graph, photos, "--compare", str(graph)).stdout
    assert "do not tell the two apart" in text
    assert "The two graphs agree on every image." in text


def test_graphs_of_different_generations_are_fed_as_each_wants(
    shared: Path, graph: Path, photos: Path
) -> None:
    frozen = shared / "legacy" / "plates_128" / "graph.pb"
    labels = shared / "legacy" / "plates_128" / "labels.txt"
    arguments = ("--compare", str(frozen), "--compare_labels", str(labels), "--format", "json")
    found = figures(evaluate(graph, photos, *arguments))
    assert found["comparison"]["with"]["accuracy"] == pytest.approx(5 / 6)
    assert found["comparison"]["differing"] == []


def test_a_second_graph_without_a_label_for_a_folder(
    shared: Path, graph: Path, photos: Path
) -> None:
    notes = shared / "legacy" / "mirror_128_quantized" / "graph.pb"
    result = evaluate(graph, photos, "--compare", str(notes))
    assert isinstance(result.exception, DataError)
    assert str(notes) in str(result.exception)
    assert "Indiana" in str(result.exception)


def test_csv_has_one_figure_a_row(graph: Path, other: Path, photos: Path) -> None:
    arguments = ("--compare", str(other), "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(evaluate(graph, photos, *arguments).stdout)))
    values = {(row["graph"], row["figure"], row["label"], row["predicted"]): row for row in rows}
    accuracy = values[str(graph), "accuracy", "", ""]
    assert float(accuracy["value"]) == pytest.approx(5 / 6)
    assert float(accuracy["low"]) < 5 / 6 < float(accuracy["high"])
    assert values[str(graph), "confusion", "oklahoma", "indiana"]["value"] == "1"
    assert values[str(other), "confusion", "wyoming", "pennsylvania"]["value"] == "1"
    assert float(values[str(graph), "precision", "indiana", ""]["value"]) == 0.5
    assert values[str(graph), "mcnemar_p", "", ""]["value"] == "0.5"
    assert len([row for row in rows if row["figure"] == "differs"]) == 4
    assert len([row for row in rows if row["figure"] == "skipped"]) == 1
    marked = evaluate(graph, photos, "--format", "csv", "--spreadsheet")
    assert marked.stdout_bytes.startswith(b"\xef\xbb\xbfgraph,")


def test_a_page_is_written_whole_and_standard_output_has_the_accuracy(
    graph: Path, photos: Path, tmp_path: Path
) -> None:
    page = tmp_path / "evaluation.html"
    result = evaluate(graph, photos, "--output", str(page), "--min_accuracy", "90%")
    assert result.return_value == 3
    assert result.stdout.startswith("Accuracy = 83.3% (N=6")
    text = page.read_text("utf-8")
    assert "Below the gate of 90.0%." in text
    assert "wrong.jpg" in text
    assert "data:image/jpeg;base64," in text
    embedded = re.search(r'id="evaluation-data">(.*?)</script>', text)
    assert embedded is not None
    data = json.loads(embedded[1])
    assert data == figures(evaluate(graph, photos, "--format", "json"))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tlcli")]


def test_a_page_says_why_a_graph_has_no_heat_maps(
    graph: Path, photos: Path, tmp_path: Path
) -> None:
    evaluate(graph, photos, "--output", str(tmp_path / "page.html"))
    text = (tmp_path / "page.html").read_text("utf-8")
    assert f"No heat maps of {graph}: it is a .tflite file without" in text
    assert "Heat map:" not in text


def test_the_ending_of_output_names_the_format(graph: Path, photos: Path, tmp_path: Path) -> None:
    for name, start in (("a.json", "{"), ("a.csv", "graph,figure"), ("a.txt", "Accuracy")):
        evaluate(graph, photos, "--output", str(tmp_path / name))
        assert (tmp_path / name).read_text("utf-8").startswith(start)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--compare_labels", "x"], "--compare"),
        (["--spreadsheet"], "--format csv"),
        (["--gate", "all"], "--gate is for --min_accuracy"),
        (["--output", "."], "is a folder"),
        (["--format", "xml"], "xml"),
    ],
)
def test_options_that_contradict_each_other(
    graph: Path, photos: Path, arguments: list[str], hint: str
) -> None:
    arguments = ["--graph", str(graph), "--image_dir", str(photos), *arguments]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert hint in result.stderr


@pytest.mark.slow
def test_the_next_command_is_what_was_asked_and_works(graph: Path, photos: Path) -> None:
    labels = photos.parent / "my 'labels'; echo.txt"
    shutil.copyfile(graph.parent / "labels.txt", labels)
    folder = photos.parent
    run = tlcli(
        "evaluate", "--graph", graph, "--image-dir=photos", "--labels", labels.name, cwd=folder
    )
    line = run.out.splitlines()[-1].removeprefix("To see the images it got wrong: ")
    words = shlex.split(line)
    assert words[:2] == [str(Path(sys.executable).parent / "tlcli"), "evaluate"]
    assert words[-2:] == ["--output", "evaluation.html"]
    assert words[words.index("--labels") + 1] == labels.name
    again = tlcli(*words[1:], cwd=folder)
    assert again.code == 0, again.err
    assert "wrong.jpg" in (folder / "evaluation.html").read_text("utf-8")


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
    assert set(found["unseen"]) == {"accuracy", "count", "interval", "labels", "confusion"}
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


def test_a_graph_whose_card_lists_no_images_is_measured_as_it_is(graph: Path, photos: Path) -> None:
    found = figures(evaluate(graph, photos, "--format", "json"))
    assert (found["trained"], found["unseen"]) == (None, None)
    assert "trained" not in evaluate(graph, photos).stdout
    assert "trained" not in evaluate(graph, photos, "--compare", str(graph)).stdout


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
