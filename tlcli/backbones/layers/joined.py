"""Several backbones as one, whose vectors lie one after another.

Vectors are computed and cached for each part, from images that are resized to the part's own size;
`tlcli.core.bottlenecks.extraction.compute` looks at ``Backbone.parts``. The graph, which is
exported, has one input of the largest part's size and resizes the image inside for the others.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tlcli.backbone import INPUT, Backbone, BackboneGraph, FeatureBlock
from tlcli.backbones.layers.stage_maps import HEAD_WEIGHT
from tlcli.errors import UsageError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.graph.surgery import prune, rename_nodes, replace_input, spell_tensor, split_tensor
from tlcli.system.cache_folders import compiled_folder
from tlcli.system.file_cache import FileCache

# Part of the fingerprint: raise it when the operations below change any vector.
_VERSION = 1
_SOURCES = ("backbones", "graph")
_OUTPUT = "joined/features"


def join(backbones: Sequence[Backbone]) -> Backbone:
    """Return one backbone whose vectors are those of all, in the order given.

    Args:
        backbones: two or more, in float32, none of them joined itself.

    Raises:
        UsageError: one of them is named twice.
        BackboneError: the size of a part's vector is not known and the part cannot be loaded.
    """
    name = "+".join(part.name for part in backbones)
    names: dict[str, str] = {}
    for part in backbones:
        if part.fingerprint in names:
            raise UsageError(
                f"--module {name} joins {names[part.fingerprint]} with itself; name each backbone "
                "once"
            )
        names[part.fingerprint] = part.name
    parts = tuple(replace(part, load_graph=functools.cache(part.load_graph)) for part in backbones)
    sized = [part.blocks or (FeatureBlock("head", _size(part), HEAD_WEIGHT),) for part in parts]
    blocks = tuple(
        replace(block, name=f"{part.name} {block.name}")
        for part, own in zip(parts, sized, strict=True)
        for block in own
    )
    largest = max(parts, key=lambda part: part.height * part.width)
    licences = dict.fromkeys(part.licence for part in parts)
    mark = ["joined", _VERSION, *(part.fingerprint for part in parts)]
    return Backbone(
        name=name,
        source=" + ".join(part.source for part in parts),
        licence=" AND ".join(licences),
        height=largest.height,
        width=largest.width,
        fingerprint=hashlib.sha256(json.dumps(mark).encode()).hexdigest(),
        bottleneck_size=sum(block.size for block in blocks),
        load_graph=functools.partial(_load, parts, blocks, (largest.height, largest.width)),
        parts=parts,
        blocks=blocks,
    )


def _size(part: Backbone) -> int:
    """Return D of a part, of which the graph is loaded at most once ever."""
    if part.bottleneck_size is not None:
        return part.bottleneck_size
    cache, key = FileCache(compiled_folder(), _SOURCES), (part.fingerprint, "bottleneck size")
    found = cache.find(key)
    if found is not None:
        return int(found.facts["size"])
    size = part.load_graph().bottleneck_size
    cache.store(key, {"size": size, "fingerprint": part.fingerprint})
    return size


def _load(
    parts: Sequence[Backbone], blocks: tuple[FeatureBlock, ...], size: tuple[int, int]
) -> BackboneGraph:
    """Return the graph of all parts, which takes images of ``size`` (height, width)."""
    result = new_graph([placeholder(INPUT, np.float32, [None, *size, 3])])
    outputs, any_batch = [], True
    for number, part in enumerate(parts, 1):
        loaded = part.load_graph()
        nodes, output = _part_nodes(loaded, (part.height, part.width), size, f"backbone_{number}")
        result.node.extend(nodes)
        outputs.append(output)
        any_batch = any_batch and loaded.any_batch
    result.node.extend(
        [
            const(f"{_OUTPUT}/axis", np.array(1, np.int32)),
            node(
                _OUTPUT, "ConcatV2", [*outputs, f"{_OUTPUT}/axis"],
                N=len(outputs), T=np.float32, Tidx=np.int32,
            ),
        ]
    )  # fmt: skip
    total = sum(block.size for block in blocks)
    return BackboneGraph(result, _OUTPUT, total, any_batch, blocks)


def _part_nodes(
    loaded: BackboneGraph, own: tuple[int, int], size: tuple[int, int], scope: str
) -> tuple[list[Any], str]:
    """Return a part's nodes, all named below ``scope``, and its output.

    They read images of ``size`` from `INPUT`; ``own`` is the size that the part takes.
    """
    graph = rename_nodes(prune(loaded.graph, [loaded.output]), lambda name: f"{scope}/{name}")
    old = f"{scope}/{INPUT}"
    graph = replace_input(graph, old, [*_resized(f"{scope}/resized", own, size)])
    name, number = split_tensor(loaded.output)
    output = spell_tensor(f"{scope}/{name}", number)
    kept = [each for each in graph.node if each.name not in (old, INPUT)]
    return kept, output


def _resized(name: str, own: tuple[int, int], size: tuple[int, int]) -> list[Any]:
    """Return nodes of which the last gives images of the size ``own``, the first is `INPUT`."""
    source = placeholder(INPUT, np.float32, [None, *size, 3])
    if own == size:
        return [source]
    sides = const(f"{name}/size", np.array(own, np.int32))
    resize = node(
        name, "ResizeBilinear", [INPUT, sides.name],
        T=np.float32, align_corners=False, half_pixel_centers=True,
    )  # fmt: skip
    return [source, sides, resize]
