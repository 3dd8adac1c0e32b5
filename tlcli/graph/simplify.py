"""The simplification of frozen inference graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tlcli.errors import GraphError
from tlcli.graph.folding import fold_batch_norms, fold_constants
from tlcli.graph.shapes import freeze_shapes
from tlcli.graph.surgery import copy_graph, prune, split_tensor, strip_identities


def _without_default(graph: Any, input: str) -> Any:
    """Make the input a ``Placeholder`` when it is one with a default."""
    result = copy_graph(graph, graph.node)
    for node in result.node:
        if node.name == input and node.op == "PlaceholderWithDefault":
            node.op = "Placeholder"
            del node.input[:]
    return result


def simplify(graph: Any, input: str, outputs: Sequence[str]) -> Any:
    """Make a frozen inference graph plain; it computes the same.

    Pruned to ``outputs``, identities stripped, shapes that are known written as constants,
    constant subgraphs evaluated, batch norms folded into the layers before them.

    Args:
        graph: without variables and functions (as ``convert_variables_to_constants`` or
            ``convert_variables_to_constants_v2`` leave it).
        input: name of the placeholder; it keeps its name and shape.
        outputs: names of the outputs; they keep their names.

    Raises:
        GraphError: an input or output is absent, or the graph is damaged.
    """

    names = [split_tensor(output)[0] for output in outputs]
    start = split_tensor(input)[0]
    result = prune(_without_default(graph, start), names)
    if start not in {node.name for node in result.node}:
        raise GraphError(f"the layers {', '.join(names)} do not depend on the input {input!r}")
    result = prune(strip_identities(result, [start, *names]), names)
    result = fold_constants(result, names)
    result = freeze_shapes(result, start)
    result = fold_constants(prune(result, names), names)
    return fold_batch_norms(result, names)
