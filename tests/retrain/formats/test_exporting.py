"""tlcli retrain --export: further formats of the new graph, measured on the images of the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrain.arguments.options import RetrainOptions
from tests.support import Trained, tlcli
from tlcli.errors import UsageError


def test_formats_are_written_and_measured(trained: Trained, tmp_path: Path) -> None:
    run = tlcli(
        "retrain", "--image_dir", trained.photos, "--export", "tflite", "--format", "json",
        cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    found = json.loads(run.out)
    (file,) = found["exports"]["files"]
    assert file["kind"] == "tflite"
    assert file["accuracy"] == found["exports"]["graph"]["accuracy"] == found["test_accuracy"]
    assert found["outputs"]["tflite"] == file["path"] == "output_graph.tflite"
    page = (tmp_path / "output_report.html").read_text(encoding="utf-8")
    assert '<h2 id="formats">Formats</h2>' in page


def test_a_refused_format_loses_nothing_else(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_quantizer")
    # Without validation and test images nothing can be said of an 8-bit file.
    run = tlcli(
        "retrain", "--image_dir", trained.photos, "--export", "tflite-int8,tflite",
        "--testing_percentage", 0, "--validation_percentage", 0,
        cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip
    assert run.code == 1
    assert "tflite-int8 is compared on labelled validation images, and there are none" in run.err
    assert (tmp_path / "output_graph.pb").is_file()
    assert (tmp_path / "output_graph.tflite").is_file()
    assert not (tmp_path / "output_graph-int8.tflite").exists()


def test_options_that_do_not_fit_are_refused_before_the_work() -> None:
    with pytest.raises(UsageError, match="there is no format 'pdf'"):
        RetrainOptions(image_dir=Path("photos"), export="pdf")
    with pytest.raises(UsageError, match="--export has nothing to convert"):
        RetrainOptions(image_dir=Path("photos"), export="onnx", final_layer_only=True)
    with pytest.raises(UsageError, match="would both be"):
        RetrainOptions(
            image_dir=Path("photos"), export="onnx", output_labels=Path("output_graph.onnx")
        )
    chosen = RetrainOptions(image_dir=Path("photos"), export="saved_model,tflite")
    assert chosen.saved_model_dir == Path("output_graph_saved_model")
    assert chosen.output_tflite == Path("output_graph.tflite")
