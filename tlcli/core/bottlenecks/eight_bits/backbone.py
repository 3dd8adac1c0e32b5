"""Backbones by integers of 8 bits: which are offered, their fingerprints and their files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from tlcli.backbone import INPUT, Backbone
from tlcli.core.bottlenecks.eight_bits.pixels import calibration_pixels
from tlcli.core.bottlenecks.engines import LiteRTBackbone
from tlcli.errors import BackboneError
from tlcli.litert.quantized.quantize import check_installed, quantize
from tlcli.litert.writer import write_model
from tlcli.system.cache_folders import compiled_folder
from tlcli.system.file_cache import FileCache
from tlcli.text import joined

MEASURED = ("efficientnet_lite0", "efficientnet_lite1")
"""Backbones whose accuracy was measured to stay within half a point of float32's."""
MEASURED_WITH_MAPS = ("efficientnet_lite2",)
"""Those of which this holds only together with the averages of further maps."""

# Part of the fingerprint: raise it when the quantisation or the pixels change any vector.
_VERSION = 1
_SOURCES = ("backbones", "core/bottlenecks/eight_bits", "graph", "litert")


def in_int8(backbone: Backbone) -> Backbone:
    """Return the backbone with vectors by integers of 8 bits, with a fingerprint of their own.

    Args:
        backbone: in float32; of a joined one all parts are changed.

    Raises:
        BackboneError: its accuracy was not measured, or fell by more than half a point.
        OutputError: ai-edge-quantizer is not installed.
    """
    for part in backbone.parts or (backbone,):
        offered = (*MEASURED, *MEASURED_WITH_MAPS) if part.blocks else MEASURED
        if part.name not in offered:
            raise BackboneError(
                f"--precision int8 is offered for {joined(MEASURED)} and, with --layers ms, "
                f"{joined(MEASURED_WITH_MAPS)}, whose accuracy was measured to stay within half a "
                f"percentage point, and not for this use of {part.name}; leave --precision out"
            )
    check_installed()
    return _in_int8(backbone)


def _in_int8(backbone: Backbone) -> Backbone:
    mark = json.dumps([backbone.fingerprint, "int8", _VERSION])
    fingerprint = hashlib.sha256(mark.encode()).hexdigest()
    parts = tuple(_in_int8(part) for part in backbone.parts)
    return replace(backbone, fingerprint=fingerprint, int8=True, parts=parts)


def int8_engine(backbone: Backbone, folder: Path | None = None) -> LiteRTBackbone:
    """Return an engine that runs a backbone by integers of 8 bits.

    The network is quantised once; its file is cached, so that the graph is loaded once.

    Args:
        backbone: a result of `in_int8`, not joined.
        folder: of cached files; None: in the cache folder.

    Raises:
        BackboneError: the backbone cannot be loaded.
        GraphError: its graph has operations that LiteRT lacks, or it cannot be run.
        OutputError: it cannot be quantised.
    """
    files = FileCache(compiled_folder() if folder is None else folder, _SOURCES)
    key = (backbone.fingerprint, "int8")
    found = files.find(key, read=True)
    if found is not None:
        return LiteRTBackbone(bytes(found.content))
    graph = backbone.load_graph()
    content = write_model(graph.graph, INPUT, graph.output)
    pixels = calibration_pixels(backbone.height, backbone.width)
    made = quantize(content, [pixels], float_start=True)
    files.store(key, {"fingerprint": backbone.fingerprint}, made)
    return LiteRTBackbone(made)
