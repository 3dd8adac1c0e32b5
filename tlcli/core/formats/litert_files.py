"""LiteRT files in float32, with weights of 16 bits, and in 8-bit integers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tlcli.arrays import Array
from tlcli.core.export.embedded_card import embed_card
from tlcli.core.export.packing import with_metadata
from tlcli.core.formats.network import Network
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.quantized.edge_tpu import check_edge_tpu
from tlcli.litert.quantized.quantize import half, quantize

EDGE_TPU = "tflite-edgetpu"


def write_litert(network: Network, kind: str, path: Path, batches: Iterable[Array]) -> None:
    """Write a classifier as a LiteRT file with its labels and input specification.

    Args:
        network: the classifier.
        kind: "tflite", "tflite-float16", "tflite-int8" or "tflite-edgetpu".
        path: of the file.
        batches: images float32 [1, height, width, 3] for those in 8 bits, by which the range of
            each value is found.

    Raises:
        OutputError: it cannot be converted.
    """
    content = network.litert
    if kind == "tflite-float16":
        content = half(content)
    elif kind in ("tflite-int8", EDGE_TPU):
        given = network.preprocessing
        channels = 1 if given.channels == "grey" else 3
        black, white = given.scale(np.array([[0], [255]], np.uint8).repeat(channels, axis=1))
        content = quantize(content, batches, kind == EDGE_TPU, extremes=(black, white))
    path.write_bytes(_with_labels(network, content))


def _with_labels(network: Network, content: bytes) -> bytes:
    """Return a file with metadata and model card, as far as both can describe its input."""
    if network.card is None and network.graph is None:
        return content  # another tool's file, which keeps what it has
    if not network.gives_one_score:  # of which the metadata has no word
        content = with_metadata(content, network.labels, thresholds=network.thresholds)
    card = network.model_card()
    return embed_card(
        content,
        labels=network.labels,
        input=card.input,
        output=card.output,
        thresholds=network.thresholds,
    )


def edge_tpu_remark(path: Path) -> str:
    """Return which operators of a file an Edge TPU runs, in a sentence without its full stop."""
    return str(check_edge_tpu(path.read_bytes()))


def open_litert(path: Path) -> LiteRTEngine:
    """Return what runs a LiteRT file on one processor.

    Raises:
        GraphError: it cannot be loaded.
    """
    return LiteRTEngine(path, threads=1)
