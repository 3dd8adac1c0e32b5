"""Infer the input spec of a frozen graph, from the graph alone.

How each generation's input was scaled is in `tlcli.core.classifier.input_spec`.
"""

from __future__ import annotations

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
from tlcli.graph.endpoints import (
    BOTTLENECK_INPUT,
    PLACEHOLDERS,
    RESIZE,
    Layers,
    data_type,
    listed,
)
from tlcli.graph.nodes import DataType, placeholder
from tlcli.graph.shapes import placeholder_shape, widen_batch
from tlcli.graph.surgery import AFTER_LOGITS, data_inputs, prune, replace_input

# They end a search for the final layer's width: their constant's last size is the width.
_WEIGHTED = {"MatMul": "transpose_b", "Conv2D": None, "BiasAdd": None, "BiasAddV1": None}
_IMAGE_TYPES = {DataType.FLOAT: "float32", DataType.UINT8: "uint8"}


@dataclass(frozen=True)
class FrozenGraphSpec(InputSpec):
    """The input spec of a frozen graph, and the graph itself.

    Attributes:
        graph: the ``GraphDef``, cut to what runs; its input is a Placeholder.
        input: name of that Placeholder.
        output: tensor of the scores, "NAME" or "NAME:1".
    """

    graph: Any
    input: str
    output: str


def infer_spec(
    graph: Any, overrides: InputOverrides | None = None, name: str = "the graph"
) -> FrozenGraphSpec:
    """Return the input spec of ``graph``, the graph of a whole classifier.

    Args:
        graph: a ``GraphDef`` message; it is not changed.
        overrides: go before what is inferred.
        name: of the graph in messages.

    Raises:
        GraphError: something cannot be inferred; the message names the option that sets it.
    """
    overrides = overrides or InputOverrides()
    layers = Layers(graph, name, "--input_layer", "--output_layer")
    output = _find_output(layers, overrides.output_layer)
    if overrides.input_layer is None:
        _check_takes_images(layers, output)
    tensor = layers.find_input(output, overrides.input_layer)
    node = layers.node(tensor)
    scaling = _find_scaling(layers, node, output)
    height, width = layers.input_size(tensor, output, overrides.input_height, overrides.input_width)
    dtype = _input_type(node, name)
    if dtype == "uint8":
        scaling = Scaling(0.0, 1.0)
    scaling = override_scaling(scaling, overrides, f"{name} takes its images at {node.name!r}")
    declared = placeholder_shape(node) if node.op in PLACEHOLDERS else None
    # The original's own resize gave one image; optimize_for_inference lost the batch's size.
    batch = 1 if declared is None else declared[0]
    fed = placeholder(node.name, np.dtype(dtype), [batch, height, width, 3])
    cut = prune(replace_input(graph, tensor, [fed]), [output])
    if node.name not in {each.name for each in cut.node}:
        raise GraphError(
            f"the output {output!r} of {name} does not depend on the input {node.name!r}; "
            "name others with --input_layer and --output_layer"
        )
    widened, any_batch = widen_batch(cut, node.name, [output])
    return FrozenGraphSpec(
        graph=widened,
        input=node.name,
        output=output,
        height=height,
        width=width,
        scaling=scaling,
        dtype=dtype,
        labels=_count_labels(layers, output),
        any_batch=any_batch,
    )


def _find_output(layers: Layers, wanted: str | None) -> str:
    """Return the tensor of the scores."""
    if wanted is not None:
        return layers.existing(wanted, layers.output_option)
    if "final_result" in layers.nodes:
        return "final_result"
    named = [name for name in layers.nodes if name.endswith("/final_result")]
    softmaxes = [name for name, node in layers.nodes.items() if node.op == "Softmax"]
    ends = layers.ends()
    for candidates in (named, softmaxes, ends):
        if len(candidates) == 1:
            return candidates[0]
    raise GraphError(
        f"cannot tell which layer of {layers.what} gives the scores "
        f"({listed(softmaxes or ends) or 'it has no end'}); name it with {layers.output_option}"
    )


def _check_takes_images(layers: Layers, output: str) -> None:
    inputs = [node.name for node in layers.needed(output) if node.op in PLACEHOLDERS]
    if len(inputs) == 1 and BOTTLENECK_INPUT in inputs[0]:
        raise GraphError(
            f"{layers.what} contains only the final layer: it takes bottlenecks ({inputs[0]!r}), "
            "not images; retrain without --final_layer_only to get a graph that labels images"
        )


def _find_scaling(layers: Layers, node: Any, output: str) -> Scaling:
    if node.op == RESIZE:
        return Scaling(0.0, layers.pixel_range(node.name))
    inception = any(each.name.startswith("InceptionV3/") for each in layers.needed(output))
    return scaling_of(node.name, inception)


def _input_type(node: Any, name: str) -> str:
    if node.op == RESIZE:  # its T is the type of what it reads; it always gives float32
        return "float32"
    try:
        return _IMAGE_TYPES[DataType(data_type(node))]
    except (KeyError, ValueError):
        raise GraphError(
            f"the input {node.name!r} of {name} takes neither float32 nor uint8, so it takes no "
            "pixels; name another with --input_layer"
        ) from None


def _count_labels(layers: Layers, output: str) -> int | None:
    """Return the last size of the last weights or biases before the output, if one is near."""
    node = layers.node(output)
    for _ in range(8):
        if node is None:
            return None
        sources = [source for source, _ in data_inputs(node)]
        constants = [layers.constant(source) for source in sources]
        vectors = [value for value in constants if value is not None and value.size > 1]
        if node.op in ("Add", "AddV2") and len(vectors) == 1 and vectors[0].ndim == 1:
            return int(vectors[0].shape[-1])
        if node.op in _WEIGHTED and len(vectors) == 1:
            flag = _WEIGHTED[node.op]
            transposed = flag is not None and node.attr[flag].b
            return int(vectors[0].shape[0 if transposed else -1])
        if node.op not in AFTER_LOGITS - _WEIGHTED.keys():
            return None
        node = layers.nodes.get(sources[0]) if sources else None
    return None
