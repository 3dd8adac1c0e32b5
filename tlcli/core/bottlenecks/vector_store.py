"""What the computation of vectors asks of where they are cached, and of where it writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Array
from tlcli.backbone import Backbone

Allocate = Callable[[tuple[int, int]], Array]
"""Returns a float32 matrix of zeros of a shape."""


def in_memory(shape: tuple[int, int]) -> Array:
    """Return zeros; rows that are never touched take no memory."""
    return np.zeros(shape, np.float32)


class VectorStore(Protocol):
    """What `compute` asks of a store; `BottleneckStore` says what the methods do."""

    def mark_used(self, fingerprint: str, name: str) -> None:
        """See `BottleneckStore.mark_used`."""

    def bottleneck_size(self, fingerprint: str) -> int | None:
        """See `BottleneckStore.bottleneck_size`."""

    def fill(
        self,
        fingerprint: str,
        view: str | None,
        contents: Sequence[str],
        matrix: Array,
        rows: Sequence[int] | None = None,
    ) -> npt.NDArray[np.bool_]:
        """See `BottleneckStore.fill`."""

    def put(self, fingerprint: str, view: str | None, vectors: Mapping[str, Array]) -> None:
        """See `BottleneckStore.put`."""

    def failures(self, contents: Iterable[str]) -> dict[str, str]:
        """See `BottleneckStore.failures`."""

    def record_failure(self, content: str, reason: str) -> None:
        """See `BottleneckStore.record_failure`."""


def vector_size(backbone: Backbone, store: VectorStore) -> int:
    """Return D of a backbone; its graph is loaded only where neither it nor the store says.

    Raises:
        BackboneError: the backbone cannot be loaded.
    """
    if backbone.parts:
        return sum(vector_size(part, store) for part in backbone.parts)
    known = backbone.bottleneck_size or store.bottleneck_size(backbone.fingerprint)
    return known or backbone.load_graph().bottleneck_size
