"""The part of a network that stays as it is: photos to what the trained part reads, kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlcli.arrays import Floats, Indices
from tlcli.backbone import INPUT, BackboneGraph
from tlcli.core.bottlenecks.engine_choice import backbone_engine
from tlcli.core.fine_tuning.pictures import Pictures
from tlcli.core.fine_tuning.trained_part import TrainedPart
from tlcli.graph.nodes import const, node
from tlcli.graph.surgery import copy_graph, prune, take_name
from tlcli.system.closing import Closing

BATCH_SIZE = 32
"""Photos that are read and computed at once."""
PLAIN = 0
"""Number of the view that is the photo itself; the others are flipped and cropped."""
KEPT_BYTES = 1 << 30
"""Bytes of results that are kept in memory."""
VIEWS = 6
"""Views of each photo that are kept where the trained part is small, the photo itself included."""


class UntrainedPart(Closing):
    """The layers before the trained ones.

    They run where bottlenecks are computed, which for a CPU is LiteRT: it takes half of the time
    that TensorFlow takes.

    Args:
        backbone: the whole network.
        part: what of it is trained.
        size: height and width of the input, in pixels.
        count: images that will be run, about.

    Attributes:
        size: V, the values that the trained part reads of one image.
    """

    def __init__(
        self, backbone: BackboneGraph, part: TrainedPart, size: tuple[int, int], count: int
    ) -> None:
        self.size = part.size
        self._shapes, self._engine = part.shapes, None
        if part.boundary != (INPUT,):
            self._engine = backbone_engine(_flat(backbone, part), *size, count)

    def run(self, pixels: Floats) -> Floats:
        """Return what the trained part reads for images, float32 [n, V], flattened.

        Args:
            pixels: float32 [n, height, width, 3] in [0, 1].
        """
        if self._engine is None:
            return pixels.reshape(len(pixels), -1)
        found: Floats = self._engine.run(pixels)
        return found

    def tensors(self, values: Floats) -> list[Floats]:
        """Return such values as one array [n, ...] per tensor of `TrainedPart.boundary`."""
        found: list[Floats] = []
        start = 0
        for shape in self._shapes:
            end = start + int(np.prod(shape))
            found.append(values[:, start:end].reshape(-1, *shape))
            start = end
        return found

    def close(self) -> None:
        """Release the engine."""
        if self._engine is not None:
            self._engine.close()


class Maps:
    """What the trained part reads of photos, each view computed once where memory allows.

    Args:
        untrained: computes it.
        pictures: the photos.
        largest: bytes that are kept.
    """

    def __init__(
        self, untrained: UntrainedPart, pictures: Pictures, largest: int = KEPT_BYTES
    ) -> None:
        self._untrained, self._pictures = untrained, pictures
        self._left, self._largest = largest, largest
        self._kept: dict[tuple[int, int], Floats] = {}

    def of(self, rows: Indices, views: Sequence[int], keep: bool = True) -> list[Floats]:
        """Return one array [n, ...] per tensor at the border.

        Args:
            rows: of the photos.
            views: number of the view of each, `PLAIN` or any other.
            keep: these views will be asked for again.

        Raises:
            DataError: a photo changed or disappeared.
        """
        wanted = list(zip(rows.tolist(), views, strict=True))
        found = {each: self._kept[each] for each in wanted if each in self._kept}
        for view in sorted({view for row, view in wanted if (row, view) not in found}):
            missing = np.array(
                [row for row, its in wanted if its == view and (row, its) not in found], np.intp
            )
            for start in range(0, len(missing), BATCH_SIZE):
                batch = missing[start : start + BATCH_SIZE]
                pixels = self._pictures
                values = self._untrained.run(
                    pixels.plain(batch) if view == PLAIN else pixels.view(batch, view)
                )
                for row, each in zip(batch.tolist(), values, strict=True):
                    found[row, view] = each
                    if keep and self._left >= each.nbytes:
                        self._left -= each.nbytes
                        self._kept[row, view] = each.copy()
        return self._untrained.tensors(np.stack([found[each] for each in wanted]))

    @property
    def views_that_fit(self) -> int:
        """How many views of all photos can be kept, up to `VIEWS`."""
        each = 4 * max(1, self._untrained.size * len(self._pictures))
        return min(VIEWS, self._largest // each)

    def plain(self, rows: Indices) -> list[Floats]:
        """Return the same of the photos themselves."""
        return self.of(rows, [PLAIN] * len(rows))


def _flat(backbone: BackboneGraph, part: TrainedPart) -> BackboneGraph:
    """Return the untrained part with one output: the tensors at the border, side by side."""
    graph = prune(backbone.graph, part.boundary)
    taken = {each.name for each in graph.node}
    names, nodes = [], []
    for tensor, shape in zip(part.boundary, part.shapes, strict=True):
        size = take_name("border/size", taken)
        names.append(take_name("border/flat", taken))
        nodes += [
            const(size, np.array([-1, np.prod(shape)], np.int32)),
            node(names[-1], "Reshape", [tensor, size], T=np.float32, Tshape=np.int32),
        ]
    if len(names) > 1:
        axis = take_name("border/axis", taken)
        nodes.append(const(axis, np.array(1, np.int32)))
        joined = take_name("border/joined", taken)
        nodes.append(
            node(joined, "ConcatV2", [*names, axis], N=len(names), T=np.float32, Tidx=np.int32)
        )
        names = [joined]
    total = sum(int(np.prod(shape)) for shape in part.shapes)
    return BackboneGraph(copy_graph(graph, [*graph.node, *nodes]), names[0], total)
