"""The trained classifier as files: frozen graph and labels, without importing TensorFlow.

The node names are those that retrain.py gave to graphs with a hub module, so that programs
written for its graphs find what they look for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.backbone import INPUT, BackboneGraph
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.unknown.model import UNKNOWN_SCORE
from tlcli.errors import DataError, GraphError, OutputError, UsageError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.graph.surgery import prune, rename_nodes, spell_tensor, split_tensor, take_name
from tlcli.system.atomic_files import write_text

FINAL_TENSOR_NAME = "final_result"
"""Name of the softmax or sigmoid node unless the user asks for another."""
BOTTLENECK_INPUT = "BottleneckInputPlaceholder"
"""Input of a graph that consists of the final layer alone: float32 [?, D]."""

WEIGHTS = "final_retrain_ops/weights/final_weights"
BIASES = "final_retrain_ops/biases/final_biases"
PRODUCT = "final_retrain_ops/Wx_plus_b/MatMul"
LOGITS = "final_retrain_ops/Wx_plus_b/add"
_OURS = (WEIGHTS, BIASES, PRODUCT, LOGITS)

_OPERATIONS = {"softmax": "Softmax", "sigmoid": "Sigmoid"}

FINAL_NODES = 5
"""How many nodes the final layer is; they are the last ones of an exported graph."""

# All that run on a phone are smaller: EfficientNet-Lite0 to 2 have 13 to 20 MB, Inception-v3 has
# 87 MB.
SMALL_GRAPH = 32 << 20
"""Up to this size in bytes of the graph a LiteRT file is written by default."""

# What TensorFlow accepts as a node name; a slash at the end would be a scope.
_NODE_NAME = re.compile(r"[A-Za-z0-9.]([A-Za-z0-9_./-]*[A-Za-z0-9_.-])?")
# Protobuf refuses larger messages, on writing as on reading.
_LARGEST_GRAPH = (1 << 31) - 1


@dataclass(frozen=True)
class ClassifierGraph:
    """A graph from images to probabilities, and how it is run.

    Attributes:
        graph: ``graph.messages.GraphDef`` from images in [0, 1] to probabilities [?, L].
        height: of the input, in pixels.
        width: of the input, in pixels.
        output: name of the output node; the input is `INPUT`.
    """

    graph: Any
    height: int
    width: int
    output: str = FINAL_TENSOR_NAME


def check_final_tensor_name(name: str) -> None:
    """Check that ``name`` can be the name of the output node.

    Raises:
        UsageError: TensorFlow allows no such node name, or another node must have it.
    """
    if not _NODE_NAME.fullmatch(name):
        raise UsageError(
            f"--final_tensor_name {name!r} is no name that TensorFlow allows: use letters, digits "
            "and _ . / - only, begin with a letter or digit, and leave out ':0'"
        )
    if name in (INPUT, BOTTLENECK_INPUT, UNKNOWN_SCORE, *_OURS):
        raise UsageError(
            f"--final_tensor_name {name} is the name of another node of the graph; "
            "choose a different one"
        )


def append_final_layer(
    backbone: BackboneGraph, layer: FinalLayer, final_tensor_name: str = FINAL_TENSOR_NAME
) -> Any:
    """Return a ``GraphDef`` from images to probabilities: the backbone, then the final layer.

    Nodes of the backbone that have one of our names are renamed. The result takes float32
    [?, height, width, 3] in [0, 1] at `INPUT` and gives float32 [?, L] at
    ``final_tensor_name``; the backbone's own message is not changed.

    Raises:
        UsageError: ``final_tensor_name`` cannot be used.
        GraphError: layer and backbone do not fit.
    """
    check_final_tensor_name(final_tensor_name)
    size = np.shape(layer.weights)[0]
    if size != backbone.bottleneck_size:
        raise GraphError(
            f"the final layer takes {size} values and the backbone gives "
            f"{backbone.bottleneck_size}; train it on this backbone's bottlenecks"
        )
    # Some readers stumble over nodes that lead nowhere.
    graph = prune(backbone.graph, [backbone.output])
    names = {item.name for item in graph.node}
    if INPUT not in names:
        raise GraphError(f"the backbone's output does not depend on its input {INPUT}")
    reserved = {*_OURS, UNKNOWN_SCORE, final_tensor_name}
    taken = names | reserved
    moved = {name: take_name(f"backbone/{name}", taken) for name in sorted(reserved & names)}
    graph = rename_nodes(graph, lambda name: moved.get(name, name))
    output, number = split_tensor(backbone.output)
    bottleneck = spell_tensor(moved.get(output, output), number)
    graph.node.extend(final_nodes(bottleneck, layer, final_tensor_name))
    return graph


def final_layer_graph(layer: FinalLayer, final_tensor_name: str = FINAL_TENSOR_NAME) -> Any:
    """Return the final layer alone: `BOTTLENECK_INPUT` float32 [?, D] to probabilities [?, L].

    Raises:
        UsageError: ``final_tensor_name`` cannot be used.
    """
    check_final_tensor_name(final_tensor_name)
    size = int(np.shape(layer.weights)[0])
    graph = new_graph([placeholder(BOTTLENECK_INPUT, np.float32, [None, size])])
    graph.node.extend(final_nodes(BOTTLENECK_INPUT, layer, final_tensor_name))
    return graph


def final_nodes(bottleneck: str, layer: FinalLayer, final_tensor_name: str) -> list[Any]:
    """Return the final layer's nodes, `FINAL_NODES` of them, reading the tensor ``bottleneck``."""
    weights: npt.NDArray[np.float32] = np.asarray(layer.weights, dtype=np.float32)  # [D, L]
    biases: npt.NDArray[np.float32] = np.asarray(layer.biases, dtype=np.float32)  # [L]
    if weights.ndim != 2 or biases.shape != weights.shape[1:]:
        raise GraphError(
            f"the final layer's weights {weights.shape} and biases {biases.shape} do not fit"
        )
    return [
        const(WEIGHTS, weights),
        const(BIASES, biases),
        node(
            PRODUCT, "MatMul", [bottleneck, WEIGHTS],
            T=np.float32, transpose_a=False, transpose_b=False,
        ),
        # Add, not AddV2: every version of every reader supports it.
        node(LOGITS, "Add", [PRODUCT, BIASES], T=np.float32),
        node(final_tensor_name, _OPERATIONS[layer.activation], [LOGITS], T=np.float32),
    ]  # fmt: skip


