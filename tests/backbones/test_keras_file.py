from __future__ import annotations

import json
import os
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.backbone import INPUT, Backbone
from tlcli.backbones import keras_file, keras_weights
from tlcli.backbones.keras_applications import import_keras
from tlcli.backbones.model_options import ModelOptions
from tlcli.errors import BackboneError, UsageError
from tlcli.runtime.tensorflow import GraphEngine

SIDE = 16

# Keras asks NumPy for copies in a way that newer NumPy warns of, while it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def _images() -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).uniform(0, 1, (2, SIDE, SIDE, 3)).astype(np.float32)


def _run(backbone: Backbone) -> np.ndarray[Any, Any]:
    loaded = backbone.load_graph()
    with GraphEngine(loaded.graph, INPUT, loaded.output) as engine:
        return engine.run(_images())


def _model(keras: Any, *ends: Any, side: int | None = SIDE, first: Any = None) -> Any:
    start = keras.layers.Input((side, side, 3))
    x = start if first is None else first(start)
    x = keras.layers.Conv2D(5, 3, name="convolution")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Activation("swish", name="maps")(x)
    for layer in ends:
        x = layer(x)
    return keras.Model(start, x)


@pytest.fixture(scope="module")
def keras() -> Any:
    return import_keras()


@pytest.fixture(scope="module")
def classifier(keras: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    model = _model(
        keras,
        keras.layers.GlobalAveragePooling2D(name="pooled"),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(3),
        keras.layers.Softmax(),
    )
    path = tmp_path_factory.mktemp("keras") / "classifier.keras"
    model.save(path)
    return path, model


def _features(keras: Any, model: Any, layer: str, images: Any) -> np.ndarray[Any, Any]:
    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    return np.asarray(part(images, training=False))


def test_bottleneck_is_what_feeds_the_last_dense(keras: Any, classifier: tuple[Path, Any]) -> None:
    path, model = classifier
    backbone = keras_file.find(path)

    assert (backbone.height, backbone.width) == (SIDE, SIDE)
    expected = _features(keras, model, "pooled", _images())
    np.testing.assert_allclose(_run(backbone), expected, atol=1e-5)


def test_named_layer_is_averaged(keras: Any, classifier: tuple[Path, Any]) -> None:
    path, model = classifier
    expected = _features(keras, model, "convolution", _images()).mean(axis=(1, 2))

    named = keras_file.find(path, ModelOptions(bottleneck_layer="convolution"))

    np.testing.assert_allclose(_run(named), expected, atol=1e-5)
    assert named.fingerprint != keras_file.find(path).fingerprint


def test_unknown_layer_names_the_last_ones(classifier: tuple[Path, Any]) -> None:
    with pytest.raises(UsageError, match=r"no layer 'pool'.*pooled"):
        keras_file.find(classifier[0], ModelOptions(bottleneck_layer="pool")).load_graph()


def test_model_with_its_own_rescaling_gets_pixels(keras: Any, tmp_path: Path) -> None:
    model = _model(keras, first=keras.layers.Rescaling(1 / 127.5, offset=-1))
    model.save(tmp_path / "model.h5")

    expected = np.asarray(model(_images() * 255, training=False)).mean(axis=(1, 2))

    np.testing.assert_allclose(_run(keras_file.find(tmp_path / "model.h5")), expected, atol=1e-4)


def test_mean_and_std_are_those_of_the_options(keras: Any, classifier: tuple[Path, Any]) -> None:
    path, model = classifier
    backbone = keras_file.find(path, ModelOptions(input_mean=127.5, input_std=127.5))

    expected = _features(keras, model, "pooled", _images() * 2 - 1)
    np.testing.assert_allclose(_run(backbone), expected, atol=1e-5)


def test_free_size_is_asked_for(keras: Any, tmp_path: Path) -> None:
    _model(keras, side=None).save(tmp_path / "free.keras")

    with pytest.raises(UsageError, match="--input_height"):
        keras_file.find(tmp_path / "free.keras")
    assert keras_file.find(tmp_path / "free.keras", ModelOptions(input_width=32)).height == 32


def test_lambda_is_refused_by_name(keras: Any, tmp_path: Path) -> None:
    for name in ("lambda.keras", "lambda.h5"):
        model = _model(keras, keras.layers.Lambda(lambda x: x * 2))
        model.save(tmp_path / name)

        with pytest.raises(BackboneError, match=r"Lambda.*Python code"):
            keras_file.find(tmp_path / name)


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("subprocess", "Popen"),
        ("keras.utils", "get_file"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.saving", "load_model"),
        ("kerasx.layers", "Dense"),
        ("builtins", "eval"),
    ],
)
def test_what_is_no_part_of_a_network_is_refused(
    classifier: tuple[Path, Any], tmp_path: Path, module: str, kind: str
) -> None:
    path = tmp_path / "other.keras"
    with zipfile.ZipFile(classifier[0]) as source, zipfile.ZipFile(path, "w") as target:
        for item in source.infolist():
            content = source.read(item)
            if item.filename == "config.json":
                config = json.loads(content)
                layer = config["config"]["layers"][1]
                layer["module"], layer["class_name"] = module, kind
                content = json.dumps(config).encode()
            target.writestr(item, content)

    with pytest.raises(BackboneError, match=re.escape(f"{module}.{kind}")):
        keras_file.find(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.keras")
    with pytest.raises(BackboneError, match="file: not a regular file;"):
        keras_file.find(tmp_path / "model.keras")


@pytest.mark.parametrize("kind", ["SlicingOpLambda", "ClassMethod", "TFSMLayer", "StringLookup"])
def test_layers_that_act_are_refused_by_name(
    classifier: tuple[Path, Any], tmp_path: Path, kind: str
) -> None:
    config = _config_of(classifier[0])
    config["config"]["layers"][1].update({"class_name": kind, "module": None})

    with pytest.raises(BackboneError, match=rf"{kind} layer.*other files"):
        keras_file.find(_with_config(tmp_path / "acts.keras", json.dumps(config).encode()))


def test_the_outermost_object_is_looked_at(classifier: tuple[Path, Any], tmp_path: Path) -> None:
    config = {**_config_of(classifier[0]), "module": "os", "class_name": "system"}

    with pytest.raises(BackboneError, match=re.escape("os.system")):
        keras_file.find(_with_config(tmp_path / "outermost.keras", json.dumps(config).encode()))


def test_keras_2_calls_no_function_that_a_file_names(tmp_path: Path) -> None:
    """It has no safe mode for HDF5 files, and is asked where Keras 3 knows a layer not."""
    h5py = pytest.importorskip("h5py")
    pytest.importorskip("tf_keras")
    made, given = tmp_path / "made", tmp_path / "given.txt"
    given.write_text("x")
    call = ["_CONSTANT_VALUE", -1, str(given), {"dst": str(made)}]
    layers = [
        {"class_name": "InputLayer", "name": "image", "inbound_nodes": [],
         "config": {"name": "image", "batch_input_shape": [None, SIDE, SIDE, 3]}},
        {"class_name": "SlicingOpLambda", "name": "copy", "inbound_nodes": [call],
         "config": {"name": "copy", "function": "io.gfile.copy"}},
    ]  # fmt: skip
    inner = {
        "name": "model",
        "layers": layers,
        "input_layers": [["image", 0, 0]],
        "output_layers": [["copy", 0, 0]],
    }
    path = tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": inner})

    with pytest.raises(BackboneError, match="SlicingOpLambda"):
        keras_file.find(path)
    # The second look, for names that the first one does not know.
    keras = keras_file._keras_2()
    with pytest.raises(BackboneError, match="SlicingOpLambda, which is no part of a network"):
        keras_file._check_old(keras_file.read_config(path), keras, "the model")
    assert not made.exists()


def _config_of(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def _with_config(path: Path, config: bytes, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config)
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = _with_config(tmp_path / "1.keras", b"{}", model__weights__h5=bytes(65 << 20))
    with pytest.raises(BackboneError, match=r"'model\.weights\.h5' unpacks to more than 100 times"):
        keras_file.find(bomb)
    monkeypatch.setattr(keras_weights, "LARGEST_CONFIG", 1000)
    with pytest.raises(BackboneError, match=r"config\.json has"):
        keras_file.find(_with_config(tmp_path / "2.keras", b"[" + b"1," * 1000 + b"1]"))
    monkeypatch.setattr(keras_weights, "LARGEST_WEIGHTS", 1000)
    with pytest.raises(BackboneError, match="it unpacks to"):
        keras_file.find(_with_config(tmp_path / "3.keras", b"{}", a__h5=bytes(2000)))


@pytest.mark.parametrize("depth", [300, 500_000])
def test_a_configuration_without_end_is_one_sentence(tmp_path: Path, depth: int) -> None:
    nested = b'{"config":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    with pytest.raises(BackboneError, match="nested too deeply"):
        keras_file.find(_with_config(tmp_path / "deep.keras", nested))


@pytest.mark.parametrize("kind", ["link", "soft link", "storage", "virtual", "empty", "loop"])
def test_weights_elsewhere_and_weights_without_values(
    classifier: tuple[Path, Any], tmp_path: Path, kind: str
) -> None:
    import h5py

    weights = tmp_path / "model.weights.h5"
    with h5py.File(weights, "w") as file:
        file["layers/fine"] = np.ones(3)
        if kind == "link":
            file["layers/secret"] = h5py.ExternalLink("/etc/hostname", "/")
        elif kind == "soft link":
            file["layers/secret"] = h5py.SoftLink("/absent")
        elif kind == "storage":
            file.create_dataset("w", (8,), "u1", external=[("/etc/hostname", 0, 8)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((3,), "f4")
            layout[:] = h5py.VirtualSource("/etc/hostname", "w", (3,))
            file.create_virtual_dataset("w", layout)
        elif kind == "empty":
            file.create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(16, 16))
        else:
            file["layers/again"] = file["layers"]
    with zipfile.ZipFile(classifier[0]) as source:
        config = source.read("config.json")
    path = _with_config(tmp_path / "model.keras", config, model__weights__h5=weights.read_bytes())
    if kind == "loop":
        keras_file.find(path)
        return
    with pytest.raises(BackboneError, match=r"points to another|is in another|but no values"):
        keras_file.find(path)


def test_file_of_keras_2_is_read(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tf_keras

        model = tf_keras.Sequential(
            [
                tf_keras.layers.Input((SIDE, SIDE, 3)),
                # Keras 3 does not know the argument "groups" that Keras 2 writes here.
                tf_keras.layers.DepthwiseConv2D(3),
                tf_keras.layers.GlobalAveragePooling2D(),
                tf_keras.layers.Dense(4),
            ]
        )
        model.save(tmp_path / "old.h5")
        config = keras_file.read_config(tmp_path / "old.h5")
        assert "groups" in json.dumps(config)
        expected = tf_keras.Sequential(model.layers[:-1])(_images()).numpy()

        np.testing.assert_allclose(_run(keras_file.find(tmp_path / "old.h5")), expected, atol=1e-5)


def test_weights_alone_are_named_as_such(keras: Any, tmp_path: Path) -> None:
    _model(keras).save_weights(tmp_path / "model.weights.h5")

    with pytest.raises(BackboneError, match="weights without a model"):
        keras_file.find(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x89HDF\r\n\x1a\n" + bytes(64)])
def test_other_files_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)

    with pytest.raises(BackboneError, match="not a Keras model file"):
        keras_file.find(path)
    with pytest.raises(BackboneError, match="there is no Keras model"):
        keras_file.find(tmp_path / "absent.keras")
