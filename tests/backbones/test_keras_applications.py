from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from tlcli.backbone import INPUT, Backbone, BackboneGraph
from tlcli.backbones import catalogue, keras_applications
from tlcli.backbones.catalogue import Entry
from tlcli.backbones.model_options import ModelOptions
from tlcli.backbones.resolve import resolve
from tlcli.errors import BackboneError, DownloadError, UsageError
from tlcli.graph.surgery import PLAIN_OPERATIONS
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.writer import write_model
from tlcli.runtime.tensorflow import GraphEngine

# Keras asks NumPy for copies in a way that newer NumPy warns of, while it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL = "mobilenet_v2_0.35_96"


def _architecture(entry: Entry, **options: Any) -> Any:
    keras = keras_applications.import_keras()
    if entry.alpha is not None:
        options["alpha"] = entry.alpha
    shape = (entry.side, entry.side, 3)
    build = getattr(keras.applications, entry.architecture)
    return build(include_top=False, pooling="avg", input_shape=shape, **options)


def _random_weights(model: Any) -> list[np.ndarray[Any, Any]]:
    """Return weights at random such that every layer passes something on."""
    random = np.random.default_rng(0)
    found = []
    for weight in model.weights:
        name, shape = weight.path, tuple(weight.shape)
        if name.endswith("normalization/mean"):
            value = np.array([0.485, 0.456, 0.406])
        elif name.endswith("normalization/variance"):
            value = np.array([0.229, 0.224, 0.225])
        elif "moving_variance" in name:
            value = random.uniform(0.5, 1.5, shape)
        elif "gamma" in name:
            value = random.uniform(0.7, 1.3, shape)
        elif len(shape) == 4:
            # A kernel of one output is depthwise: each output has one channel to look at.
            inputs = np.prod(shape[:2] if shape[-1] == 1 else shape[:3])
            value = random.normal(0, np.sqrt(2 / inputs), shape)
        else:
            value = random.normal(0, 0.1, shape)
        found.append(value)
    return found


