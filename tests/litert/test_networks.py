"""Whole networks of Keras give in LiteRT what they give in TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.backbone import INPUT, BackboneGraph
from tlcli.backbones import keras_applications
from tlcli.backbones.freezing import NetworkInput, freeze
from tlcli.backbones.resolve import resolve
from tlcli.core.export import tflite
from tlcli.core.model_spec.input_spec import SIGNED
from tlcli.graph.simplify import simplify
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.writer import write_model
from tlcli.runtime.native_stderr import quietly
from tlcli.runtime.tensorflow import GraphEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

NETWORKS = {
    "MobileNet": 128,
    "MobileNetV2": 128,
    "MobileNetV3Small": 128,
    "InceptionV3": 139,
    "ResNet50": 96,
    "EfficientNetB0": 96,
    "EfficientNetV2B0": 96,
    "DenseNet121": 96,
    "NASNetMobile": 96,
}
"""Architectures, and the side of a small input."""


def random_weights(model: Any) -> None:
    """Give every layer weights at random such that it passes something on."""
    random = np.random.default_rng(0)
    found = []
    for weight in model.weights:
        shape = tuple(weight.shape)
        if "moving_variance" in weight.path or "variance" in weight.path:
            value = random.uniform(0.5, 1.5, shape)
        elif "gamma" in weight.path:
            # More, and deep networks would make much of the last bit of their input.
            value = random.uniform(0.3, 0.6, shape)
        elif len(shape) == 4:
            inputs = np.prod(shape[:2] if shape[-1] == 1 else shape[:3])
            value = random.normal(0, np.sqrt(2 / inputs), shape)
        else:
            value = random.normal(0, 0.1, shape)
        found.append(value)
    model.set_weights(found)


def frozen(architecture: str, side: int) -> BackboneGraph:
    keras = keras_applications.import_keras()
    with quietly():
        build = getattr(keras.applications, architecture)
        model = build(weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3))
        random_weights(model)
        return freeze(
            lambda images: model(images, training=False),
            NetworkInput(side, side, SIGNED),
            what=architecture,
        )


def assert_same(graph: Any, output: str, side: int) -> None:
    content = write_model(graph, INPUT, output)
    assert content == write_model(graph, INPUT, output)
    engine = LiteRTEngine(content)
    with GraphEngine(graph, INPUT, output) as tensorflow:
        for count in (1, 3):
            images = tflite.smooth_images(count, side, side)
            expected = tensorflow.run(images)
            largest = np.abs(expected).max()
            assert 0 < largest < np.inf
            given = engine._invoke(images)
            assert given.shape == expected.shape
            assert np.abs(given - expected).max() <= 1e-5 * largest


@pytest.mark.parametrize("architecture", NETWORKS)
def test_keras_applications(architecture: str) -> None:
    backbone = frozen(architecture, NETWORKS[architecture])
    assert_same(backbone.graph, backbone.output, NETWORKS[architecture])


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_the_backbones_of_the_wheels(name: str) -> None:
    backbone = resolve(name)
    graph = backbone.load_graph()
    assert_same(graph.graph, graph.output, backbone.height)


@pytest.mark.parametrize("side", [128, 224])
def test_frozen_mobilenets(side: int, shared: Path) -> None:
    file = shared / "legacy" / "backbones" / f"mobilenet_v1_0.25_{side}" / "frozen_graph.pb"
    graph = resolve(str(file)).load_graph()
    plain = simplify(graph.graph, INPUT, [graph.output])
    assert_same(plain, graph.output, side)
