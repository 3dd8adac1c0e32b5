from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.backbone import INPUT, Backbone
from tlcli.backbones import keras_file
from tlcli.backbones.model_options import ModelOptions
from tlcli.errors import BackboneError, UsageError
from tlcli.keras_files.loading import import_keras
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
        expected = tf_keras.Sequential(model.layers[:-1])(_images()).numpy()

        np.testing.assert_allclose(_run(keras_file.find(tmp_path / "old.h5")), expected, atol=1e-5)


def test_what_cannot_be_loaded_is_one_sentence(keras: Any, tmp_path: Path) -> None:
    _model(keras, keras.layers.Lambda(lambda x: x * 2)).save(tmp_path / "lambda.keras")

    with pytest.raises(BackboneError, match=r"Lambda.*Python code"):
        keras_file.find(tmp_path / "lambda.keras")
    with pytest.raises(BackboneError, match="there is no Keras model"):
        keras_file.find(tmp_path / "absent.keras")


def test_nested_heads_are_looked_into(keras: Any, tmp_path: Path) -> None:
    """As Teachable Machine and transfer learning write them: a model of models."""
    base = _model(keras, keras.layers.GlobalAveragePooling2D(name="pooled"))
    head = keras.Sequential(
        [
            keras.layers.Input((5,)),
            keras.layers.Dense(7, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ],
        name="head",
    )
    whole = keras.Sequential([keras.layers.Input((SIDE, SIDE, 3)), base, head])
    whole.save(tmp_path / "nested.keras")
    features = np.asarray(base(_images(), training=False))

    found = _run(keras_file.find(tmp_path / "nested.keras"))

    expected = np.asarray(head.layers[0](features))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for name in ("pooled", base.name, f"{base.name}/pooled"):
        named = keras_file.find(tmp_path / "nested.keras", ModelOptions(bottleneck_layer=name))
        np.testing.assert_allclose(_run(named), features, atol=1e-5)


def test_scores_as_bottleneck_are_warned_of(
    keras: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = _model(
        keras,
        keras.layers.Conv2D(12, 1),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Softmax(),
    )
    model.save(tmp_path / "softmax.keras")

    keras_file.find(tmp_path / "softmax.keras").load_graph()

    assert "is the scores of 12 labels" in caplog.text
    assert "--module_output" in caplog.text


@pytest.mark.parametrize("axis", [True, False])
def test_models_for_grey_images_get_them(keras: Any, tmp_path: Path, axis: bool) -> None:
    start = keras.layers.Input((SIDE, SIDE, 1) if axis else (SIDE, SIDE))
    x = keras.layers.Flatten()(start)
    x = keras.layers.Dense(9, name="features")(x)
    keras.Model(start, keras.layers.Dense(2)(x)).save(tmp_path / "grey.keras")
    model = keras.models.load_model(tmp_path / "grey.keras")
    grey = _images() @ np.array([0.299, 0.587, 0.114], np.float32)

    found = _run(keras_file.find(tmp_path / "grey.keras"))

    expected = _features(keras, model, "features", grey[..., None] if axis else grey)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_frozen_model_of_keras_2_keeps_its_weights(tmp_path: Path) -> None:
    """The order of weights differs where a part of the model was not trained."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tf_keras

        base = _model(tf_keras, tf_keras.layers.GlobalAveragePooling2D())
        base.trainable = False
        for layer in base.layers:
            values = np.random.default_rng(len(layer.name))
            layer.set_weights([values.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        model = tf_keras.Sequential([base, tf_keras.layers.Dense(4)])
        model(_images())
        expected = base(_images(), training=False).numpy()
        for name in ("old.h5", "old.keras"):
            model.save(tmp_path / name)
            found = _run(keras_file.find(tmp_path / name))
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_arithmetic_of_keras_2_is_run(tmp_path: Path) -> None:
    """It is a layer that names a function of TensorFlow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tf_keras

        start = tf_keras.layers.Input((SIDE, SIDE, 3))
        scaled = start / 127.5 - 1.0
        pooled = tf_keras.layers.GlobalAveragePooling2D()(scaled)
        tf_keras.Model(start, tf_keras.layers.Dense(2)(pooled)).save(tmp_path / "old.h5")

        found = _run(keras_file.find(tmp_path / "old.h5"))

    np.testing.assert_allclose(found, _images().mean(axis=(1, 2)) * 2 - 1, atol=1e-5)


def test_a_file_that_changed_meanwhile_is_refused(
    classifier: tuple[Path, Any], tmp_path: Path
) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(classifier[0].read_bytes())
    backbone = keras_file.find(path)
    with path.open("ab") as file:
        file.write(b" ")

    with pytest.raises(BackboneError, match="was changed while it was in use"):
        backbone.load_graph()
