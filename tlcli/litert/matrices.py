"""Products of many matrices, and the Gaussian error linear unit (GELU), in LiteRT."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlcli.graph.constant_ops import attribute_value
from tlcli.graph.surgery import data_inputs
from tlcli.litert.conversion import Conversion, unsupported
from tlcli.litert.flatbuffer import OperatorOptions

_BATCH_MATMUL, _GELU = 126, 150
_BATCH_MATMUL_OPTIONS, _GELU_OPTIONS = 101, 116


def batch_matmul(conversion: Conversion, node: Any) -> None:
    """Write a ``BatchMatMul`` or ``BatchMatMulV2``."""
    inputs = [conversion.index(source) for source in data_inputs(node)]
    turned = [("bool", bool(attribute_value(node, key, False))) for key in ("adj_x", "adj_y")]
    options = OperatorOptions(_BATCH_MATMUL_OPTIONS, tuple(turned))
    conversion.emit(_BATCH_MATMUL, inputs, (node.name, 0), options)


def erfc(conversion: Conversion, node: Any) -> None:
    """Write a GELU, x / 2 * erfc(-x / sqrt(2)); LiteRT has no other error function.

    It takes the place of the product; the nodes between are left out.
    """
    product = conversion.only_reader((node.name, 0))
    if product is None or product.op != "Mul":
        raise unsupported(node, "it is no part of a GELU")
    half = next(source for source in data_inputs(product) if source != (node.name, 0))
    one, other = conversion.multiple(half), conversion.multiple(data_inputs(node)[0])
    if one is None or other is None or not np.isclose(one[1], 0.5):
        raise unsupported(node, "it is no part of a GELU")
    source, scale = other
    if source != one[0] or not np.isclose(scale, -np.sqrt(0.5)):
        raise unsupported(node, "it is no part of a GELU")
    conversion.fused.add(product.name)
    options = OperatorOptions(_GELU_OPTIONS, (("bool", False),))
    conversion.emit(_GELU, [conversion.index(source)], (product.name, 0), options)
