"""Backbones as they are exported, kept in the cache, so that a later run loads none.

What is kept is the serialised backbone of an exported graph. Serialised GraphDefs
concatenate: the final layer's nodes are put behind the backbone's, and the bytes are those that
exporting anew would give. Of the LiteRT file the whole is kept, one for each number of labels,
and the final layer's numbers are written over those that it holds.

Nothing kept is believed: each file begins with the SHA-256 of all that follows, and what does
not fit is a miss. The name of a file stands for all that its content depends on.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlcli._version import __version__
from tlcli.core.export.frozen_graph import FINAL_NODES, final_nodes, serialise
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import TlcliError
from tlcli.system.atomic_files import atomic_path
from tlcli.system.bounded_folder import LARGEST_FOLDER, make_room, mark_used
from tlcli.system.cache_folders import compiled_folder

logger = logging.getLogger("tlcli")

# Raise it when the same backbone is exported as other nodes than before.
_FORMAT = 1
_DIGEST = hashlib.sha256().digest_size
_LENGTH = 8


@dataclass(frozen=True)
class _Kept:
    facts: dict[str, Any]
    content: memoryview


class BackboneCache:
    """What is kept of one backbone, for one name of the output.

    Args:
        fingerprint: of the backbone.
        final_tensor_name: name of the softmax node.
        trust: whether the backbone was taken without a look at its operations: one that was
            must never serve a run that wants the look.
        folder: where the files lie or will be made; None: in the cache folder.
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
        self._folder = compiled_folder() if folder is None else folder
        parts = (_FORMAT, __version__, fingerprint, final_tensor_name, trust)
        self._key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]

    def graph(self, layer: FinalLayer) -> bytes | None:
        """Return the classifier's serialised GraphDef, or None where no backbone is kept."""
        kept = self._read(f"{self._key}.graph")
        if kept is None or kept.facts["size"] != len(layer.weights):
            return None
        end = kept.facts["nodes_end"]
        nodes = serialise_nodes(final_nodes(kept.facts["bottleneck"], layer, self._name))
        return b"".join([kept.content[:end], nodes, kept.content[end:]])

    def keep_graph(self, graph: Any, content: bytes) -> None:
        """Keep the backbone of a graph that `export.append_final_layer` returned.

        Args:
            graph: the ``GraphDef``.
            content: the same, serialised.
        """
        names = {node.name for node in graph.node}
        last = graph.node[-FINAL_NODES:]
        rest = type(graph)()
        rest.CopyFrom(graph)
        rest.ClearField("node")
        nodes, tail = serialise_nodes(last), serialise(rest)
        end = len(content) - len(tail) - len(nodes)
        # What is appended later takes the place of these nodes, so they must be a part of their
        # own, and no name may come twice.
        if (
            len(names) != len(graph.node)
            or last[-1].name != self._name
            or content[end:] != nodes + tail
        ):
            logger.debug("the backbone is not kept: its end is not the final layer")
            return
        size = int(last[0].attr["value"].tensor.tensor_shape.dim[0].size)
        facts = {"bottleneck": last[2].input[0], "size": size, "nodes_end": end}
        self._write(f"{self._key}.graph", facts, [memoryview(content)[:end], tail])

    def litert(self, layer: FinalLayer) -> bytes | None:
        """Return the classifier as a LiteRT file, or None where none of as many labels is kept."""
        kept = self._read(f"{self._key}-{len(layer.biases)}.litert")
        if kept is None or kept.facts["size"] != len(layer.weights):
            return None
        content = bytearray(kept.content)
        for name, values in _litert_numbers(layer).items():
            start = kept.facts[name]
            content[start : start + len(values)] = values
        return bytes(content)

    def keep_litert(self, layer: FinalLayer, content: bytes) -> None:
        """Keep a LiteRT file if the layer's numbers are found in it, in one place each."""
        facts: dict[str, Any] = {"size": len(layer.weights)}
        for name, values in _litert_numbers(layer).items():
            facts[name] = content.find(values)
            if facts[name] < 0 or content.find(values, facts[name] + 1) >= 0:
                logger.debug("the LiteRT file is not kept: no one place for the %s", name)
                return
        self._write(f"{self._key}-{len(layer.biases)}.litert", facts, [content])

    def _read(self, name: str) -> _Kept | None:
        path = self._folder / name
        try:
            data = path.read_bytes()
        except OSError:
            return None
        body = memoryview(data)[_DIGEST:]
        if hashlib.sha256(body).digest() != data[:_DIGEST]:
            logger.debug("%s is damaged and not used", path)
            return None
        start = _LENGTH + int.from_bytes(body[:_LENGTH], "little")
        mark_used(path)
        return _Kept(json.loads(bytes(body[_LENGTH:start])), body[start:])

    def _write(
        self, name: str, facts: Mapping[str, Any], parts: Sequence[bytes | memoryview]
    ) -> None:
        """Write a file; a cache that cannot be written is no reason to stop."""
        size = sum(map(len, parts))
        if size > LARGEST_FOLDER // 2:
            return
        text = json.dumps(facts).encode()
        head = len(text).to_bytes(_LENGTH, "little") + text
        digest = hashlib.sha256(head)
        for part in parts:
            digest.update(part)
        path = self._folder / name
        try:
            # Not flushed to the disk: what a power cut leaves has another SHA-256.
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                file.writelines([digest.digest(), head, *parts])
            make_room(self._folder, LARGEST_FOLDER)
        except (OSError, TlcliError) as error:
            logger.debug("%s is not kept: %s", path, error)


def serialise_nodes(nodes: Sequence[Any]) -> bytes:
    """Return nodes as a serialised GraphDef that holds nothing else."""
    from tlcli.graph.messages import GraphDef

    return serialise(GraphDef(node=nodes))


def _litert_numbers(layer: FinalLayer) -> dict[str, bytes]:
    """Return the layer's numbers in LiteRT's order: weights [L, D], biases [L]."""
    weights = np.ascontiguousarray(layer.weights.T, "<f4")
    return {"weights": weights.tobytes(), "biases": layer.biases.astype("<f4").tobytes()}
