"""The bottleneck of a whole frozen graph: a layer that the user named, or what feeds its scores.

A vector of scores says little about an image that shows something else, so a bottleneck should
be what the last dense layer reads.
"""

from __future__ import annotations

import logging
import re
from typing import Any

import numpy as np

from tlcli.backbone import INPUT, BackboneGraph
from tlcli.backbones.freezing import OUTPUT, NetworkInput, measured_shape
from tlcli.errors import BackboneError, GraphError, UsageError
from tlcli.graph.endpoints import listed
from tlcli.graph.nodes import const, node
from tlcli.graph.shapes import infer_shapes
from tlcli.graph.surgery import (
    AFTER_LOGITS,
    constant_behind,
    copy_graph,
    data_inputs,
    needed_nodes,
    nodes_by_name,
    prune,
    spell_tensor,
    split_tensor,
)

_log = logging.getLogger("tlcli")

PROBABILITIES = frozenset({"Softmax", "Sigmoid"})
_PASSING = frozenset({"Identity", "Reshape", "Squeeze", "Cast"})
# Fewer numbers than any feature vector has, and as many as short lists of labels have.
_NARROW = 8
# The same where a matrix product comes last, which feature vectors rarely end in.
_NARROW_LINEAR = 64


def before_logits(nodes: dict[str, Any], end: str) -> str:
    """Return what feeds the last matrix product or 1 x 1 convolution before ``end``, or it."""
    found = nodes[end]
    for _ in range(len(nodes)):
        sources = data_inputs(found)
        if found.op in ("MatMul", "Conv2D"):
            weights = constant_behind(nodes, sources[1][0])
            if weights is not None:
                dims = [size.size for size in weights.attr["value"].tensor.tensor_shape.dim]
                if found.op == "MatMul" or dims[:2] == [1, 1]:
                    return spell_tensor(*sources[0])
            return end
        if found.op not in AFTER_LOGITS or not sources or sources[0][0] not in nodes:
            return end
        found = nodes[sources[0][0]]
    return end


def gives_probabilities(graph: Any, output: str) -> bool:
    """Return whether a tensor is a softmax or a sigmoid."""
    nodes = nodes_by_name(graph)
    found = nodes.get(split_tensor(output)[0])
    for _ in range(len(nodes)):
        if found is None or found.op in PROBABILITIES:
            break
        sources = data_inputs(found) if found.op in _PASSING else []
        found = nodes.get(sources[0][0]) if sources else None
    return found is not None


def has_layer(graph: Any, wanted: str) -> bool:
    """Return whether a graph or a function in it has nodes of the layer ``wanted``."""
    name = split_tensor(wanted)[0]
    pattern = re.compile(rf"(^|/){re.escape(name)}(_\d+)?(/|$)")
    groups = [graph.node, *(function.node_def for function in graph.library.function)]
    return any(pattern.search(each.name) for nodes in groups for each in nodes)


def named_layer(graph: Any, output: str, wanted: str, what: str) -> str:
    """Return the tensor of a layer inside a graph.

    Args:
        graph: a ``GraphDef`` without functions.
        output: what the graph computes.
        wanted: the name of a node, its end after a slash, or the name of a layer, which is a
            part of the names of its nodes; the last of them is taken.
        what: the model, for messages.

    Raises:
        UsageError: no node has that name, or nodes of several layers do.
    """
    name, number = split_tensor(wanted)
    needed = [each for each in needed_nodes(graph, [output]) if each.op != "Const"]
    exact = [each for each in needed if each.name == name]
    ends = exact or [each for each in needed if each.name.endswith(f"/{name}")]
    if len(ends) == 1:
        return spell_tensor(ends[0].name, number)
    # Keras counts the layers that it calls again: dense_1 is dense_1_1 in a SavedModel.
    scope = re.compile(rf"(^|.*/){re.escape(name)}(_\d+)?(?=/)")
    layers: dict[str, str] = {}
    for each in needed if not ends else ():
        if match := scope.match(each.name):
            layers[match[0]] = each.name
    if len(layers) == 1:
        return next(iter(layers.values()))
    if ends or layers:
        names = layers or [each.name for each in ends]
        raise UsageError(
            f"{what} has several layers called {wanted!r}; name one of them: {listed(names)}"
        )
    last = ", ".join(each.name for each in needed[-5:])
    raise UsageError(f"{what} has no layer {wanted!r}; its last layers are {last}")