def _write_weights(model: Any, path: Path) -> None:
    """Write weights in the format of the published files."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)


def _place(name: str, folder: Path) -> Path:
    entry = catalogue.entries()[name]
    model = _architecture(entry, weights=None)
    model.set_weights(_random_weights(model))
    path = folder / entry.file_name
    _write_weights(model, path)
    return path


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _place(SMALL, tmp_path_factory.mktemp("models"))


def _images(backbone: Backbone) -> np.ndarray[Any, Any]:
    """Return two images that differ in brightness and colour, as noise alone averages out."""
    shape = (2, backbone.height, backbone.width, 3)
    colours = np.array([[[[1.0, 0.2, 0.6]]], [[[0.1, 0.9, 0.3]]]])
    noise = np.random.default_rng(5).uniform(0, 1, shape)
    return np.asarray(noise * colours, np.float32)


def _of_keras(entry: Entry, path: Path, *batches: np.ndarray[Any, Any]) -> list[Any]:
    """Return what Keras itself computes when it loads its ImageNet weights from ``path``."""
    keras = keras_applications.import_keras()
    build = getattr(keras.applications, entry.architecture)
    module = sys.modules[build.__module__]
    # resnet_v2 builds its networks, and loads their weights, in resnet.
    files = (
        getattr(module, "file_utils", None)
        or sys.modules["keras.src.applications.resnet"].file_utils
    )
    with mock.patch.object(files, "get_file", return_value=str(path)):
        model = _architecture(entry, weights="imagenet")
    scale = getattr(keras.applications, module.__name__.rpartition(".")[2]).preprocess_input
    return [np.asarray(model(scale(images * 255.0), training=False)) for images in batches]


def _assert_same_as_keras(name: str, path: Path) -> BackboneGraph:
    backbone = resolve(name, model_dir=path.parent)
    loaded = backbone.load_graph()
    images = _images(backbone)
    # Rounding grows on its way through random weights (a unit in the last place of the input
    # moves a ten-thousandth of the output of some): Keras against itself says how much.
    random = np.random.default_rng(9).uniform(-6e-8, 6e-8, images.shape)
    moved = np.asarray(images * (1 + random), np.float32)
    entry = catalogue.entries()[name]
    expected, rounded = _of_keras(entry, path, images, moved)
    with GraphEngine(loaded.graph, INPUT, loaded.output) as engine:
        found = engine.run(images)

    assert found.shape == (2, backbone.bottleneck_size) == (2, loaded.bottleneck_size)
    scale = np.abs(expected).max()
    error = np.abs(found - expected).max()
    bound = max(2e-5 * scale, 10 * np.abs(rounded - expected).max())
    assert error < bound
    # The two images differ by far more, so that a wrong scaling or order of colours would show.
    difference = np.abs(expected[0] - expected[1]).max()
    assert difference > 0.01 * scale
    assert error < 0.01 * difference
    if not name.startswith("convnext"):  # its GELU is the error function
        assert {node.op for node in loaded.graph.node} <= PLAIN_OPERATIONS
        # The same network without TensorFlow, on one image as well. Every layer rounds otherwise.
        engine = LiteRTEngine(write_model(loaded.graph, INPUT, loaded.output))
        for batch in (images, images[:1]):
            np.testing.assert_allclose(
                engine.run(batch), found[: len(batch)], atol=5 * bound, rtol=0
            )
    return loaded


@pytest.mark.slow
def test_graph_computes_what_keras_computes(placed: Path) -> None:
    loaded = _assert_same_as_keras(SMALL, placed)

    # Batch norms are folded: one product and sum are the scaling, ten sums the residuals.
    operations = [node.op for node in loaded.graph.node]
    assert operations.count("Mul") <= 1
    assert operations.count("AddV2") <= 11
    assert operations.count("Conv2D") == 35


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v1_0.25_128",  # scaled to [-1, 1]
        "mobilenet_v3_small",  # scales by itself
        "efficientnet_b0",  # Keras adds a layer when it loads the weights itself
        "efficientnet_v2_b0",
        "inception_v3",
        "resnet50",  # BGR
        "resnet50_v2",
        "densenet121",  # standardised by channel
        "nasnet_mobile",
        "convnext_tiny",  # convolutions in groups
    ],
)
def test_every_family_computes_what_keras_computes(name: str, tmp_path: Path) -> None:
    _assert_same_as_keras(name, _place(name, tmp_path))


def test_weights_are_read_in_the_old_format_and_the_new(tmp_path: Path) -> None:
    keras = keras_applications.import_keras()

    def build() -> Any:
        layers = [keras.layers.Input((4, 4, 3)), keras.layers.Conv2D(2, 3)]
        return keras.Sequential([*layers, keras.layers.BatchNormalization()])

    model = build()
    model.set_weights(_random_weights(model))
    _write_weights(model, tmp_path / "old.h5")
    model.save_weights(tmp_path / "new.weights.h5")
    (tmp_path / "new.weights.h5").rename(tmp_path / "new.h5")

    for name in ("old.h5", "new.h5"):
        other = build()
        keras_applications.load_weights(other, tmp_path / name)
        for found, expected in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_find_says_all_without_tensorflow(placed: Path) -> None:
    import subprocess

    code = (
        "import sys; from tlcli.backbones.resolve import resolve;"
        f"found = resolve({SMALL!r}, model_dir={str(placed.parent)!r});"
        "assert (found.height, found.width, found.bottleneck_size) == (96, 96, 1280);"
        "assert found.licence == 'Apache-2.0' and len(found.fingerprint) == 64;"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fingerprint_follows_weights_and_size(placed: Path, tmp_path: Path) -> None:
    first = resolve(SMALL, model_dir=placed.parent)
    copy = tmp_path / placed.name
    content = bytearray(placed.read_bytes())
    copy.write_bytes(content)

    assert resolve(SMALL, model_dir=tmp_path).fingerprint == first.fingerprint
    larger = resolve(SMALL, ModelOptions(input_height=128, input_width=160), model_dir=tmp_path)
    assert (larger.height, larger.width) == (128, 160)
    assert larger.fingerprint != first.fingerprint
    content[-1] ^= 1
    copy.write_bytes(content)
    assert resolve(SMALL, model_dir=tmp_path).fingerprint != first.fingerprint


@pytest.mark.parametrize("content", ["other network", "no weights"])
def test_weights_that_do_not_fit_are_one_sentence(
    placed: Path, tmp_path: Path, content: str
) -> None:
    keras = keras_applications.import_keras()
    path = tmp_path / "weights.h5"
    path.write_bytes(placed.read_bytes() if content == "other network" else b"<html>")
    model = keras.Sequential([keras.layers.Input((4, 4, 3)), keras.layers.Conv2D(2, 3)])

    with pytest.raises(BackboneError, match="does not hold weights that fit") as caught:
        keras_applications.load_weights(model, path)
    assert "\n" not in str(caught.value)


def test_layers_and_scaling_of_known_networks_are_fixed(placed: Path) -> None:
    with pytest.raises(UsageError, match="--module_output, --input_mean cannot be changed"):
        resolve(SMALL, ModelOptions(bottleneck_layer="pool", input_mean=0), model_dir=placed.parent)


def test_absent_weights_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    entry = catalogue.entries()["resnet50"]

    with pytest.raises(DownloadError) as caught:
        resolve("resnet50", model_dir=tmp_path)

    text = str(caught.value)
    for part in ("storage.googleapis.com", "cannot be resolved", entry.file_name, str(tmp_path)):
        assert part in text
    assert "--model_dir" in text
    assert "efficientnet_lite0" in text
    assert "\n" not in text