def serialise(graph: Any) -> bytes:
    """Return the message as bytes, the same bytes for the same graph.

    Raises:
        OutputError: the graph is larger than a protobuf file may be (2 GB).
    """
    if graph.ByteSize() > _LARGEST_GRAPH:
        raise OutputError(
            f"the graph takes {graph.ByteSize() / 1e9:.1f} GB and a frozen graph can have 2 GB at "
            "most; choose a smaller backbone"
        )
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


def labels_text(labels: Sequence[str]) -> str:
    """Return the content of a labels file: the labels in output order, one per line.

    Raises:
        DataError: a label is empty, or contains a line break, or bytes that are no text.
    """
    for label in labels:
        if label.splitlines() != [label]:
            raise DataError(
                f"the label {label!r} is empty or has a line break in it, and a labels file has "
                "one label per line; rename its folder"
            )
        try:
            label.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(
                f"the label {label!r} is not text that UTF-8 can encode; rename its folder"
            ) from None
    return "".join(f"{label}\n" for label in labels)


def write_labels(path: Path, labels: Sequence[str]) -> None:
    """Write the labels in output order, one per line, UTF-8.

    Raises:
        DataError: as `labels_text`.
        OutputError: the file cannot be written.
    """
    write_text(Path(path), labels_text(labels))
