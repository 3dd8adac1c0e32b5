"""How much work a network is, whatever machine runs it."""

from __future__ import annotations

import math
from typing import Any

from tlcli.graph.nodes import Shape
from tlcli.graph.shapes import infer_shapes
from tlcli.graph.surgery import data_inputs


def multiplications(graph: Any, input: str, shape: Shape) -> int:
    """Return the number of multiplications of a frozen graph's convolutions and matrix products.

    Layers whose shapes cannot be inferred count as none.

    Args:
        graph: a frozen graph.
        input: name of its placeholder.
        shape: of one image, [1, height, width, channels].
    """
    shapes = infer_shapes(graph, input, shape)
    return sum(_of_node(node, shapes) for node in graph.node)


def _of_node(node: Any, shapes: dict[str, Shape]) -> int:
    if node.op not in ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2"):
        return 0
    names = [name if number == 0 else f"{name}:{number}" for name, number in data_inputs(node)]
    first, second, out = (shapes.get(name) for name in (*names[:2], node.name))
    if first is None or second is None or out is None or None in (*first, *second, *out):
        return 0
    values = math.prod(size or 0 for size in out)
    if node.op == "Conv2D":
        return values * math.prod(size or 0 for size in second[:3])
    if node.op == "DepthwiseConv2dNative":
        return values * math.prod(size or 0 for size in second[:2])
    # Each value of a product sums over the size that both have in common.
    return values * math.isqrt(
        math.prod(size or 0 for size in first[-2:])
        * math.prod(size or 0 for size in second[-2:])
        // max(1, math.prod(size or 0 for size in out[-2:]))
    )
