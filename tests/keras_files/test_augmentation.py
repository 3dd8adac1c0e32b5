from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlcli.backbone import INPUT
from tlcli.backbones.freezing import NetworkInput, freeze
from tlcli.backbones.saved_model import find
from tlcli.keras_files.loading import import_keras
from tlcli.runtime.native_stderr import quietly
from tlcli.runtime.tensorflow import GraphEngine

SIDE = 16


@pytest.mark.slow
def test_augmentation_is_left_out_of_an_exported_model(tmp_path: Any) -> None:
    keras = import_keras()
    keras.utils.set_random_seed(1)
    start = keras.layers.Input((SIDE, SIDE, 3))
    x = keras.Sequential([keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.2)])(
        start
    )
    x = keras.layers.RandomZoom(0.3)(x)
    x = keras.layers.Conv2D(9, 3)(x)
    x = keras.layers.GlobalMaxPooling2D()(x)
    model = keras.Model(start, x)
    with quietly():
        model.export(str(tmp_path / "exported"), verbose=False)
    images = np.random.default_rng(2).random((3, SIDE, SIDE, 3), np.float32)
    expected = np.asarray(model(images, training=False))

    found = find(tmp_path / "exported").load_graph()

    assert not any("Random" in node.op for node in found.graph.node)
    with GraphEngine(found.graph, INPUT, found.output) as engine:
        np.testing.assert_allclose(engine.run(images), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["RandomContrast", "RandomTranslation"])
def test_random_layers_do_nothing_in_a_frozen_keras_model(kind: str) -> None:
    keras = import_keras()
    start = keras.layers.Input((SIDE, SIDE, 3))
    x = (
        getattr(keras.layers, kind)(0.3, 0.3)(start)
        if kind == "RandomTranslation"
        else (keras.layers.RandomContrast(0.3)(start))
    )
    model = keras.Model(start, keras.layers.GlobalAveragePooling2D()(x))

    with quietly():
        found = freeze(
            lambda pixels: model(pixels, training=False), NetworkInput(SIDE, SIDE), what="it"
        )

    assert not any("Random" in node.op for node in found.graph.node)
