"""Tell the layers of a frozen graph that make it a backbone, from the graph alone.

Every function raises `GraphError` with a sentence about "it", the graph, where something
cannot be told; the sentence names the option that says it.
"""

from __future__ import annotations

import difflib
import logging
import math
import re
from dataclasses import dataclass
from typing import Any

from tlcli.backbone import INPUT
from tlcli.errors import GraphError
from tlcli.graph.constant_ops import attribute_value
from tlcli.graph.nodes import DataType, tensor_to_array
from tlcli.graph.shapes import infer_shapes, placeholder_shape, static_input_size
from tlcli.graph.surgery import (
    consumers,
    data_inputs,
    needed_nodes,
    nodes_by_name,
    spell_tensor,
    split_tensor,
)

_log = logging.getLogger("tlcli")

PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2"})
_DECODERS = frozenset({"DecodeJpeg", "DecodePng", "DecodeImage", "DecodeBmp", "DecodeGif"})
# What lies between a decoder and its resize and leaves the values alone.
_UNCHANGED = frozenset({"Cast", "ExpandDims", "Identity", "Reshape", "Squeeze"})
_AFTER_LOGITS = frozenset(
    {"Softmax", "Sigmoid", "Identity", "Reshape", "Squeeze", "Add", "AddV2", "BiasAdd"}
)
_BOTTLENECK_INPUT = "BottleneckInputPlaceholder"
_MOBILENET_LOGITS = re.compile(r"(^|.*/)MobilenetV\d/Predictions/Reshape")
# Networks of TensorFlow's slim, all trained on [-1, 1].
_SLIM = re.compile(r"(^|/)(MobilenetV|InceptionV|InceptionResnetV|NASNet|cell_stem)")

LARGEST_SIDE = 8192
"""Pixels; no network takes more (as in ``tlcli.core.images.preprocessing``)."""


@dataclass(frozen=True)
class Plan:
    """How a graph becomes a backbone; all of it is in the fingerprint."""

    input: str  # tensor that is fed
    output: str  # tensor of the bottleneck
    height: int
    width: int
    mean: float  # fed is (pixel - mean) / std of 0..255
    std: float


def _existing(nodes: dict[str, Any], tensor: str, option: str) -> str:
    name, output = split_tensor(tensor.strip())
    if name in nodes and output >= 0:
        return spell_tensor(name, output)
    near = difflib.get_close_matches(name, nodes, 3, 0.6)
    hint = f"; did you mean {_listed(near)}?" if near else "; check the name"
    raise GraphError(f"it has no layer {name!r} for {option}{hint}")


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)


def find_output(graph: Any, wanted: str | None) -> str:
    """Return the tensor of the bottleneck; ``wanted`` is what the user named."""
    nodes = nodes_by_name(graph)
    if wanted is not None:
        return _existing(nodes, wanted, "--module_output")
    bottlenecks = [each for each in graph.node if each.name.endswith(_BOTTLENECK_INPUT)]
    if len(bottlenecks) == 1:
        sources = data_inputs(bottlenecks[0])
        if not sources:
            raise GraphError(
                "it holds only a final layer, fed with bottlenecks; give the graph of the whole "
                "network"
            )
        return spell_tensor(*sources[0])
    known = [name for name in nodes if name == "pool_3/_reshape"] or [
        name for name in nodes if _MOBILENET_LOGITS.fullmatch(name)
    ]
    if len(known) == 1:
        return known[0]
    ends = _ends(graph)
    if len(ends) == 1:
        return _before_logits(nodes, ends[0])
    raise GraphError(
        "its bottleneck layer cannot be told"
        + (f" (it ends in {_listed(ends[:5])})" if ends else "")
        + "; name it with --module_output"
    )


def _ends(graph: Any) -> list[str]:
    readers = consumers(graph)
    idle = {"Const", "Placeholder", "PlaceholderV2", "NoOp", "Assert"}
    return [each.name for each in graph.node if each.op not in idle and not readers[each.name]]


def _before_logits(nodes: dict[str, Any], end: str) -> str:
    """Return what feeds the last matrix product or 1 x 1 convolution before ``end``, or it."""
    found = nodes[end]
    for _ in range(len(nodes)):
        sources = data_inputs(found)
        if found.op in ("MatMul", "Conv2D"):
            behind = nodes.get(sources[1][0])
            while behind is not None and behind.op in ("Identity", "Dequantize"):
                behind = nodes.get(data_inputs(behind)[0][0])
            if behind is not None and behind.op == "Const":
                dims = [size.size for size in behind.attr["value"].tensor.tensor_shape.dim]
                if found.op == "MatMul" or dims[:2] == [1, 1]:
                    return spell_tensor(*sources[0])
            return end
        if found.op not in _AFTER_LOGITS or not sources or sources[0][0] not in nodes:
            return end
        found = nodes[sources[0][0]]
    return end


def _decoded_resize(needed: list[Any]) -> Any | None:
    """Return the resize behind the graph's own image decoder, or None."""
    behind: set[str] = set()
    for each in needed:
        if each.op in _DECODERS or any(source in behind for source, _ in data_inputs(each)):
            behind.add(each.name)
            if each.op == "ResizeBilinear":
                return each
    return None


def _is_image(found: Any) -> bool:
    shape = placeholder_shape(found)
    if _BOTTLENECK_INPUT in found.name or attribute_value(found, "dtype", 0) == DataType.BOOL:
        return False
    if found.op == "PlaceholderWithDefault":
        return shape is not None and len(shape) == 4 and shape[3] == 3
    return found.op in PLACEHOLDERS and (
        shape is None or (len(shape) == 4 and shape[3] in (3, None))
    )


