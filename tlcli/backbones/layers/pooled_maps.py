"""Vectors of several layers: the bottleneck, and averages of further maps of the same network.

One run of the network gives all of them, as one output of plain operations: each map is averaged
over its places, and the averages follow the bottleneck in one vector. Values are not scaled here;
`tlcli.core.fitting` brings the blocks to one scale.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from tlcli.backbone import Backbone, BackboneGraph, FeatureBlock
from tlcli.backbones.layers.stage_maps import HEAD_WEIGHT, StageMap, find_stage_maps
from tlcli.errors import BackboneError, GraphError
from tlcli.graph.nodes import const, node
from tlcli.graph.surgery import copy_graph, take_name
from tlcli.system.cache_folders import compiled_folder
from tlcli.system.file_cache import FileCache

# Part of the fingerprint: raise it when the operations below change any vector.
_VERSION = 1
_SOURCES = ("backbones", "graph")


class NoStageMapsError(BackboneError):
    """The graph of a backbone shows no maps beside its bottleneck.

    Attributes:
        name: of the backbone.
        reason: why, as a part of a sentence.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"--layers ms needs maps of the backbone {name} beside its bottleneck, and {reason}; "
            "use --layers head, or another --module"
        )
        self.name, self.reason = name, reason


@dataclass(frozen=True)
class _Facts:
    """What is known of a loaded backbone: D of the bottleneck, and the maps beside it."""

    size: int
    maps: tuple[StageMap, ...]


def with_pooled_maps(backbone: Backbone) -> Backbone:
    """Return a backbone whose vectors are the bottleneck and the averages of further maps.

    Which maps is found once per backbone and cached: later calls do not load its graph. Of a
    joined backbone each part gets its maps.

    Raises:
        NoStageMapsError: its graph shows no such maps.
        BackboneError: it cannot be loaded.
    """
    if backbone.parts:
        from tlcli.backbones.layers.joined import join

        return join([with_pooled_maps(part) for part in backbone.parts])
    load_graph = functools.cache(backbone.load_graph)
    facts = _facts(replace(backbone, load_graph=load_graph))
    blocks = (
        FeatureBlock("head", facts.size, HEAD_WEIGHT),
        *(FeatureBlock(each.name, each.size, each.weight) for each in facts.maps),
    )
    # The maps are a part of it, so that another choice of them never meets old vectors.
    mark = [backbone.fingerprint, "ms", _VERSION, *(each.tensor for each in facts.maps)]

    def load() -> BackboneGraph:
        return _joined_maps(load_graph(), facts.maps, blocks)

    return replace(
        backbone,
        fingerprint=hashlib.sha256(json.dumps(mark).encode()).hexdigest(),
        bottleneck_size=sum(block.size for block in blocks),
        load_graph=load,
        blocks=blocks,
    )


def _facts(backbone: Backbone) -> _Facts:
    cache = FileCache(compiled_folder(), _SOURCES)
    key = (backbone.fingerprint, "stage maps")
    found = cache.find(key)
    if found is not None:
        maps = tuple(StageMap(*each) for each in found.facts["maps"])
        return _Facts(found.facts["size"], maps)
    loaded = backbone.load_graph()
    try:
        facts = _Facts(
            loaded.bottleneck_size, find_stage_maps(loaded, backbone.height, backbone.width)
        )
    except GraphError as error:
        raise NoStageMapsError(backbone.name, str(error)) from error
    stored = {"size": facts.size, "maps": [astuple(each) for each in facts.maps]}
    cache.store(key, {**stored, "fingerprint": backbone.fingerprint})
    return facts


def _joined_maps(
    loaded: BackboneGraph, maps: Sequence[StageMap], blocks: tuple[FeatureBlock, ...]
) -> BackboneGraph:
    """Return the graph with one output: the bottleneck, then the average of each map."""
    taken = {each.name for each in loaded.graph.node}
    axes = const(take_name("pooled_maps/axes", taken), np.array([1, 2], np.int32))
    nodes, parts = [axes], [loaded.output]
    for each in maps:
        name = take_name(f"pooled_maps/{each.name.rpartition('/')[2].replace(' ', '_')}", taken)
        nodes.append(
            node(
                name, "Mean", [each.tensor, axes.name],
                T=np.float32, Tidx=np.int32, keep_dims=False,
            )
        )  # fmt: skip
        parts.append(name)
    axis = const(take_name("pooled_maps/axis", taken), np.array(1, np.int32))
    output = take_name("pooled_maps/features", taken)
    joined = node(
        output, "ConcatV2", [*parts, axis.name], N=len(parts), T=np.float32, Tidx=np.int32
    )
    graph = copy_graph(loaded.graph, [*loaded.graph.node, *nodes, axis, joined])
    size = sum(block.size for block in blocks)
    return replace(loaded, graph=graph, output=output, bottleneck_size=size, blocks=blocks)
