"""tlcli export: what it writes, prints and refuses."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import Trained, tlcli
from tlcli import load


@pytest.fixture
def graph(trained: Trained, tmp_path: Path) -> Path:
    """Return a copy of a trained graph, in a folder of its own."""
    path = tmp_path / "flowers.pb"
    shutil.copyfile(trained.graph, path)
    shutil.copyfile(trained.graph.with_suffix(".json"), path.with_suffix(".json"))
    return path


def scores(graph: Path, image: Path) -> dict[str, float]:
    with load(graph) as classifier:
        (found,) = classifier.label(image)
    return {each.label: each.score for each in found.scores}


def test_a_file_is_written_beside_the_graph_and_compared_with_it(
    graph: Path, trained: Trained
) -> None:
    run = tlcli("export", "--graph", graph, "--to", "tflite", "--image_dir", trained.photos)
    assert run.code == 0, run.err
    assert f"Written: {graph.with_suffix('.tflite')}" in run.out
    assert "accuracy" in run.out
    assert "test images, one at a time" in run.out
    expected = scores(graph, trained.photo)
    assert scores(graph.with_suffix(".tflite"), trained.photo) == pytest.approx(expected, abs=1e-5)


def test_figures_as_json(graph: Path, trained: Trained, tmp_path: Path) -> None:
    output = tmp_path / "phone" / "app.tflite"
    run = tlcli(
        "export", "--graph", graph, "--to", "tflite", "--output", output, "--format", "json",
        "--image_dir", trained.photos, "--quiet",
    )  # fmt: skip
    assert run.code == 0, run.err
    found = json.loads(run.out)
    (file,) = found["files"]
    assert file["path"] == str(output)
    assert file["bytes"] == output.stat().st_size
    assert file["same_label"] == 1
    assert file["largest_difference"] < 1e-3
    assert file["accuracy"] == found["graph"]["accuracy"]
    assert file["images"] == found["images"] > 4
    assert found["refused"] == {}


def test_without_images_the_scores_of_generated_ones_are_compared(graph: Path) -> None:
    graph.with_suffix(".json").unlink()
    run = tlcli("export", "--graph", graph, "--to", "tflite", cwd=graph.parent)
    assert run.code == 0, run.err
    assert "On generated images" in run.out
    assert "accuracy" not in run.out.splitlines()[2]


def test_the_images_of_the_model_card_are_the_default(trained: Trained) -> None:
    run = tlcli(
        "export", "--to", "tflite", "--output", "again.tflite", "--format", "json",
        cwd=trained.folder,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert "by the model card" in run.err
    assert json.loads(run.out)["images"] > 4


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--to", "onyx"], 2, "there is no format 'onyx'; choose from onnx, tflite"),
        ([], 2, "--to"),
        (["--to", "tflite,onnx", "--output", "a"], 2, "--output names one file"),
        (["--to", "coreml", "--output", "a.mlmodel"], 2, r"NAME.mlpackage"),
        (["--to", "tflite", "--image_dir", "a", "--manifest", "b"], 2, "not both"),
        (["--to", "tflite", "--image_dir", "absent"], 1, "absent"),
        (["--to", "tflite", "--graph", "absent.pb"], 1, "there is no graph at absent.pb"),
        (["--to", "tflite-int8"], 1, "is made from training images"),
    ],
)
def test_refusals_are_one_sentence(
    arguments: list[str], code: int, sentence: str, graph: Path
) -> None:
    if "tflite-int8" in arguments:
        pytest.importorskip("ai_edge_quantizer")
    graph.with_suffix(".json").unlink()
    if "--graph" not in arguments:
        arguments = [*arguments, "--graph", graph.name]
    before = sorted(graph.parent.iterdir())
    run = tlcli("export", *arguments, cwd=graph.parent)
    assert run.code == code, run.err
    assert sentence in run.err
    assert sorted(graph.parent.iterdir()) == before


def test_the_graph_itself_is_never_replaced(graph: Path) -> None:
    content = graph.read_bytes()
    run = tlcli("export", "--graph", graph, "--to", "tflite", "--output", graph)
    assert run.code == 2
    assert "is the graph itself" in run.err
    assert graph.read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tflite-float16", "tflite-int8", "tflite-edgetpu"])
def test_smaller_litert_files(kind: str, graph: Path, trained: Trained) -> None:
    pytest.importorskip("ai_edge_quantizer")
    run = tlcli(
        "export", "--graph", graph, "--to", kind, "--image_dir", trained.photos,
        "--format", "json", "--quiet", "--force",
    )  # fmt: skip
    assert run.code == 0, run.err
    (file,) = json.loads(run.out)["files"]
    assert file["bytes"] < 0.6 * graph.stat().st_size
    assert set(file["validation"]) == {"before", "after"}
    # It labels by itself, with the labels and the input specification inside.
    alone = graph.parent / "elsewhere" / "model.tflite"
    alone.parent.mkdir()
    shutil.copyfile(file["path"], alone)
    found, expected = scores(alone, trained.photo), scores(graph, trained.photo)
    assert max(found, key=found.__getitem__) == max(expected, key=expected.__getitem__)
    assert found == pytest.approx(expected, abs=0.25)
    assert ("Edge TPU" in " ".join(file["remarks"])) == (kind == "tflite-edgetpu")


@pytest.mark.slow
def test_a_file_that_is_less_accurate_is_refused_with_the_figures(
    graph: Path, trained: Trained, tmp_path: Path
) -> None:
    pytest.importorskip("ai_edge_quantizer")
    # Only the calibration is of other images, so that the ranges of values are wrong.
    rows = ["path,label,split"]
    for number, path in enumerate(sorted(trained.photos.rglob("aerial*.jpg"))):
        split = ("val", "test")[number % 2]
        rows.append(f"{path},{path.parent.name.replace('_', ' ')},{split}")
    dark = tmp_path / "dark"
    for label in ("house with pool", "house without pool"):
        folder = dark / label
        folder.mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(folder / "black.png")
        rows.append(f"{folder / 'black.png'},{label},train")
    manifest = tmp_path / "photos.csv"
    manifest.write_text("\n".join(rows) + "\n")
    command = ("export", "--graph", graph, "--to", "tflite-int8", "--manifest", manifest)
    run = tlcli(*command, "--quiet")
    assert run.code == 1
    assert "no tflite-int8 is written: its accuracy on" in run.err
    assert "it may lose half a point; tlcli export --force writes it" in run.err
    assert not list(graph.parent.glob("*int8*"))
    run = tlcli(*command, "--quiet", "--force")
    assert run.code == 0, run.err
    assert list(graph.parent.glob("*int8*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "needs"),
    [
        ("onnx", "tf2onnx"),
        ("openvino", "openvino"),
        ("saved_model", "tensorflow"),
        ("coreml", "coremltools"),
    ],
)
def test_formats_of_other_programs(kind: str, needs: str, graph: Path, trained: Trained) -> None:
    if find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    run = tlcli(
        "export", "--graph", graph, "--to", kind, "--image_dir", trained.photos,
        "--format", "json", "--quiet",
    )  # fmt: skip
    assert run.code == 0, run.err
    (file,) = json.loads(run.out)["files"]
    assert Path(file["path"]).exists()
    if kind == "coreml":
        assert file["remarks"] == ["Core ML runs on Apple's systems only: not run here"]
        return
    assert file["same_label"] == 1
    assert file["largest_difference"] < 1e-3
    assert file["milliseconds"] > 0
    # Again, over the older output.
    run = tlcli("export", "--graph", graph, "--to", kind, "--image_dir", trained.photos)
    assert run.code == 0, run.err


@pytest.mark.slow
def test_an_onnx_file_contains_labels_and_preprocessing(graph: Path, trained: Trained) -> None:
    onnx: Any = pytest.importorskip("onnx")
    pytest.importorskip("tf2onnx")
    run = tlcli("export", "--graph", graph, "--to", "onnx", "--image_dir", trained.photos)
    assert run.code == 0, run.err
    model = onnx.load(graph.with_suffix(".onnx"))
    facts = {each.key: each.value for each in model.metadata_props}
    assert json.loads(facts["labels"]) == ["house with pool", "house without pool"]
    assert json.loads(facts["preprocessing"])["height"] == 224
    assert {each.version for each in model.opset_import if each.domain == ""} == {17}


@pytest.mark.slow
def test_a_litert_file_of_another_range_keeps_it_in_8_bits(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_quantizer")
    plates = shared / "legacy" / "plates_128"
    for name in ("graph.tflite", "labels.txt"):
        shutil.copyfile(plates / name, tmp_path / name)
    rows = ["path,label,split"]
    for number, path in enumerate(sorted((plates / "bottleneck_photos").rglob("*.jpg"))):
        rows.append(f"{path},{path.parent.name},{('val', 'test', 'train')[min(number, 2)]}")
    (tmp_path / "photos.csv").write_text("\n".join(rows) + "\n")
    run = tlcli(
        "export", "--graph", "graph.tflite", "--to", "tflite-int8", "--format", "json",
        "--manifest", "photos.csv", "--force", cwd=tmp_path,
    )  # fmt: skip
    assert run.code == 0, run.err
    (file,) = json.loads(run.out)["files"]
    # White pixels are 1 and black ones -1, and none of them is cut off.
    assert file["largest_difference"] < 0.3
    assert file["bytes"] < 0.5 * (tmp_path / "graph.tflite").stat().st_size
