"""A graph that doubles its input."""

from __future__ import annotations

import numpy as np

from tlcli.graph.messages import GraphDef
from tlcli.graph.nodes import const, new_graph, node, placeholder


def doubling() -> GraphDef:
    return new_graph(
        [
            placeholder("x", np.float32, [None, 2]),
            const("two", np.array(2, np.float32)),
            node("y", "Mul", ["x", "two"], T=np.float32),
        ]
    )
