"""A network of four convolutions, and photos that it can learn to tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tlcli.backbone import INPUT, Backbone, BackboneGraph
from tlcli.core.fine_tuning.fine_tune import FineTuneData
from tlcli.core.fine_tuning.pictures import Photo
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.system.digests import sha256_bytes

SIDE, SIZE = 16, 6


def small_graph() -> BackboneGraph:
    """Return four convolutions with biases, the first of them of stride 2, and an average."""
    numbers = np.random.Generator(np.random.PCG64(1))
    nodes: list[Any] = [placeholder(INPUT, np.float32, [None, SIDE, SIDE, 3])]
    result, channels = INPUT, 3
    for number in range(4):
        stride = 2 if number == 0 else 1
        kernel = numbers.standard_normal((3, 3, channels, SIZE)) * 0.3
        biases = numbers.standard_normal(SIZE) * 0.1
        nodes += [
            const(f"c{number}/weights", kernel.astype(np.float32)),
            node(
                f"c{number}/Conv2D", "Conv2D", [result, f"c{number}/weights"], T=np.float32,
                strides=[1, stride, stride, 1], padding="SAME", data_format="NHWC",
            ),
            const(f"c{number}/biases", biases.astype(np.float32)),
            node(
                f"c{number}/BiasAdd", "BiasAdd", [f"c{number}/Conv2D", f"c{number}/biases"],
                T=np.float32,
            ),
            node(f"c{number}/Relu", "Relu", [f"c{number}/BiasAdd"], T=np.float32),
        ]  # fmt: skip
        result, channels = f"c{number}/Relu", SIZE
    nodes += [
        const("axes", np.array([1, 2], np.int32)),
        node("mean", "Mean", [result, "axes"], T=np.float32, Tidx=np.int32, keep_dims=False),
    ]
    return BackboneGraph(new_graph(nodes), "mean", SIZE)


def small_backbone() -> Backbone:
    """Return the network as a trainable backbone."""
    return Backbone(
        "small", "a test", "unknown", SIDE, SIDE, "f" * 64, SIZE, small_graph, trainable=True
    )


def striped_photos(folder: Path, count: int) -> FineTuneData:
    """Write photos of stripes across (label 0) and down (label 1); vectors are left 0."""
    numbers = np.random.Generator(np.random.PCG64(2))
    photos = []
    for row in range(count):
        pixels = numbers.integers(60, 120, (24, 24, 3)).astype(np.uint8)
        pixels[int(row % 3) :: 3] += 90
        if row % 2:
            pixels = pixels.swapaxes(0, 1)
        path = folder / f"{row}.png"
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        photos.append(Photo(path, sha256_bytes(path.read_bytes())))
    rows = np.arange(count)
    validation = rows % 5 < 2
    return FineTuneData(
        photos, rows % 2, rows[~validation], rows[validation], np.zeros((count, SIZE), np.float32)
    )
