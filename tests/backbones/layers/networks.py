"""Small convolutional networks with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.backbone import INPUT, BackboneGraph
from tlcli.graph.nodes import const, new_graph, node, placeholder

FLOAT = np.float32


class Network:
    """Collects nodes; each method returns the name of its result."""

    def __init__(self, side: int, seed: int = 0) -> None:
        self.nodes: list[Any] = [placeholder(INPUT, FLOAT, [None, side, side, 3])]
        self._random = np.random.default_rng(seed)

    def add(self, name: str, op: str, sources: Sequence[str], **attrs: Any) -> str:
        self.nodes.append(node(name, op, sources, T=FLOAT, **attrs))
        return name

    def convolution(
        self, name: str, source: str, shape: tuple[int, int, int, int], stride: int = 1
    ) -> str:
        """Add a convolution of weights [h, w, in, out]; [h, w, in, 1] is a depthwise one."""
        depthwise = shape[3] == 1
        op = "DepthwiseConv2dNative" if depthwise else "Conv2D"
        weights = self._random.normal(0, 1 / np.sqrt(shape[0] * shape[1]), shape)
        self.nodes.append(const(f"{name}/weights", weights.astype(FLOAT)))
        self.add(
            f"{name}/{op}", op, [source, f"{name}/weights"],
            strides=[1, stride, stride, 1], padding="SAME", data_format="NHWC",
            dilations=[1, 1, 1, 1], explicit_paddings=[],
        )  # fmt: skip
        biases = self._random.normal(0, 0.1, shape[2] if depthwise else shape[3])
        self.nodes.append(const(f"{name}/biases", biases.astype(FLOAT)))
        return self.add(
            f"{name}/BiasAdd", "BiasAdd", [f"{name}/{op}", f"{name}/biases"], data_format="NHWC"
        )

    def relu(self, source: str) -> str:
        return self.add(f"{source.rpartition('/')[0]}/Relu", "Relu", [source])

    def swish(self, source: str) -> str:
        scope = source.rpartition("/")[0]
        gate = self.add(f"{scope}/Sigmoid", "Sigmoid", [source])
        return self.add(f"{scope}/mul", "Mul", [source, gate])

    def pooled(self, source: str, name: str = "pooled") -> str:
        self.nodes.append(const(f"{name}/axes", np.array([1, 2], np.int32)))
        return self.add(name, "Mean", [source, f"{name}/axes"], Tidx=np.int32, keep_dims=False)

    def loaded(self, output: str, size: int) -> BackboneGraph:
        return BackboneGraph(new_graph(self.nodes), output, size)


def inverted(side: int = 16, seed: int = 0) -> BackboneGraph:
    """Return a network of two stages of inverted residuals, and a head that widens them."""
    network = Network(side, seed)
    first = network.relu(network.convolution("stem", INPUT, (3, 3, 3, 4), 2))
    for block, stride in ((1, 1), (2, 1), (3, 2), (4, 1)):
        wide = network.relu(network.convolution(f"b{block}/expand", first, (1, 1, 4, 8)))
        deep = network.convolution(f"b{block}/spatial", wide, (3, 3, 8, 1), stride)
        last = network.convolution(f"b{block}/project", network.swish(deep), (1, 1, 8, 4))
        first = last
        if stride == 1:
            first = network.add(f"b{block}/add", "AddV2", [last, wide_input(network, block)])
    head = network.relu(network.convolution("head", first, (1, 1, 4, 12)))
    return network.loaded(network.pooled(head), 12)


def wide_input(network: Network, block: int) -> str:
    """Return what the expansion of a block reads."""
    name = f"b{block}/expand/Conv2D"
    (source,) = (each.input[0] for each in network.nodes if each.name == name)
    return str(source)


def residual(side: int = 16) -> BackboneGraph:
    """Return a network whose last block's sum is what is averaged, with 3 x 3 convolutions."""
    network = Network(side)
    first = network.relu(network.convolution("stem", INPUT, (3, 3, 3, 4), 2))
    for block, stride in ((1, 1), (2, 2)):
        inner = network.relu(network.convolution(f"b{block}/one", first, (1, 1, 4, 4), stride))
        inner = network.relu(network.convolution(f"b{block}/two", inner, (3, 3, 4, 4)))
        inner = network.convolution(f"b{block}/three", inner, (1, 1, 4, 4))
        beside = first
        if stride > 1:
            beside = network.convolution(f"b{block}/shortcut", first, (1, 1, 4, 4), stride)
        first = network.relu(network.add(f"b{block}/out/add", "AddV2", [inner, beside]))
    return network.loaded(network.pooled(first), 4)


def saved(loaded: BackboneGraph, path: Path) -> Path:
    path.write_bytes(loaded.graph.SerializeToString())
    return path
