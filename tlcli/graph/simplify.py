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
class Endpoints:
    """Names of the nodes that a simplified graph keeps.

    Attributes:
        input: of the placeholder.
        outputs: of the nodes whose results are read.
    """

    input: str
    outputs: Sequence[str]


@dataclass(frozen=True)
class Pass:
    """One step of the simplification.

    Attributes:
        name: what it does.
        run: the function, from a graph and its endpoints to a new graph.
        reason: why it runs at its position.
    """

    name: str
    run: Callable[[Any, Endpoints], Any]
    reason: str


def _without_default(graph: Any, ends: Endpoints) -> Any:
    """Make the input a ``Placeholder`` when it is one with a default."""
    result = copy_graph(graph, graph.node)
    for node in result.node:
        if node.name == ends.input and node.op == "PlaceholderWithDefault":
            node.op = "Placeholder"
            del node.input[:]
    return result


def _prune_to_outputs(graph: Any, ends: Endpoints) -> Any:
    result = prune(graph, ends.outputs)
    if ends.input not in {node.name for node in result.node}:
        raise GraphError(
            f"the layers {', '.join(ends.outputs)} do not depend on the input {ends.input!r}"
        )
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
        lambda graph, ends: strip_identities(graph, [ends.input, *ends.outputs]),
        "constants and their readers become neighbours, which all later passes rely on",
    ),
    Pass(
        "prune what only identities read",
        lambda graph, ends: prune(graph, ends.outputs),
        "defaults and second inputs of the stripped nodes have no reader any more",
    ),
    Pass(
        "fold constants",
        lambda graph, ends: fold_constants(graph, ends.outputs),
        "shapes can be inferred only where sizes, axes and paddings are constants",
    ),
    Pass(
        "freeze shapes",
        lambda graph, ends: freeze_shapes(graph, ends.input),
        "sizes computed from known shapes become constants, which leaves more to fold",
    ),
    Pass(
        "prune what computed the shapes",
        lambda graph, ends: prune(graph, ends.outputs),
        "the nodes that computed the frozen sizes have no reader any more",
    ),
    Pass(
        "fold constants computed from shapes",
        lambda graph, ends: fold_constants(graph, ends.outputs),
        "the frozen sizes make further nodes constant",
    ),
    Pass(
        "fold batch norms",
        lambda graph, ends: fold_batch_norms(graph, ends.outputs),
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
    ends = Endpoints(split_tensor(input)[0], names)
    for each in PASSES:
        graph = each.run(graph, ends)
    return graph
