"""LiteRT files in float32, with weights of 16 bits, and in 8-bit integers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tlcli.arrays import Array
from tlcli.core.export.embedded_card import embed_card
from tlcli.core.formats.network import Network
from tlcli.litert.interpreter import LiteRTEngine


def write_litert(network: Network, kind: str, path: Path, batches: Iterable[Array]) -> None:
    """Write a classifier as a LiteRT file with its labels and input specification.

    Args:
        network: the classifier.
        kind: "tflite", "tflite-float16" or "tflite-int8".
        path: of the file.
        batches: images float32 [1, height, width, 3] for "tflite-int8", by which the range of
            each value is found.

    Raises:
        OutputError: it cannot be converted.
    """
    content = network.litert
    card = network.model_card()
    path.write_bytes(
        embed_card(
            content,
            labels=network.labels,
            input=card.input,
            output=card.output,
            thresholds=network.thresholds,
        )
    )


def open_litert(path: Path) -> LiteRTEngine:
    """Return what runs a LiteRT file on one processor.

    Raises:
        GraphError: it cannot be loaded.
    """
    return LiteRTEngine(path, threads=1)
