"""Class activation maps: where in an image the final layer saw a label.

A bottleneck is the mean of a feature map over its h x w places, and the final layer is
linear, so a label's logit is the mean over the places of (features @ weights) plus a bias.
That map is exact: no gradients, no second network, one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.backbones.base import INPUT, BackboneGraph
from tlcli.core.engines import GraphEngine
from tlcli.core.graph_nodes import tensor_to_array
from tlcli.core.images import Preprocessing
from tlcli.errors import ImageError

# What only renames or reshapes the pooled vector.
_PASSING = {
    "Identity",
    "StopGradient",
    "PreventGradient",
    "Snapshot",
    "Reshape",
    "Squeeze",
    "PlaceholderWithDefault",
}


def feature_map(graph: Any, output: str) -> str | None:
    """Return the name of the node whose [?, h, w, D] features are averaged into a bottleneck.

    Args:
        graph: ``GraphDef`` of a frozen backbone.
        output: name of its bottleneck node.

    Returns:
        None where the bottleneck is not a plain average over places (a dense layer, ImageNet
        logits, channels first).
    """
    nodes = {node.name: node for node in graph.node}
    name = output.removesuffix(":0")
    for _ in range(len(nodes) + 1):
        node = nodes.get(name)
        if node is None:
            return None
        if node.op == "Mean":
            return _averaged(node) if _mean_axes(node, nodes) == {1, 2} else None
        if node.op == "AvgPool":
            return _averaged(node) if _is_spatial_pool(node) else None
        if node.op not in _PASSING or not node.input:
            return None
        name = _first_output(node.input[0]) or ""
    return None


def activation_map(
    features: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any] | None:
    """Return how much each place speaks for a label.

    Args:
        features: float [h, w, D], one image's output of `feature_map`.
        weights: float [D], the label's column of the final layer.

    Returns:
        float32 [h, w]; its mean plus the label's bias is the label's logit. None if the sizes
        do not fit, which means that the pooled map was flattened rather than averaged.
    """
    features = np.asarray(features, dtype=np.float32)
    weights = np.asarray(weights, dtype=np.float32)
    if features.ndim != 3 or weights.ndim != 1 or features.shape[-1] != weights.shape[0]:
        return None
    found: np.ndarray[Any, Any] = features @ weights
    return found


def activation_maps(
    backbone: BackboneGraph,
    preprocessing: Preprocessing,
    sources: Sequence[Path | str | bytes],
    columns: Sequence[np.ndarray[Any, Any]],
) -> list[np.ndarray[Any, Any] | None]:
    """Return one map for each image, in order.

    Args:
        backbone: loaded; TensorFlow runs it, one image at a time.
        preprocessing: what the backbone was fed with.
        sources: image files, or their bytes.
        columns: for each image the column [D] of the final layer to explain.

    Returns:
        None for an image that cannot be read, and for all where `feature_map` finds nothing.
    """
    name = feature_map(backbone.graph, backbone.output)
    if name is None or not sources:
        return [None] * len(sources)
    found: list[np.ndarray[Any, Any] | None] = []
    with GraphEngine(backbone.graph, INPUT, name) as engine:
        for source, column in zip(sources, columns, strict=True):
            try:
                image = preprocessing.scale(preprocessing.read(source)[None])
            except ImageError:
                found.append(None)
                continue
            features = engine.run(image)
            found.append(activation_map(features[0], column) if features.ndim == 4 else None)
    return found


def _first_output(spelled: str) -> str | None:
    """Return the node name behind an input that is output 0 of a node, else None."""
    if spelled.startswith("^"):
        return None
    name, _, index = spelled.partition(":")
    return name if index in ("", "0") else None


def _averaged(node: Any) -> str | None:
    return _first_output(node.input[0]) if node.input else None


def _mean_axes(node: Any, nodes: dict[str, Any]) -> set[int] | None:
    """Return the axes that a Mean takes away, of four, counted from the front."""
    if len(node.input) < 2:
        return None
    axes = nodes.get(_first_output(node.input[1]) or "")
    while axes is not None and axes.op == "Identity" and axes.input:
        axes = nodes.get(_first_output(axes.input[0]) or "")
    if axes is None or axes.op != "Const":
        return None
    return {int(axis) % 4 for axis in np.atleast_1d(tensor_to_array(axes.attr["value"].tensor))}


def _is_spatial_pool(node: Any) -> bool:
    if node.attr["data_format"].s not in (b"", b"NHWC"):
        return False
    size = list(node.attr["ksize"].list.i)
    # SAME would average fewer places at the edges than in the middle.
    if node.attr["padding"].s not in (b"", b"VALID"):
        return False
    return len(size) == 4 and size[0] == 1 and size[3] == 1
