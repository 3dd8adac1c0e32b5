"""The SavedModel: both signatures, on real photos, by both of TensorFlow's loaders."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests import pictures
from tlcli.backbone import BackboneGraph
from tlcli.core.export import model_card
from tlcli.core.export.frozen_graph import ClassifierGraph, append_final_layer
from tlcli.core.export.model_card import CardInput, ModelCard
from tlcli.core.export.saved_model import write_saved_model
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import DataError, OutputError
from tlcli.graph.nodes import const, new_graph, node, placeholder

HEIGHT, WIDTH = 20, 24
LABELS = ["daisy", "수영장", "tulips"]
NETWORK = Preprocessing("tlcli-1", HEIGHT, WIDTH)
# All pixels count, each with its own weight, so that a misplaced one is seen.
LAYER = FinalLayer(
    weights=np.random.default_rng(0).normal(0, 0.08, (HEIGHT * WIDTH * 3, 3)).astype(np.float32),
    biases=np.array([0.1, -0.1, 0.0], np.float32),
)


def pixels_backbone() -> BackboneGraph:
    """Return a backbone whose bottleneck is the picture itself."""
    graph = new_graph(
        [
            placeholder("Placeholder", np.float32, [None, HEIGHT, WIDTH, 3]),
            const("shape", np.array([-1, HEIGHT * WIDTH * 3], np.int32)),
            node("flat", "Reshape", ["Placeholder", "shape"], T=np.float32, Tshape=np.int32),
        ]
    )
    return BackboneGraph(graph, "flat", HEIGHT * WIDTH * 3)


GRAPH = append_final_layer(pixels_backbone(), LAYER, "scores")
CLASSIFIER = ClassifierGraph(GRAPH, HEIGHT, WIDTH, "scores")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model"
    card = ModelCard(
        tuple(LABELS), CardInput("Placeholder", HEIGHT, WIDTH, (0, 1), NETWORK.to_dict()), "scores"
    )
    write_saved_model(path, CLASSIFIER, LABELS, card)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    from tlcli.runtime.tensorflow import import_tensorflow

    return import_tensorflow().saved_model.load(str(folder))


def encoded(model: Any, *contents: bytes) -> np.ndarray:
    import tensorflow as tf

    answer = model.signatures["encoded"](image_bytes=tf.constant(list(contents)))
    assert list(answer) == ["prediction"]
    return answer["prediction"].numpy()


def expected(*contents: bytes) -> np.ndarray:
    images = NETWORK.scale(np.stack([NETWORK.read(item) for item in contents]))
    return LAYER.probabilities(images.reshape(len(images), -1))


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return smooth colours with a little noise."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 9 + k) + np.cos(y / (7 + k)) for k in range(4)]
    # Four channels: red, green, blue and alpha.
    values = 127 + 55 * np.stack(waves, axis=-1)
    values += np.random.default_rng(0).normal(0, 6, values.shape)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert(mode)


def test_signatures(model: Any) -> None:
    assert set(model.signatures) == {"serving_default", "encoded"}
    for name, key, shape in (
        ("serving_default", "image", [None, HEIGHT, WIDTH, 3]),
        ("encoded", "image_bytes", [None]),
    ):
        signature = model.signatures[name]
        [(found, spec)] = signature.structured_input_signature[1].items()
        assert (found, spec.shape.as_list()) == (key, shape)
        [(output, tensor)] = signature.structured_outputs.items()
        assert (output, tensor.shape.as_list()) == ("prediction", [None, 3])


@pytest.mark.parametrize("batch", [1, 3])
def test_pixels_give_the_probabilities_of_the_layer(model: Any, batch: int) -> None:
    import tensorflow as tf

    images = np.random.default_rng(0).random((batch, HEIGHT, WIDTH, 3), dtype=np.float32)
    given = model.signatures["serving_default"](image=tf.constant(images))["prediction"].numpy()
    np.testing.assert_allclose(given, LAYER.probabilities(images.reshape(batch, -1)), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "mode", "size"),
    [
        ("JPEG", "RGB", (31, 37)),  # decoded whole
        ("JPEG", "RGB", (101, 83)),  # decoded at a quarter, with a remainder
        ("JPEG", "RGB", (400, 300)),  # decoded at an eighth
        ("JPEG", "L", (50, 30)),
        ("JPEG", "RGB", (10, 9)),  # enlarged
        ("PNG", "RGB", (60, 50)),
        ("PNG", "L", (60, 50)),
        ("PNG", "P", (60, 50)),
        ("PNG", "RGBA", (60, 50)),
        ("PNG", "LA", (60, 50)),
        ("GIF", "P", (60, 50)),
        ("BMP", "RGB", (60, 50)),
        ("BMP", "L", (60, 50)),
        ("GIF", "L", (60, 50)),
    ],
)
def test_files_give_nearly_the_scores_of_our_own_reader(
    model: Any, kind: str, mode: str, size: tuple[int, int]
) -> None:
    content = pictures.encoded(picture(*size, mode), kind)
    np.testing.assert_allclose(encoded(model, content), expected(content), atol=0.01)


@pytest.mark.parametrize("size", [(29, 25), (130, 90)])
def test_photos_are_turned_as_they_say(model: Any, size: tuple[int, int]) -> None:
    contents = []
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x010F] = "A maker"
        exif[0x0112] = orientation
        contents.append(pictures.encoded(picture(*size), "JPEG", exif=exif.tobytes(), quality=95))
    wanted = expected(*contents)
    np.testing.assert_allclose(encoded(model, *contents), wanted, atol=0.01)
    # 0, 1 and 9 say nothing; the other seven are pictures of their own.
    assert len({tuple(row) for row in np.round(wanted, 2)}) == 8


def test_damaged_exif_is_no_failure(model: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = pictures.encoded(picture(40, 30), "JPEG", exif=exif.tobytes())
    start = whole.index(b"Exif")
    contents = [
        whole[:place] + b"\xff\xff" + whole[place + 2 :] for place in range(start, start + 30)
    ]
    assert np.isfinite(encoded(model, *contents)).all()


def test_bitmap_with_a_fourth_channel(model: Any) -> None:
    plain = picture(60, 50)
    content = pictures.encoded(plain.convert("RGBA"), "BMP")
    np.testing.assert_allclose(
        encoded(model, content), expected(pictures.encoded(plain, "BMP")), atol=0.01
    )


def test_files_of_several_kinds_in_one_batch(model: Any) -> None:
    contents = [
        pictures.encoded(picture(64, 48), "JPEG"),
        pictures.encoded(picture(48, 64), "PNG"),
        pictures.encoded(picture(30, 30), "BMP"),
    ]
    together = encoded(model, *contents)
    assert together.shape == (3, 3)
    np.testing.assert_allclose(together, expected(*contents), atol=0.01)


def test_first_frame_of_an_animation(model: Any) -> None:
    frames = [picture(40, 40), Image.new("RGB", (40, 40), "red")]
    content = pictures.encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(encoded(model, content), expected(content), atol=0.01)


def test_what_is_no_image_is_refused(model: Any) -> None:
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError):
        encoded(model, b"text")


def test_loader_of_version_1(folder: Path) -> None:
    from tlcli.runtime.tensorflow import import_tensorflow

    tf = import_tensorflow()
    content = pictures.encoded(picture(60, 50), "PNG")
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(folder))
        signature = loaded.signature_def["encoded"]
        assert signature.method_name == "tensorflow/serving/predict"
        given = session.run(
            signature.outputs["prediction"].name,
            {signature.inputs["image_bytes"].name: [content]},
        )
        # Weights are stored once for both signatures.
        names = [item.name for item in graph.as_graph_def().node]
        assert "scores" in names
        assert "encoded/scores" in names
        assert "encoded/final_retrain_ops/weights/final_weights" not in names
    np.testing.assert_allclose(given, expected(content), atol=0.01)


def test_labels_and_card_lie_in_the_folder(folder: Path) -> None:
    extra = folder / "assets.extra"
    assert (extra / "labels.txt").read_text(encoding="utf-8").splitlines() == LABELS
    card = model_card.load_for(folder)
    assert card is not None
    assert card.labels == tuple(LABELS)
    assert set(card.files) == {"../saved_model.pb", "labels.txt"}


def test_an_older_folder_is_replaced(tmp_path: Path) -> None:
    place = tmp_path / "model"
    (place / "variables").mkdir(parents=True)
    (place / "variables" / "old").write_text("old")
    write_saved_model(place, CLASSIFIER, LABELS)
    found = sorted(path.name for path in place.rglob("*") if path.is_file())
    assert found == ["labels.txt", "saved_model.pb"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert model_card.load_for(place) is None


def test_a_failure_leaves_the_older_folder(tmp_path: Path) -> None:
    place = tmp_path / "model"
    place.mkdir()
    (place / "old").write_text("old")
    with pytest.raises(DataError):
        write_saved_model(place, CLASSIFIER, ["a", "b\n", "c"])
    assert (place / "old").read_text() == "old"
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        write_saved_model(tmp_path / "file" / "model", CLASSIFIER, LABELS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model"]


@pytest.mark.slow
def test_the_same_graph_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    source = tmp_path / "graph.pb"
    source.write_bytes(GRAPH.SerializeToString(deterministic=True))
    code = (
        "import sys, pathlib\n"
        "from tlcli.graph.messages import GraphDef\n"
        "from tlcli.core.export.frozen_graph import ClassifierGraph\n"
        "from tlcli.core.export.saved_model import write_saved_model\n"
        "graph = GraphDef.FromString(pathlib.Path(sys.argv[1]).read_bytes())\n"
        f"classifier = ClassifierGraph(graph, {HEIGHT}, {WIDTH}, 'scores')\n"
        "write_saved_model(pathlib.Path(sys.argv[2]), classifier, ['a', 'b', 'c'])\n"
    )
    digests = set()
    for number in range(2):
        place = tmp_path / f"model_{number}"
        done = subprocess.run(
            [sys.executable, "-c", code, str(source), str(place)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == ""
        assert done.stderr == ""
        digests.add(hashlib.sha256((place / "saved_model.pb").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlcli.runtime.tensorflow import import_tensorflow

    tf = import_tensorflow()

    def save(builder: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "x/saved_model.pb; No space left")

    monkeypatch.setattr(tf.compat.v1.saved_model.Builder, "save", save)
    with pytest.raises(OutputError, match="No space left; choose another path"):
        write_saved_model(tmp_path / "model", CLASSIFIER, LABELS)
    assert list(tmp_path.iterdir()) == []
