"""Convolutions of single pixels as matrix products, whose gradients TensorFlow computes faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tlcli.graph.constant_ops import attribute_value
from tlcli.graph.nodes import DataType, Shape, const, node
from tlcli.graph.surgery import copy_graph, data_inputs, spell_tensor, take_name


def as_matrix_products(graph: Any, shapes: Mapping[str, Shape]) -> Any:
    """Return a graph that computes the same, with no 1 x 1 convolution left.

    Args:
        graph: a frozen graph.
        shapes: of its tensors for one image, as far as they are known.
    """
    taken = {each.name for each in graph.node}
    nodes: list[Any] = []
    for each in graph.node:
        found = _sizes(each, shapes)
        if found is None:
            nodes.append(each)
            continue
        flat, flat_shape, kernel, kernel_shape, product, sizes = (
            take_name(f"{each.name}/{name}", taken)
            for name in ("flat", "flat_shape", "kernel", "kernel_shape", "product", "shape")
        )
        height, width, before, after = found
        image, weights = each.input[:2]
        nodes += [
            const(flat_shape, np.array([-1, before], np.int32)),
            const(kernel_shape, np.array([before, after], np.int32)),
            const(sizes, np.array([-1, height, width, after], np.int32)),
            _reshape(flat, image, flat_shape),
            _reshape(kernel, weights, kernel_shape),
            node(
                product, "MatMul", [flat, kernel], T=np.float32, transpose_a=False,
                transpose_b=False,
            ),
            _reshape(each.name, product, sizes),
        ]  # fmt: skip
    return copy_graph(graph, nodes)


def _sizes(found: Any, shapes: Mapping[str, Shape]) -> tuple[int, int, int, int] | None:
    """Return height, width, and channels before and after; None: no such convolution."""
    if found.op != "Conv2D" or attribute_value(found, "T") != DataType.FLOAT:
        return None
    image, kernel = (shapes.get(spell_tensor(*each)) for each in data_inputs(found))
    if image is None or kernel is None or len(image) != 4 or len(kernel) != 4:
        return None
    if attribute_value(found, "data_format", "NHWC") != "NHWC":
        return None
    if attribute_value(found, "padding") not in ("SAME", "VALID"):
        return None
    if set(attribute_value(found, "strides", [1])) != {1} or kernel[:2] != (1, 1):
        return None
    sizes = (image[1], image[2], kernel[2], kernel[3])
    # A kernel with fewer channels than the image has is one of groups.
    if None in sizes or image[3] != kernel[2]:
        return None
    return sizes  # type: ignore[return-value]


def _reshape(name: str, tensor: str, shape: str) -> Any:
    return node(name, "Reshape", [tensor, shape], T=np.float32, Tshape=np.int32)