def find_input(graph: Any, output: str, wanted: str | None) -> str:
    """Return the tensor to feed, on which ``output`` depends; a decoder is left behind."""
    if wanted is not None:
        return _existing(nodes_by_name(graph), wanted, "--module_input")
    needed = needed_nodes(graph, [output])
    resize = _decoded_resize(needed)
    if resize is not None:
        return str(resize.name)
    if any(each.op in _DECODERS for each in needed):
        raise GraphError(
            "it decodes images itself, and the layer that takes the pixels cannot be told; name "
            "it with --module_input"
        )
    reached = {each.name for each in needed}
    candidates = [each for each in graph.node if each.name in reached and _is_image(each)]
    # One that declares [?, height, width, 3] goes before those that declare nothing.
    sure = [each for each in candidates if placeholder_shape(each) is not None] or candidates
    if len(sure) == 1:
        return str(sure[0].name)
    others = [each.name for each in sure] or [
        each.name for each in needed if each.op in PLACEHOLDERS
    ]
    raise GraphError(
        "its input layer cannot be told"
        + (f" (candidates are {_listed(others[:5])})" if others else " (it has no placeholder)")
        + "; name it with --module_input"
    )


def find_size(
    graph: Any, fed: str, output: str, height: int | None, width: int | None
) -> tuple[int, int]:
    """Return (height, width) of the fed image; given sizes go first."""
    if height is not None and width is not None:
        return height, width
    nodes = nodes_by_name(graph)
    found = nodes[split_tensor(fed)[0]]
    told: tuple[int, int] | None = None
    if found.op == "ResizeBilinear":
        sizes = nodes.get(data_inputs(found)[1][0])
        if sizes is not None and sizes.op == "Const":
            values = tensor_to_array(sizes.attr["value"].tensor).ravel().tolist()
            told = (int(values[0]), int(values[1]))
    if told is None:
        told = static_input_size(graph, fed, [output])
    if told is None:
        raise GraphError(
            "its input size cannot be told; give it with --input_height and --input_width"
        )
    if not all(1 <= side <= LARGEST_SIDE for side in told):
        raise GraphError(f"its input size {told[0]} x {told[1]} cannot be right")
    return told[0] if height is None else height, told[1] if width is None else width


def find_scaling(
    graph: Any, fed: str, output: str, mean: float | None, std: float | None
) -> tuple[float, float]:
    """Return (mean, std) of the fed tensor, (pixel - mean) / std; given values go first."""
    nodes = nodes_by_name(graph)
    found = nodes[split_tensor(fed)[0]]
    last = found.name.rsplit("/", 1)[-1]
    known = True
    if found.op == "ResizeBilinear":
        told = (0.0, _decoded_range(nodes, found))
    elif found.op in PLACEHOLDERS and attribute_value(found, "dtype", 0) != DataType.FLOAT:
        told = (0.0, 1.0)  # integers are pixels as they are
    elif last == "Mul":
        told = (128.0, 128.0)
    elif any(_SLIM.search(each.name) for each in needed_nodes(graph, [output])) and (last != INPUT):
        told = (127.5, 127.5)
    else:
        told, known = (0.0, 255.0), last == INPUT
    if not known and mean is None and std is None:
        _log.warning(
            "The range that the layer %r takes cannot be told: it is fed with pixels from 0 to 1; "
            "give --input_mean and --input_std where that is wrong.",
            found.name,
        )
    return (
        told[0] if mean is None else float(mean),
        told[1] if std is None else float(std),
    )


def _decoded_range(nodes: dict[str, Any], resize: Any) -> float:
    """Return what pixels of 0..255 are divided by before the graph's own resize."""
    scale = 1.0
    found = nodes.get(data_inputs(resize)[0][0])
    while found is not None and found.op not in _DECODERS | PLACEHOLDERS:
        sources = [nodes.get(source) for source, _ in data_inputs(found)]
        values = [
            tensor_to_array(source.attr["value"].tensor)
            for source in sources
            if source is not None and source.op == "Const"
        ]
        if found.op == "Mul" and len(values) == 1 and values[0].size == 1 and values[0].any():
            scale *= float(values[0].reshape(()))
            found = next((each for each in sources if each and each.op != "Const"), None)
        elif found.op in _UNCHANGED:
            found = sources[0]
        else:
            raise GraphError(
                f"it changes pixels by {found.op} ({found.name!r}) before it resizes them; give "
                "--input_mean and --input_std, or name the layer to feed with --module_input"
            )
    return 1.0 / scale


def bottleneck_size(graph: Any, plan: Plan) -> int | None:
    """Return D where the graph tells it.

    Raises:
        GraphError: the layer gives a picture, not one vector.
    """
    shape = (None, plan.height, plan.width, 3)
    found = infer_shapes(graph, plan.input, shape, [plan.output]).get(
        spell_tensor(*split_tensor(plan.output))
    )
    if found is None or any(extent is None for extent in found[1:]):
        return None
    sizes = [extent or 0 for extent in found[1:]]
    if not sizes or math.prod(sizes[:-1]) != 1 or sizes[-1] < 1:
        spelled = " x ".join(str(extent) for extent in sizes) or "one number"
        raise GraphError(
            f"its layer {plan.output!r} gives {spelled} for an image, not one vector; name a "
            "layer behind the pooling with --module_output"
        )
    return sizes[-1]
