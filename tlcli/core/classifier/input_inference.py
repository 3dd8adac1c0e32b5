"""What a frozen graph wants to be fed, told from the graph alone.

How each generation's input was scaled is in `tlcli.core.classifier.input_spec`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcli.core.classifier.input_spec import (
    InputOverrides,
    InputSpec,
    Scaling,
    override_scaling,
    scaling_of,
)
from tlcli.errors import GraphError
from tlcli.graph.nodes import DataType, placeholder, tensor_to_array
from tlcli.graph.shapes import placeholder_shape, static_input_size, widen_batch
from tlcli.graph.surgery import (
    data_inputs,
    needed_nodes,
    nodes_by_name,
    prune,
    replace_input,
    spell_tensor,
    split_tensor,
)

_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2"})
_DECODERS = frozenset({"DecodeJpeg", "DecodePng", "DecodeImage", "DecodeBmp", "DecodeGif"})
_BOTTLENECK = "BottleneckInputPlaceholder"
# They hand on their first input's pixels unchanged.
_HANDING_ON = frozenset(
    {"Identity", "Cast", "ExpandDims", "Squeeze", "Reshape", "StopGradient", "CheckNumerics"}
)
# They end a search for the final layer's width: their constant's last size is the width.
_WEIGHTED = {"MatMul": "transpose_b", "Conv2D": None, "BiasAdd": None, "BiasAddV1": None}
_LAST = frozenset({"ArgMax", "TopK", "TopKV2", "Const", "NoOp", "Assert"})
_INCEPTION_SIZE = 299
_IMAGE_TYPES = {DataType.FLOAT: "float32", DataType.UINT8: "uint8"}


@dataclass(frozen=True)
class FrozenGraphSpec(InputSpec):
    """What a frozen graph wants.

    Attributes:
        graph: the ``GraphDef``, cut to what runs; its input is a Placeholder.
        input: name of that Placeholder.
        output: tensor of the scores, "NAME" or "NAME:1".
    """

    graph: Any
    input: str
    output: str


def infer_spec(
    graph: Any, options: InputOverrides | None = None, name: str = "the graph"
) -> FrozenGraphSpec:
    """Find out what ``graph`` wants.

    Args:
        graph: a ``GraphDef`` message; it is not changed.
        options: override what is inferred.
        name: what errors call the graph.

    Raises:
        GraphError: what cannot be told, and the option that tells it.
    """
    options = options or InputOverrides()
    nodes = nodes_by_name(graph)
    output = _find_output(graph, nodes, options.output_layer, name)
    needed = needed_nodes(graph, [output])
    tensor, scaling, resized = _find_input(nodes, needed, options.input_layer, name)
    node = nodes[split_tensor(tensor)[0]]
    declared = placeholder_shape(node) if node.op in _PLACEHOLDERS else None
    size = _find_size(graph, node, tensor, output, declared, resized, options, name)
    dtype = _input_type(node, name)
    if dtype == "uint8":
        scaling = Scaling(0.0, 1.0)
    scaling = override_scaling(scaling, options, f"{name} takes its images at {node.name!r}")
    # The original's own resize gave one image; optimize_for_inference lost the batch's size.
    batch = 1 if declared is None else declared[0]
    fed = placeholder(node.name, np.dtype(dtype), [batch, *size, 3])
    cut = prune(replace_input(graph, tensor, [fed]), [output])
    if node.name not in {kept.name for kept in cut.node}:
        raise GraphError(
            f"the output {output!r} of {name} does not depend on the input {node.name!r}; "
            "name others with --input_layer and --output_layer"
        )
    widened, any_batch = widen_batch(cut, node.name, [output])
    return FrozenGraphSpec(
        graph=widened,
        input=node.name,
        output=output,
        height=size[0],
        width=size[1],
        scaling=scaling,
        dtype=dtype,
        labels=_count_labels(nodes, output),
        any_batch=any_batch,
    )


def _find_output(graph: Any, nodes: Mapping[str, Any], wanted: str | None, name: str) -> str:
    if wanted is not None:
        return _existing(nodes, wanted, "--output_layer", name)
    if "final_result" in nodes:
        return "final_result"
    named: list[str] = [key for key in nodes if key.endswith("/final_result")]
    if len(named) == 1:
        return named[0]
    softmaxes: list[str] = [node.name for node in graph.node if node.op == "Softmax"]
    if len(softmaxes) == 1:
        return softmaxes[0]
    read = {source for node in graph.node for source, _ in data_inputs(node)}
    sinks: list[str] = [
        node.name for node in graph.node if node.name not in read and node.op not in _LAST
    ]
    sinks = [sink for sink in sinks if nodes[sink].op not in _PLACEHOLDERS]
    if len(sinks) == 1:
        return sinks[0]
    candidates = softmaxes or sinks
    raise GraphError(
        f"cannot tell which layer of {name} gives the scores "
        f"({_list(candidates) or 'it has no end'}); name it with --output_layer"
    )


def _existing(nodes: Mapping[str, Any], wanted: str, option: str, name: str) -> str:
    node, output = split_tensor(wanted)
    # label_image.py read graphs into a scope "import"; its users kept the habit.
    if node not in nodes and node.startswith("import/"):
        node = node[len("import/") :]
    if node not in nodes or output < 0:
        close = difflib.get_close_matches(node, nodes, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "; choose another, or leave it out"
        raise GraphError(f"{name} has no layer {wanted!r} for {option}{hint}")
    return spell_tensor(node, output)


def _list(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _find_input(
    nodes: Mapping[str, Any], needed: list[Any], wanted: str | None, name: str
) -> tuple[str, Scaling, bool]:
    """Return the tensor to feed, its scaling, and whether it is the graph's own resize."""
    inception = any(node.name.startswith("InceptionV3/") for node in needed)
    if wanted is not None:
        tensor = _existing(nodes, wanted, "--input_layer", name)
        node = nodes[split_tensor(tensor)[0]]
        if node.op in _PLACEHOLDERS and _dtype(node) == DataType.STRING:
            return _behind_decoder(nodes, needed, node, name)
        if node.op == "ResizeBilinear":
            return tensor, Scaling(0.0, _pixel_range(nodes, node, name)), True
        return tensor, scaling_of(node.name, inception), False
    inputs = [node for node in needed if node.op in _PLACEHOLDERS]
    images = [node for node in inputs if _is_image(node)]
    encoded = [node for node in inputs if _dtype(node) == DataType.STRING]
    if len(images) == 1:
        return images[0].name, scaling_of(images[0].name, inception), False
    if len(encoded) == 1 and not images:
        return _behind_decoder(nodes, needed, encoded[0], name)
    if len(inputs) == 1 and _BOTTLENECK in inputs[0].name:
        raise GraphError(
            f"{name} holds the final layer alone: it takes bottlenecks ({inputs[0].name!r}), not "
            "images; retrain without --final_layer_only to get a graph that labels images"
        )
    if not inputs:
        raise GraphError(f"{name} takes no input, so it cannot label images; choose another graph")
    raise GraphError(
        f"cannot tell which input of {name} takes images "
        f"({_list([node.name for node in inputs])}); name it with --input_layer"
    )


