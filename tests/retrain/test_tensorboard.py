"""What --summaries_dir leaves for TensorBoard, read back and opened."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from retrain import report
from retrain.job import retrain
from retrain.result import RetrainResult
from tests.report.test_browser import browser, fetched, run
from tests.retrain.test_report import HOSTILE, small_run
from tests.support import tlcli
from tlcli.errors import OutputError
from tlcli.report import tensorboard as writer
from tlcli.report.tensorboard_pictures import confusion_image
from tlcli.runtime.tensorflow import import_tensorflow

pytest.importorskip("tensorboard")

__all__ = ["browser"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RetrainResult]:
    folder = tmp_path_factory.mktemp("summaries")
    result = small_run(folder, summaries_dir=folder / "logs", validation_percentage=20)
    return folder / "logs", result


def read(folder: Path) -> Any:
    # TensorBoard imports it too, and would let its warnings through.
    import_tensorflow()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0}).Reload()


def test_both_folders_have_the_originals_tags(finished: tuple[Path, RetrainResult]) -> None:
    logs, result = finished
    assert result.outputs["summaries"] == logs
    assert result.report is not None
    for kind, key in (("train", "training"), ("validation", "validation")):
        events = read(logs / kind)
        scope = "final_retrain_ops/{}/summaries/{}"
        figures = {
            scope.format(name, figure)
            for name in ("weights", "biases")
            for figure in ("mean", "stddev_1", "max", "min")
        }
        assert set(events.Tags()["scalars"]) == figures | {"accuracy_1", "cross_entropy_1"}
        assert set(events.Tags()["histograms"]) == {
            "final_retrain_ops/weights/summaries/histogram",
            "final_retrain_ops/biases/summaries/histogram",
            "final_retrain_ops/Wx_plus_b/pre_activations",
            "activations",
        }
        curve = result.report[f"{key}_curve"]
        accuracies = events.Scalars("accuracy_1")
        assert [event.step for event in accuracies] == curve["steps"]
        assert [event.value for event in accuracies] == pytest.approx(curve["accuracy"])
        last = events.Histograms("activations")[-1].histogram_value
        # Two probabilities an image, which add up to one.
        assert last.sum == pytest.approx(last.num / 2, rel=1e-5)


def test_confusion_matrices_are_pictures_of_the_last_step(
    finished: tuple[Path, RetrainResult],
) -> None:
    logs, result = finished
    assert result.report is not None
    events = read(logs / "validation")
    assert set(events.Tags()["images"]) == {"confusion_matrix", "confusion_matrix_test"}
    (image,) = events.Images("confusion_matrix_test")
    assert image.step == result.report["training_curve"]["steps"][-1]
    drawn = Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB")
    expected = confusion_image(np.array(result.report["confusion"]), list(result.labels)).convert(
        "RGB"
    )
    np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))


def test_more_labels_than_a_picture_holds_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "PICTURE_LABELS", 1)
    small_run(tmp_path, summaries_dir=tmp_path / "logs", validation_percentage=20)
    assert read(tmp_path / "logs" / "validation").Tags()["images"] == []


def test_the_projector_has_every_bottleneck_with_its_label_and_photo(
    finished: tuple[Path, RetrainResult],
) -> None:
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    logs, result = finished
    text = (logs / "projector_config.pbtxt").read_text("utf-8")
    (embedding,) = text_format.Parse(text, ProjectorConfig()).embeddings
    lines = (logs / embedding.metadata_path).read_text("utf-8").split("\n")
    assert lines.pop() == ""
    assert lines[0] == "label\tsplit\timage"
    rows = [line.split("\t") for line in lines[1:]]
    count = 2 * len(HOSTILE)
    assert list(embedding.tensor_shape) == [count, 4]
    assert len(rows) == count
    assert {label for label, _, _ in rows} == set(result.labels)
    for label, counts in result.labels.items():
        found = [split for name, split, _ in rows if name == label]
        assert found.count("testing") == counts.testing
        assert found.count("training") == counts.training
    side = embedding.sprite.single_image_dim[0]
    sheet = np.asarray(Image.open(logs / embedding.sprite.image_path))
    assert sheet.shape == (4 * side, 4 * side, 3)
    # Photos of noise: none is a grey square, and the places behind the last are.
    assert sheet[:side, :side].std() > 20
    assert sheet[-side:, -side:].std() == pytest.approx(np.std([200, 204, 209]))


def test_logistic_regression_has_pictures_and_points_but_no_curves(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    small_run(tmp_path, summaries_dir=logs, solver="lbfgs")
    events = read(logs / "validation")
    assert set(events.Tags()["images"]) == {"confusion_matrix", "confusion_matrix_test"}
    assert [image.step for image in events.Images("confusion_matrix_test")] == [0]
    assert (logs / "projector_config.pbtxt").is_file()
    assert not events.Tags()["scalars"]


def test_tensorboard_that_is_missing_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "find_spec", lambda name: None)
    with pytest.raises(OutputError, match=r"pip install 'tlcli\[summaries\]'") as found:
        retrain(tmp_path / "absent", summaries_dir=tmp_path / "logs")
    assert found.value.exit_code == 1
    assert not (tmp_path / "logs").exists()


@contextmanager
def tensorboard(logs: Path) -> Iterator[str]:
    """Run TensorBoard on a port of its choice and give its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs)]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0", "--load_fast", "false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        for line in server.stderr:
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            if found is not None:
                yield found[0]
                break
        else:
            pytest.fail("TensorBoard did not start")
    finally:
        server.terminate()
        server.wait(timeout=300)
        assert server.stderr is not None
        server.stderr.close()


@pytest.mark.slow
def test_tensorboard_shows_the_projector_in_a_browser(
    browser: str, finished: tuple[Path, RetrainResult], tmp_path: Path
) -> None:
    log = tmp_path / "net.json"
    with tensorboard(finished[0]) as address:
        done = run(
            browser,
            tmp_path,
            "--enable-logging=stderr",
            "--virtual-time-budget=30000",
            f"--log-net-log={log}",
            "--dump-dom",
            f"{address}#projector",
        )
        with urllib.request.urlopen(f"{address}data/plugin/images/tags", timeout=300) as answer:
            images = json.load(answer)
    asked = {url.removeprefix(address) for url in fetched(log)}
    for wanted in ("info", "tensor", "metadata", "sprite_image"):
        assert any(url.startswith(f"data/plugin/projector/{wanted}?") for url in asked), wanted
    assert not re.search(r":CONSOLE.*(Uncaught|Error)", done.stderr)
    assert set(images["validation"]) == {"confusion_matrix", "confusion_matrix_test"}


def test_the_command_takes_the_option(shared: Path, tmp_path: Path) -> None:
    done = tlcli(
        "retrain", "--import_bottlenecks", shared / "houses" / "bottlenecks",
        "--final_layer_only", "--how_many_training_steps", 20, "--summaries_dir", "logs",
        "--quiet", cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert read(tmp_path / "logs" / "train").Scalars("accuracy_1")[-1].step == 19
    # Vectors alone have no photos, so no sprite.
    assert "sprite" not in (tmp_path / "logs" / "projector_config.pbtxt").read_text()
