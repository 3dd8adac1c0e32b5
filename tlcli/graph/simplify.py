"""The simplification of frozen inference graphs: a table of passes, and `simplify`, which runs it.

Every pass takes a ``GraphDef`` and returns a new one that computes the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.errors import GraphError
from tlcli.graph.folding import fold_batch_norms, fold_constants
from tlcli.graph.shapes import freeze_shapes
from tlcli.graph.surgery import copy_graph, prune, split_tensor, strip_identities


@dataclass(frozen=True)
class Pass:
    """One step of the simplification.

    Attributes:
        name: what it does.
        run: the function, from a graph and the names of its input and outputs to a new graph.
        reason: why it runs at its position.
    """

    name: str
    run: Callable[[Any, str, Sequence[str]], Any]
    reason: str


def _without_default(graph: Any, input: str, outputs: Sequence[str]) -> Any:
    """Make the input a ``Placeholder`` when it is one with a default."""
    result = copy_graph(graph, graph.node)
    for node in result.node:
        if node.name == input and node.op == "PlaceholderWithDefault":
            node.op = "Placeholder"
            del node.input[:]
    return result


def _prune_to_outputs(graph: Any, input: str, outputs: Sequence[str]) -> Any:
    result = prune(graph, outputs)
    if input not in {node.name for node in result.node}:
        raise GraphError(f"the layers {', '.join(outputs)} do not depend on the input {input!r}")
    return result


PASSES = (
    Pass(
        "remove the input's default",
        _without_default,
        "first: otherwise the default would be stripped as an identity, or pruned to",
    ),
    Pass(
        "prune to the outputs",
        _prune_to_outputs,
        "training leftovers go before any pass looks at operations that it cannot know",
    ),
    Pass(
        "strip identities",
        lambda graph, input, outputs: strip_identities(graph, [input, *outputs]),
        "constants and their readers become neighbours, which all later passes rely on",
    ),
    Pass(
        "prune what only identities read",
        lambda graph, input, outputs: prune(graph, outputs),
        "defaults and second inputs of the stripped nodes have no reader any more",
    ),
    Pass(
        "fold constants",
        lambda graph, input, outputs: fold_constants(graph, outputs),
        "shapes can be inferred only where sizes, axes and paddings are constants",
    ),
    Pass(
        "freeze shapes",
        lambda graph, input, outputs: freeze_shapes(graph, input),
        "sizes computed from known shapes become constants, which leaves more to fold",
    ),
    Pass(
        "prune what computed the shapes",
        lambda graph, input, outputs: prune(graph, outputs),
        "the nodes that computed the frozen sizes have no reader any more",
    ),
    Pass(
        "fold constants computed from shapes",
        lambda graph, input, outputs: fold_constants(graph, outputs),
        "the frozen sizes make further nodes constant",
    ),
    Pass(
        "fold batch norms",
        lambda graph, input, outputs: fold_batch_norms(graph, outputs),
        "last: every weight, mean and variance is a constant by then",
    ),
)
"""The passes in the order in which `simplify` runs them."""


def simplify(graph: Any, input: str, outputs: Sequence[str]) -> Any:
    """Reduce a frozen inference graph to plain operations; it computes the same.

    Args:
        graph: without variables and functions (as ``convert_variables_to_constants`` or
            ``convert_variables_to_constants_v2`` leave it).
        input: name of the placeholder; it keeps its name and shape.
        outputs: names of the outputs; they keep their names.

    Raises:
        GraphError: an input or output is absent, or the graph is damaged.
    """
    names = [split_tensor(output)[0] for output in outputs]
    for each in PASSES:
        graph = each.run(graph, split_tensor(input)[0], names)
    return graph