def _dtype(node: Any) -> int:
    for key in ("dtype", "T", "DstT"):
        if key in node.attr:
            return int(node.attr[key].type)
    return DataType.FLOAT


def _is_image(node: Any) -> bool:
    if _BOTTLENECK in node.name or _dtype(node) not in _IMAGE_TYPES:
        return False
    shape = placeholder_shape(node)
    return not shape or (len(shape) == 4 and shape[3] in (3, None))


def _behind_decoder(
    nodes: Mapping[str, Any], needed: list[Any], contents: Any, name: str
) -> tuple[str, Scaling, bool]:
    behind = {contents.name}
    for node in needed:  # each after all that it reads
        if not any(source in behind for source, _ in data_inputs(node)):
            continue
        behind.add(node.name)
        if node.op == "ResizeBilinear":
            return node.name, Scaling(0.0, _pixel_range(nodes, node, name)), True
    raise GraphError(
        f"{name} decodes images itself and has no ResizeBilinear to feed instead; name the "
        "layer that takes pixels with --input_layer"
    )


def _pixel_range(nodes: Mapping[str, Any], resize: Any, name: str) -> float:
    """Return what pixels of 0..255 are divided by before the graph's own resize: 1 or 255."""
    scale = 1.0
    node = nodes.get(data_inputs(resize)[0][0])
    while node is not None and node.op not in _DECODERS | _PLACEHOLDERS:
        sources = [nodes.get(source) for source, _ in data_inputs(node)]
        if node.op == "Mul" and len(sources) == 2:
            factors = [_constant(nodes, source) for source in sources if source is not None]
            known = [factor for factor in factors if factor is not None and factor.size == 1]
            if len(known) == 1:
                scale *= float(known[0].reshape(()))
                node = sources[0] if factors[0] is None else sources[1]
                continue
        if node.op not in _HANDING_ON or not sources:
            raise GraphError(
                f"{name} changes pixels by {node.op} ({node.name!r}) before it resizes them; name "
                "the layer that takes pixels with --input_layer"
            )
        node = sources[0]
    return 1.0 / scale if scale else 1.0


