"""A backbone that gives the mean of each channel, and pictures of one colour for it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from tlcli.backbone import Backbone, BackboneGraph
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.extraction import BATCH_SIZE, Request
from tlcli.system.digests import sha256_bytes

SIDE, SIZE = 8, 3


class FakeEngine:
    """Gives the mean of each channel; ``before`` is called with the number of the batch."""

    thread_batch_size = 0
    before: Callable[[int], None] = staticmethod(lambda number: None)
    batches: ClassVar[list[int]] = []
    opened = closed = 0

    def __init__(self, graph: BackboneGraph, height: int, width: int, count: int) -> None:
        assert (graph.graph, graph.output, height, width) == ("graph", "out", SIDE, SIDE)
        assert count > 0
        self.batch_size = BATCH_SIZE if graph.any_batch else 1
        type(self).opened += 1

    def run(self, batch: np.ndarray) -> np.ndarray:
        type(self).before(len(self.batches))
        assert batch.dtype == np.float32
        assert 0 <= batch.min() <= batch.max() <= 1
        self.batches.append(len(batch))
        return batch.mean((1, 2))

    def close(self) -> None:
        type(self).closed += 1


def backbone(any_batch: bool = True, size: int | None = SIZE) -> Backbone:
    return Backbone(
        "fake", "nowhere", "unknown", SIDE, SIDE, "fingerprint", size,
        lambda: BackboneGraph("graph", "out", SIZE, any_batch),
    )  # fmt: skip


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (number, 2 * number % 256, 255 - number)).save(file, "PNG")
    return file.getvalue()


def wanted(path: Path, data: bytes, view: int | None = None) -> Request:
    path.write_bytes(data)
    return Request(path, sha256_bytes(data), view)


def pictures(folder: Path, count: int) -> list[Request]:
    return [wanted(folder / f"{i}.png", picture(i)) for i in range(count)]


def stored(store: BottleneckStore, requests: list[Request]) -> int:
    return len(store.get("fingerprint", None, [request.content for request in requests]))
