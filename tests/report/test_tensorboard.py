from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.report import samples
from tlcli.errors import OutputError
from tlcli.report import tensorboard as module
from tlcli.report import tensorboard_pictures as summary_pictures
from tlcli.report.tensorboard import Summaries
from tlcli.report.tensorboard_pictures import confusion_image, sprite

pytest.importorskip("tensorboard")


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0}).Reload()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("summaries")
    generator = np.random.default_rng(0)
    weights = np.linspace(-1, 3, 12, dtype=np.float32).reshape(6, 2)
    with Summaries(folder) as summaries:
        for step in (0, 10):
            summaries.step("train", step, 0.5 + step / 100, 0.7)
            summaries.step("validation", step, 0.25, 0.9)
            logits = generator.normal(size=(20, 2))
            summaries.layer(step, weights, np.zeros(2))
            summaries.activations("train", step, logits, 1 / (1 + np.exp(-logits)))
        matrix = samples.confusion_of([[3, 1], [0, 4]])
        summaries.confusion("confusion_matrix", 10, matrix, ["daisy", "roses"])
    return folder


def test_scalars_have_the_originals_tags(written: Path) -> None:
    train, validation = read(written / "train"), read(written / "validation")
    assert [(e.step, round(e.value, 6)) for e in train.Scalars("accuracy_1")] == [
        (0, 0.5),
        (10, 0.6),
    ]
    assert [e.value for e in validation.Scalars("cross_entropy_1")] == [
        pytest.approx(0.9),
        pytest.approx(0.9),
    ]
    statistics = {
        f"final_retrain_ops/{name}/summaries/{figure}"
        for name in ("weights", "biases")
        for figure in ("mean", "stddev_1", "max", "min")
    }
    assert set(train.Tags()["scalars"]) == statistics | {"accuracy_1", "cross_entropy_1"}
    assert set(validation.Tags()["scalars"]) == set(train.Tags()["scalars"])
    scope = "final_retrain_ops/weights/summaries"
    assert train.Scalars(f"{scope}/mean")[0].value == pytest.approx(1)
    assert train.Scalars(f"{scope}/max")[0].value == pytest.approx(3)
    assert train.Scalars(f"{scope}/stddev_1")[0].value == pytest.approx(
        np.linspace(-1, 3, 12).std()
    )


def test_histograms(written: Path) -> None:
    train = read(written / "train")
    assert set(train.Tags()["histograms"]) == {
        "final_retrain_ops/weights/summaries/histogram",
        "final_retrain_ops/biases/summaries/histogram",
        "final_retrain_ops/Wx_plus_b/pre_activations",
        "activations",
    }
    value = train.Histograms("final_retrain_ops/weights/summaries/histogram")[0].histogram_value
    assert (value.num, value.min, value.max, sum(value.bucket)) == (12, -1, 3, 12)
    assert len(value.bucket) == len(value.bucket_limit)
    assert train.Histograms("activations")[1].step == 10


def test_confusion_matrix_is_a_picture(written: Path) -> None:
    image = read(written / "validation").Images("confusion_matrix")[0]
    drawn = Image.open(io.BytesIO(image.encoded_image_string))
    assert drawn.format == "PNG"
    assert drawn.size == (image.width, image.height)


def test_a_new_run_replaces_its_own_files_only(tmp_path: Path) -> None:
    foreign = tmp_path / "train" / "events.out.tfevents.1.other"
    foreign.parent.mkdir()
    foreign.write_bytes(b"")
    for accuracy in (0.1, 0.2):
        with Summaries(tmp_path) as summaries:
            summaries.step("train", 0, accuracy, None)
    assert foreign.exists()
    ours = [path for path in (tmp_path / "train").iterdir() if path != foreign]
    assert len(ours) == 1
    foreign.unlink()
    assert [round(e.value, 6) for e in read(tmp_path / "train").Scalars("accuracy_1")] == [0.2]


