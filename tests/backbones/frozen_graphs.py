"""Small frozen graphs in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tlcli.graph.nodes import const, new_graph, node

FLOAT = np.float32


def written(folder: Path, nodes: list[Any], producer: int = 134) -> Path:
    graph = new_graph(nodes)
    graph.versions.producer = producer
    path = folder / "graph.pb"
    path.write_bytes(graph.SerializeToString())
    return path


def pooled(name: str = "features", source: str = "x") -> list[Any]:
    return [
        const(f"{name}/axes", np.array([1, 2], np.int32)),
        node(name, "Mean", [source, f"{name}/axes"], T=FLOAT, Tidx=np.int32, keep_dims=False),
    ]
