"""Cache of exported backbones, so that a later run need not load one.

An entry is the serialised backbone of an exported graph. Serialised GraphDefs concatenate: the
final layer's nodes are appended to the backbone's, and the bytes are those of a new export. Of
the LiteRT file the whole is cached, one for each number of labels, and the final layer's numbers
replace those in it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.core.export.frozen_graph import FINAL_NODES, final_nodes, serialise
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.graph.messages import GraphDef
from tlcli.system.cache_folders import compiled_folder
from tlcli.system.file_cache import FileCache

_log = logging.getLogger("tlcli")

# What loads a backbone, simplifies it and writes it.
BACKBONE_SOURCES = ("backbones", "core/export", "graph", "litert")


class BackboneCache:
    """The cached files of one backbone, for one name of the output.

    Args:
        fingerprint: of the backbone.
        final_tensor_name: name of the softmax node.
        trust: whether the operations of the backbone went unchecked: such an entry must never
            serve a run that checks them.
        folder: where the files are or will be; None: in the cache folder.
    """

    def __init__(
        self,
        fingerprint: str,
        final_tensor_name: str,
        *,
        trust: bool = False,
        folder: Path | None = None,
    ) -> None:
        self._name = final_tensor_name
        self._files = FileCache(compiled_folder() if folder is None else folder, BACKBONE_SOURCES)
        self._key = (fingerprint, final_tensor_name, trust)

    def graph(self, layer: FinalLayer) -> bytes | None:
        """Return the classifier's serialised GraphDef, or None where no backbone is cached."""
        found = self._files.find((*self._key, "graph"), read=True)
        if found is None or found.facts["size"] != len(layer.weights):
            return None
        end = found.facts["nodes_end"]
        last = final_nodes(found.facts["bottleneck"], layer, self._name)
        nodes = serialise(GraphDef(node=last))
        return b"".join([found.content[:end], nodes, found.content[end:]])

    def store_graph(self, graph: Any, content: bytes) -> None:
        """Store the backbone of a graph that `frozen_graph.append_final_layer` returned.

        ``content`` is the graph, serialised.
        """
        names = {node.name for node in graph.node}
        last = graph.node[-FINAL_NODES:]
        rest = type(graph)()
        rest.CopyFrom(graph)
        rest.ClearField("node")
        nodes, tail = serialise(GraphDef(node=last)), serialise(rest)
        end = len(content) - len(tail) - len(nodes)
        # What is appended later replaces these nodes, so they must be a part of their own, and
        # no name may occur twice.
        if (
            len(names) != len(graph.node)
            or last[-1].name != self._name
            or content[end:] != nodes + tail
        ):
            _log.debug("the backbone is not cached: its end is not the final layer")
            return
        size = int(last[0].attr["value"].tensor.tensor_shape.dim[0].size)
        facts = {"bottleneck": last[2].input[0], "size": size, "nodes_end": end}
        facts["fingerprint"] = self._key[0]
        self._files.store((*self._key, "graph"), facts, memoryview(content)[:end], tail)

    def litert(self, layer: FinalLayer) -> bytes | None:
        """Return the classifier as a LiteRT file; None where none of as many labels is cached."""
        found = self._files.find(self._litert_key(layer), read=True)
        if found is None or found.facts["size"] != len(layer.weights):
            return None
        content = bytearray(found.content)
        for name, values in _litert_numbers(layer).items():
            start = found.facts[name]
            content[start : start + len(values)] = values
        return bytes(content)

    def store_litert(self, layer: FinalLayer, content: bytes) -> None:
        """Store a LiteRT file if it contains the layer's weights and biases exactly once."""
        facts: dict[str, Any] = {"size": len(layer.weights), "fingerprint": self._key[0]}
        for name, values in _litert_numbers(layer).items():
            facts[name] = content.find(values)
            if facts[name] < 0 or content.find(values, facts[name] + 1) >= 0:
                _log.debug("the LiteRT file is not cached: it has the %s not exactly once", name)
                return
        self._files.store(self._litert_key(layer), facts, content)

    def _litert_key(self, layer: FinalLayer) -> tuple[object, ...]:
        key = (*self._key, "litert", len(layer.biases))
        return key if layer.activation == "softmax" else (*key, layer.activation)


def _litert_numbers(layer: FinalLayer) -> dict[str, bytes]:
    """Return the layer's numbers in LiteRT's order: weights [L, D], biases [L]."""
    weights = np.ascontiguousarray(layer.weights.T, "<f4")
    return {"weights": weights.tobytes(), "biases": layer.biases.astype("<f4").tobytes()}
