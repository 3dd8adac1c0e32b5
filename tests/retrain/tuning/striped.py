"""A small Keras network with random weights, and photos that it can learn to tell apart."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 24


def keras_file(folder: Path, name: str = "small.keras", seed: int = 1) -> Path:
    """Write a network of four convolutions with batch norms."""
    import keras

    keras.utils.set_random_seed(seed)
    layers: list[object] = [keras.Input((SIDE, SIDE, 3))]
    for number in range(4):
        layers += [
            keras.layers.Conv2D(8, 3, strides=2 if number == 0 else 1, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    return saved(keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D()]), folder / name)


def saved(network: Any, path: Path) -> Path:
    """Write a network, whatever Keras warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.save(path)
    return path


def striped_photos(folder: Path, count: int = 45) -> Path:
    """Write photos of stripes across, down and on the diagonal, ``count`` of each."""
    numbers = np.random.Generator(np.random.PCG64(2))
    down, right = np.mgrid[:SIDE, :SIDE]
    for label, position in (("across", down), ("diagonal", down + right), ("down", right)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            stripes = (position + numbers.integers(3)) % 3 == 0
            pixels = numbers.integers(0, 120, (SIDE, SIDE, 3)) + 90 * stripes[..., None]
            image = Image.fromarray(pixels.astype(np.uint8))
            image.save(folder / label / f"{number}.png")
    return folder