def test_values_that_are_not_finite_do_not_stop_the_histogram(tmp_path: Path) -> None:
    with Summaries(tmp_path) as summaries:
        summaries.activations("train", 0, np.array([[np.nan, 1.0]]), np.array([[np.inf]]))
    train = read(tmp_path / "train")
    pre = train.Histograms("final_retrain_ops/Wx_plus_b/pre_activations")[0].histogram_value
    assert pre.num == 1
    assert train.Histograms("activations")[0].histogram_value.num == 0


def test_projector_files(tmp_path: Path) -> None:
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    labels = ["daisy", "two\twords", "", "장미", "roses"]
    red, text = tmp_path / "red.png", tmp_path / "text.txt"
    Image.new("RGB", (30, 20), "red").save(red)
    text.write_text("not an image")
    columns = {"label": labels, "number": list("12345")}
    with Summaries(tmp_path) as summaries:
        summaries.projector(vectors, columns, [red, None, text, tmp_path / "none", red])
    config = text_format.Parse(
        (tmp_path / "projector_config.pbtxt").read_text("utf-8"), ProjectorConfig()
    )
    embedding = config.embeddings[0]
    stored = np.fromfile(tmp_path / embedding.tensor_path, "<f4").reshape(embedding.tensor_shape)
    np.testing.assert_array_equal(stored, vectors)
    lines = (tmp_path / embedding.metadata_path).read_text("utf-8").splitlines()
    assert lines == [
        "label\tnumber", "daisy\t1", "two words\t2", "(empty)\t3", "장미\t4", "roses\t5",
    ]  # fmt: skip
    sheet = Image.open(tmp_path / embedding.sprite.image_path)
    side = embedding.sprite.single_image_dim[0]
    assert sheet.size == (3 * side, 3 * side)
    assert sheet.getpixel((side // 2, side // 2)) == (255, 0, 0)
    assert sheet.getpixel((side // 2 + side, side // 2)) == (200, 204, 209)
    assert sheet.getpixel((side + 1, side + 1)) == (255, 0, 0)


def test_vectors_that_read_as_text_are_written_as_text(tmp_path: Path) -> None:
    vectors = np.zeros((2, 3), np.float32)
    vectors[1, 2] = 2.0
    with Summaries(tmp_path) as summaries:
        summaries.projector(vectors, {"label": ["a", "b"], "split": ["c", "d"]})
    assert 'tensor_path: "bottlenecks.tsv"' in (tmp_path / "projector_config.pbtxt").read_text()
    rows = [line.split("\t") for line in (tmp_path / "bottlenecks.tsv").read_text().splitlines()]
    np.testing.assert_array_equal(np.array(rows, np.float32), vectors)


def test_many_points_are_thinned_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROJECTOR_POINTS", 4)
    with Summaries(tmp_path) as summaries:
        summaries.projector(np.ones((10, 2)) / 3, {"label": "0123456789", "split": "x" * 10})
    lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    assert lines == ["label\tsplit", "0\tx", "3\tx", "6\tx", "9\tx"]


@pytest.mark.slow
def test_sprite_of_many_images_stays_within_the_projectors_limit() -> None:
    side, sheet = sprite([None] * 40_000)
    assert sheet.width <= summary_pictures.SPRITE_SIDE
    assert side == 40


@pytest.mark.parametrize("count", [1, 2, 17, 60, 400])
def test_confusion_image_of_any_size(count: int) -> None:
    image = confusion_image(np.eye(count, dtype=int), [f"label {n}" for n in range(count)])
    assert max(image.size) < 1800


def test_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, *rest: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", absent)
    with pytest.raises(OutputError, match=r"pip install 'tlcli\[summaries\]'"):
        Summaries(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        Summaries(tmp_path / "file")


def test_tensorflow_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from tlcli.report.tensorboard import Summaries\n"
        "with Summaries(sys.argv[1]) as s:\n"
        "    s.step('train', 0, 1.0, 0.0)\n"
        "    s.projector([[0.1, 0.2]], {'label': ['a'], 'split': ['b']})\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
