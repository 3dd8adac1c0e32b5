"""Runs the part of a network before its averages: the feature maps of several layers in one run."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.arrays import Array
from tlcli.core.heat_maps.linear_head import NoActivationMapError
from tlcli.errors import GraphError, OutputError
from tlcli.graph.nodes import const, node
from tlcli.graph.shapes import infer_shapes
from tlcli.graph.surgery import copy_graph, take_name
from tlcli.system.closing import Closing

if TYPE_CHECKING:
    from tlcli.litert.pool import LiteRTPool
    from tlcli.runtime.tensorflow import GraphEngine

# (h, w, C)
_Size = tuple[int, int, int]


class FeatureMaps(Closing):
    """Gives feature maps of images, to several threads at once where LiteRT runs the graph.

    Args:
        graph: a frozen ``GraphDef``, plain as exported or as `simplify` leaves it.
        input: name of its placeholder.
        features: names of nodes whose outputs 0 are the maps.
        allow_tensorflow: import TensorFlow (seconds) for a graph that LiteRT cannot run.

    Raises:
        NoActivationMapError: LiteRT cannot run it, or several maps have no known sizes.
        GraphError: the graph cannot be run.
    """

    def __init__(
        self, graph: Any, input: str, features: Sequence[str], *, allow_tensorflow: bool
    ) -> None:
        self._shapes: list[_Size] | None = None
        output = features[0]
        if len(features) > 1:
            self._shapes = _map_shapes(graph, input, features)
            graph, output = joined_maps(graph, features, self._shapes)
        self._engine = _engine(graph, input, output, allow_tensorflow)

    def run(self, batch: Array) -> list[Array]:
        """Return each map, float32 [n, h, w, C], of a batch [n, height, width, 3].

        Raises:
            GraphError: the graph cannot be run.
        """
        found = np.asarray(self._engine.run(batch))
        if self._shapes is None:
            return [found]
        sizes = [math.prod(shape) for shape in self._shapes]
        parts = np.split(found, np.cumsum(sizes)[:-1], axis=1)
        return [
            part.reshape(len(found), *shape)
            for part, shape in zip(parts, self._shapes, strict=True)
        ]

    def close(self) -> None:
        """Release the graph; no maps afterwards."""
        self._engine.close()


def litert_content(graph: Any, input: str, features: Sequence[str]) -> bytes:
    """Return the LiteRT file that `FeatureMaps` runs.

    Raises:
        GraphError: LiteRT cannot run it.
        OutputError: it would have more than 2 GB.
    """
    from tlcli.litert.writer import write_model

    output = features[0]
    if len(features) > 1:
        shapes = _map_shapes(graph, input, features)
        graph, output = joined_maps(graph, features, shapes)
    return write_model(graph, input, output)


def joined_maps(graph: Any, features: Sequence[str], shapes: Sequence[_Size]) -> tuple[Any, str]:
    """Return a graph with one more output, the values of all maps of an image, and its name."""
    taken = {each.name for each in graph.node}
    result = copy_graph(graph, graph.node)
    flat = []
    for name, shape in zip(features, shapes, strict=True):
        target = take_name("maps/size", taken)
        flat.append(take_name("maps/flat", taken))
        size = np.array([-1, math.prod(shape)], np.int32)
        result.node.append(const(target, size))
        result.node.append(node(flat[-1], "Reshape", [name, target], T=np.float32, Tshape=np.int32))
    axis, output = take_name("maps/axis", taken), take_name("maps/all", taken)
    result.node.append(const(axis, np.array(1, np.int32)))
    result.node.append(
        node(output, "ConcatV2", [*flat, axis], T=np.float32, N=len(flat), Tidx=np.int32)
    )
    return result, output


def _map_shapes(graph: Any, input: str, features: Sequence[str]) -> list[_Size]:
    shapes = infer_shapes(graph, input, outputs=features)
    found: list[_Size] = []
    for name in features:
        size = [side for side in shapes.get(name, ())[1:] if side is not None]
        if len(size) != 3:
            raise NoActivationMapError(f"the size of its feature map {name!r} is not known")
        found.append((size[0], size[1], size[2]))
    return found


def _engine(
    graph: Any, input: str, output: str, allow_tensorflow: bool
) -> LiteRTPool | GraphEngine:
    from tlcli.litert.pool import LiteRTPool
    from tlcli.litert.writer import write_model
    from tlcli.runtime.tensorflow import GraphEngine

    try:
        return LiteRTPool(write_model(graph, input, output))
    except (GraphError, OutputError) as error:
        if not allow_tensorflow and "tensorflow" not in sys.modules:
            raise NoActivationMapError(f"LiteRT does not run it: {error}") from error
    return GraphEngine(graph, input, output)
