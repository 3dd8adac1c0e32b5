"""tlcli evaluate on a LiteRT file: figures, matching of labels, exit codes."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support import tlcli
from tlcli.commands.evaluate import command
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
    # F1: 2 / 3 for two labels, 1 for three. Recall: 1 / 2 for one label, 1 for four.
    assert found["macro_f1"] == pytest.approx(13 / 15)
    assert found["macro_f1_interval"] is None
    assert found["balanced_accuracy"] == pytest.approx(0.9)
    assert found["balanced_accuracy_interval"][0] < 0.9 < found["balanced_accuracy_interval"][1]
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
    assert lines[1].startswith("Macro F1 = 86.7%, balanced accuracy = 90.0% (")
    assert lines[3].split() == ["label", "images", "precision", "recall", "F1"]
    assert re.split(r"\s{2,}", lines[4]) == [
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
    assert "Below the gate of 90.0%, but these images cannot tell: the 95% interval is" in text
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


def test_a_graph_whose_card_lists_no_images_is_measured_as_it_is(graph: Path, photos: Path) -> None:
    found = figures(evaluate(graph, photos, "--format", "json"))
    assert (found["trained"], found["unseen"]) == (None, None)
    assert "trained" not in evaluate(graph, photos).stdout
    assert "trained" not in evaluate(graph, photos, "--compare", str(graph)).stdout
