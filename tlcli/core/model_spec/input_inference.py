"""Find where images enter a frozen graph and its scores leave it, from the graph alone.

What that tells of its pixels is decided in `tlcli.core.model_spec.origins`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.core.model_spec.facts import ModelFacts
from tlcli.core.model_spec.first_operations import GraphSteps
from tlcli.core.model_spec.input_spec import InputOverrides
from tlcli.core.model_spec.kinds import ModelKind
from tlcli.errors import GraphError
from tlcli.graph.endpoints import (
    BOTTLENECK_INPUT,
    PLACEHOLDERS,
    RESIZE,
    Layers,
    data_type,
    listed,
)
from tlcli.graph.limits import check_inputs
from tlcli.graph.nodes import DataType, const, placeholder
from tlcli.graph.shapes import placeholder_shape, widen_batch
from tlcli.graph.surgery import AFTER_LOGITS, data_inputs, prune, replace_input

# They end a search for the final layer's width: their constant's last size is the width.
_WEIGHTED = {"MatMul": "transpose_b", "Conv2D": None, "BiasAdd": None, "BiasAddV1": None}
_IMAGE_TYPES = {DataType.FLOAT: "float32", DataType.UINT8: "uint8"}
# What detectors call their boxes: TensorFlow's own and Custom Vision's.
_BOXES = frozenset({"detection_boxes", "detected_boxes", "TFLite_Detection_PostProcess"})


@dataclass(frozen=True)
class FrozenNetwork:
    """A frozen graph that labels images, and what it shows of its input.

    Attributes:
        graph: the ``GraphDef``, cut to what runs; its only input is a Placeholder.
        input: name of that Placeholder.
        output: tensor of the scores, "NAME" or "NAME:1".
        facts: what it shows.
    """

    graph: Any
    input: str
    output: str
    facts: ModelFacts


def examine(
    graph: Any,
    overrides: InputOverrides | None = None,
    path: Path | str = "the graph",
    *,
    labels: int | None = None,
) -> FrozenNetwork:
    """Return the network of ``graph``, the graph of a whole classifier.

    Args:
        graph: a ``GraphDef`` message; it is not changed.
        overrides: go before what is inferred.
        path: of the graph, for messages too.
        labels: how many there are, where that is known; settles which output has the scores.

    Raises:
        GraphError: something cannot be inferred; the message names the option that sets it.
    """
    check_inputs(graph.node, str(path))
    try:
        return _examine(graph, overrides or InputOverrides(), str(path), labels)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise GraphError(f"{path} is damaged: its operations do not fit together") from error


def _examine(graph: Any, overrides: InputOverrides, name: str, labels: int | None) -> FrozenNetwork:
    layers = Layers(graph, name, "--input_layer", "--output_layer")
    _check_task(layers)
    output = _find_output(layers, overrides.output_layer, labels)
    if overrides.input_layer is None:
        _check_takes_images(layers, output)
    tensor = layers.find_input(output, overrides.input_layer)
    node = layers.node(tensor)
    height, width = layers.input_size(tensor, output, overrides.input_height, overrides.input_width)
    dtype = _input_type(node, name)
    declared = placeholder_shape(node) if node.op in PLACEHOLDERS else None
    # The original's own resize gave one image; optimize_for_inference lost the batch's size.
    batch = 1 if declared is None else declared[0]
    shape: list[int | None] = [batch, height, width]
    if declared is None or len(declared) != 3:
        shape.append(3 if declared is None or declared[3] is None else declared[3])
    fed = placeholder(node.name, np.dtype(dtype), shape)
    whole = _with_switches_set(replace_input(graph, tensor, [fed]), layers, output, node.name)
    cut = prune(whole, [output])
    if node.name not in {each.name for each in cut.node}:
        raise GraphError(
            f"the output {output!r} of {name} does not depend on the input {node.name!r}; "
            "name others with --input_layer and --output_layer"
        )
    widened, any_batch = widen_batch(cut, node.name, [output])
    shown = GraphSteps(cut)
    facts = ModelFacts(
        path=Path(name),
        kind=ModelKind.FROZEN_GRAPH,
        input=node.name,
        output=output,
        shape=tuple(shape),
        dtype=dtype,
        scores=_count_labels(layers, output),
        any_batch=any_batch,
        steps=tuple(shown.steps(node.name)),
        activation=shown.activation(output),
        divided_by=layers.pixel_range(node.name) if node.op == RESIZE else None,
        is_inception=any(each.name.startswith("InceptionV3/") for each in layers.needed(output)),
    )
    return FrozenNetwork(widened, node.name, output, facts)


def _check_task(layers: Layers) -> None:
    if _BOXES & {name.rsplit("/", 1)[-1] for name in layers.nodes}:
        raise GraphError(
            f"{layers.what} gives boxes, not labels: it detects objects; give a classifier"
        )


def _find_output(layers: Layers, wanted: str | None, labels: int | None) -> str:
    """Return the tensor of the scores."""
    if wanted is not None:
        return layers.existing(wanted, layers.output_option)
    if "final_result" in layers.nodes:
        return "final_result"
    named = [name for name in layers.nodes if name.endswith("/final_result")]
    softmaxes = [name for name, node in layers.nodes.items() if node.op == "Softmax"]
    ends = layers.ends()
    fitting = [
        name for name in ends if labels is not None and _count_labels(layers, name) == labels
    ]
    for candidates in (named, softmaxes, ends, fitting):
        if len(candidates) == 1:
            return candidates[0]
    raise GraphError(
        f"cannot tell which layer of {layers.what} gives the scores "
        f"({listed(softmaxes or ends) or 'it has no end'}); name it with {layers.output_option}"
    )


def _with_switches_set(graph: Any, layers: Layers, output: str, fed: str) -> Any:
    """Return the graph with constants for what is fed besides images when it is trained.

    ``keep_prob`` of dropout is 1, its rate 0, and a switch for training is off.
    """
    for node in layers.needed(output):
        if node.op not in PLACEHOLDERS or node.name == fed:
            continue
        kind, shape = data_type(node), placeholder_shape(node)
        value = switch_value(node.name, kind)
        if shape in (None, ()) and value is not None:
            graph = replace_input(graph, node.name, [const(node.name, value)])
    return graph


def switch_value(name: str, kind: int) -> np.bool_ | np.float32 | None:
    """Return the value for inference of a scalar that is fed in training; None where it is none.

    Args:
        name: of its placeholder.
        kind: number of its data type.
    """
    if kind == DataType.BOOL:
        return np.bool_(False)
    if kind == DataType.FLOAT:
        keeps = "keep" in name.lower() or "rate" not in name.lower()
        value: np.float32 = np.float32(keeps)
        return value
    return None


def _check_takes_images(layers: Layers, output: str) -> None:
    inputs = [node.name for node in layers.needed(output) if node.op in PLACEHOLDERS]
    if len(inputs) == 1 and BOTTLENECK_INPUT in inputs[0]:
        raise GraphError(
            f"{layers.what} contains only the final layer: it takes bottlenecks ({inputs[0]!r}), "
            "not images; retrain without --final_layer_only to get a graph that labels images"
        )


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