def _constant(nodes: Mapping[str, Any], node: Any | None) -> Any | None:
    while node is not None and node.op in ("Identity", "Dequantize", "StopGradient"):
        sources = data_inputs(node)
        node = nodes.get(sources[0][0]) if sources else None
    if node is None or node.op != "Const":
        return None
    return tensor_to_array(node.attr["value"].tensor)


def _find_size(
    graph: Any,
    node: Any,
    tensor: str,
    output: str,
    declared: tuple[int | None, ...] | None,
    resized: bool,
    options: InputOverrides,
    name: str,
) -> tuple[int, int]:
    height, width = options.input_height, options.input_width
    if height is not None and width is not None:
        return height, width
    nodes = nodes_by_name(graph)
    inferred: tuple[int | None, int | None] = (None, None)
    if declared is not None and len(declared) == 4:
        inferred = (declared[1], declared[2])
    elif resized:
        inferred = _resize_size(nodes, node)
    elif node.op not in _PLACEHOLDERS:
        inner = [each for each in needed_nodes(graph, [tensor]) if each.op == "ResizeBilinear"]
        if inner:
            inferred = _resize_size(nodes, inner[-1])
    if None in inferred:
        inferred = static_input_size(graph, tensor, [output]) or (None, None)
    if None in inferred and node.name.rsplit("/", 1)[-1] == "Mul":
        inferred = (_INCEPTION_SIZE, _INCEPTION_SIZE)
    height = inferred[0] if height is None else height
    width = inferred[1] if width is None else width
    if height is None or width is None:
        raise GraphError(
            f"{name} does not say how large its images are; give --input_height and --input_width"
        )
    return height, width


def _resize_size(nodes: Mapping[str, Any], resize: Any) -> tuple[int | None, int | None]:
    sources = data_inputs(resize)
    size = _constant(nodes, nodes.get(sources[1][0])) if len(sources) > 1 else None
    if size is None or size.size != 2:
        return None, None
    return int(size.ravel()[0]), int(size.ravel()[1])


def _input_type(node: Any, name: str) -> str:
    number = _dtype(node)
    if node.op == "ResizeBilinear":  # T is what it reads; it always gives float32
        return "float32"
    try:
        return _IMAGE_TYPES[DataType(number)]
    except (KeyError, ValueError):
        raise GraphError(
            f"the input {node.name!r} of {name} takes neither float32 nor uint8, so it takes no "
            "pixels; name another with --input_layer"
        ) from None


def _count_labels(nodes: Mapping[str, Any], output: str) -> int | None:
    """Return the last size of the last weights or biases before the output, if one is near."""
    node = nodes.get(split_tensor(output)[0])
    for _ in range(8):
        if node is None:
            return None
        sources = [nodes.get(source) for source, _ in data_inputs(node)]
        constants = [_constant(nodes, source) for source in sources]
        vectors = [value for value in constants if value is not None and value.size > 1]
        if node.op in ("Add", "AddV2") and len(vectors) == 1 and vectors[0].ndim == 1:
            return int(vectors[0].shape[-1])
        if node.op in _WEIGHTED and len(vectors) == 1:
            flag = _WEIGHTED[node.op]
            turned = flag is not None and node.attr[flag].b
            return int(vectors[0].shape[0 if turned else -1])
        if node.op not in ("Softmax", "Sigmoid", "Identity", "Reshape", "Squeeze", "Add", "AddV2"):
            return None
        node = sources[0] if sources else None
    return None
