"""Whole networks give in LiteRT what they give in TensorFlow.

Those of Keras are in tests/backbones/test_keras_applications.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.backbone import INPUT
from tlcli.backbones.resolve import resolve
from tlcli.core.export import tflite
from tlcli.graph.simplify import simplify
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.writer import write_model
from tlcli.runtime.tensorflow import GraphEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


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
