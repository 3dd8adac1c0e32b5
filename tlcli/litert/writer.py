"""Plain frozen graphs as LiteRT (.tflite) files, without importing TensorFlow.

TensorFlow's converter does the same for every graph, after seconds of importing it. This
one knows the operations of image networks, channels last, in float32. What it does not know
it refuses, so that the caller can ask TensorFlow.
"""

from __future__ import annotations

from typing import Any

from tlcli.graph.surgery import needed_nodes, split_tensor, strip_identities
from tlcli.litert.conversion import Conversion, UnsupportedGraphError, unsupported
from tlcli.litert.operators import CONVERTERS, convert_node

__all__ = ["UnsupportedGraphError", "write_model"]


def write_model(graph: Any, input: str, output: str) -> bytes:
    """Return ``graph`` as the content of a .tflite file; the same graph gives the same bytes.

    Biases and activations are fused into the operators before them. The input takes one
    image and can be resized to any batch where the placeholder's batch is free.

    Args:
        graph: a ``GraphDef`` as `tlcli.graph.simplify.simplify` leaves it: plain
            operations, constants folded.
        input: name of the placeholder, float32 with known sizes except for the batch.
        output: name of the output, ``NAME`` or ``NAME:0``.

    Raises:
        UnsupportedGraphError: it has an operation that is not known here, or whose shapes
            cannot be inferred.
        GraphError: an input or output is absent, or the graph is damaged.
        OutputError: the file would have more than 2 GB.
    """
    start, end = split_tensor(input)[0], split_tensor(output)
    nodes = needed_nodes(graph, [end[0]])
    # Weights make a graph large: it is copied only where there is something to strip.
    if any(_is_passing(node) and node.name != end[0] for node in nodes):
        graph = strip_identities(graph, [start, end[0]])
        nodes = needed_nodes(graph, [end[0]])
    if start not in {node.name for node in nodes}:
        raise UnsupportedGraphError(f"the output {output!r} does not depend on {input!r}")
    conversion = Conversion(graph, nodes, start, end)
    for node in nodes:
        if node.name == start:
            if node.op != "Placeholder" or None in conversion.shape((start, 0))[1:]:
                raise unsupported(node, "it is no placeholder of a known size")
            conversion.add_input(node)
        elif node.op == "Placeholder":
            raise unsupported(node, "a second input")
        elif node.op != "Const" and node.name not in conversion.fused:
            convert_node(conversion, node)
    return conversion.serialise()


def _is_passing(node: Any) -> bool:
    """Return whether ``node`` may be one of those that only pass on what they read."""
    return node.op == "Identity" or node.op not in (*CONVERTERS, "Const", "Placeholder")