def at_layer(whole: BackboneGraph, tensor: str, images: NetworkInput, what: str) -> BackboneGraph:
    """Return a backbone that ends in an earlier tensor; a map is averaged.

    Args:
        whole: plain, as `freeze` returns it.
        tensor: of the bottleneck.
        images: what the network takes.
        what: the model, for messages.

    Raises:
        BackboneError: the tensor is neither a vector nor a map per image.
        GraphError: it does not depend on the image.
    """
    graph = prune(whole.graph, [tensor])
    if INPUT not in {each.name for each in graph.node}:
        raise GraphError(f"the layer {tensor!r} of {what} does not depend on the image")
    shape = infer_shapes(graph, INPUT, outputs=[tensor]).get(spell_tensor(*split_tensor(tensor)))
    if shape is None or shape[-1] is None:
        shape = measured_shape(graph, tensor, images)
    if len(shape) == 4:
        graph = copy_graph(graph, graph.node)
        axes = f"{OUTPUT}/axes"
        graph.node.append(const(axes, np.array([1, 2], np.int32)))
        mean = node(OUTPUT, "Mean", [tensor, axes], T=np.float32, Tidx=np.int32, keep_dims=False)
        graph.node.append(mean)
        tensor = OUTPUT
    elif len(shape) != 2:
        raise BackboneError(
            f"the layer {tensor!r} of {what} gives {list(shape)}, not one vector per image; name "
            "another with --module_output"
        )
    size = shape[-1]
    assert size is not None
    return BackboneGraph(graph, tensor, size, whole.any_batch)


def before_scores(whole: BackboneGraph, images: NetworkInput, what: str) -> BackboneGraph:
    """Return a backbone that ends before the dense layer of its scores, with a warning.

    One that does not end in scores is returned as it is.
    """
    found = before_logits(nodes_by_name(whole.graph), whole.output)
    if found == whole.output or _reason(whole, found) is None:
        warn_of_scores(whole, what)
        return whole
    result = at_layer(whole, found, images, what)
    _log.warning(
        "The output of %s is the scores of %d labels; the bottleneck is what feeds their layer, "
        "%s (%d numbers). --module_output names another.",
        what,
        whole.bottleneck_size,
        short_name(whole.graph, found),
        result.bottleneck_size,
    )
    return result


def warn_of_scores(backbone: BackboneGraph, what: str) -> None:
    """Warn of a bottleneck that is scores of labels, or as narrow as such."""
    found = before_logits(nodes_by_name(backbone.graph), backbone.output)
    reason = _reason(backbone, found)
    if reason is not None:
        hint = f" (such as {short_name(backbone.graph, found)})" if found != backbone.output else ""
        _log.warning(
            "The bottleneck of %s %s, and says little about other images; name an earlier layer%s "
            "with --module_output.",
            what,
            reason,
            hint,
        )


def _reason(backbone: BackboneGraph, before: str) -> str | None:
    """Return why a bottleneck looks like scores; ``before`` is what feeds its last product."""
    size = backbone.bottleneck_size
    if gives_probabilities(backbone.graph, backbone.output):
        return f"is the scores of {size} labels"
    if size < (_NARROW if before == backbone.output else _NARROW_LINEAR):
        return f"has {size} numbers per image, as few as scores of labels"
    return None


def short_name(graph: Any, tensor: str) -> str:
    """Return the shortest end of a tensor's name by which `named_layer` finds it."""
    name, number = split_tensor(tensor)
    parts = name.split("/")
    for count in range(min(2, len(parts)), len(parts)):
        end = "/".join(parts[-count:])
        if sum(f"/{each.name}".endswith(f"/{end}") for each in graph.node) == 1:
            return spell_tensor(end, number)
    return tensor
