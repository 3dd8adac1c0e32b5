"""Which operators of a LiteRT file an Edge TPU runs, by Google's published list.

Source: "Supported operations" at https://coral.ai/docs/edgetpu/models-intro. The compiler
(``edgetpu_compiler``) decides in the end, also by sizes that the list does not state.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from tlcli.litert.quantized.network import INT8, UINT8, Network, Operator, read_network
from tlcli.text import counted

_SUPPORTED = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS",
    "FULLY_CONNECTED", "L2_NORMALIZATION", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM",
    "MUL", "PACK", "PAD", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6",
    "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE",
    "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM",
    "SQUARED_DIFFERENCE", "TANH", "TRANSPOSE", "TRANSPOSE_CONV",
})  # fmt: skip
_LONGEST_SOFTMAX = 16_000
# Slots of the settings: the fused activation of pooling and concatenation, and the two dilations.
_ACTIVATION = {"AVERAGE_POOL_2D": 5, "MAX_POOL_2D": 5, "CONCATENATION": 1}
_DILATIONS = {"CONV_2D": (4, 5), "DEPTHWISE_CONV_2D": (5, 6)}


@dataclass(frozen=True)
class OnHost:
    """Operators that the processor runs in place of the Edge TPU.

    Attributes:
        operator: as in LiteRT's schema, "SOFTMAX".
        count: how many.
        reason: a clause, "the list lacks them".
    """

    operator: str
    count: int
    reason: str


@dataclass(frozen=True)
class EdgeTPUReport:
    """What an Edge TPU would run of a file.

    Attributes:
        on_edge_tpu: operators that it runs, with how many of each.
        on_host: the others.
        fixed_batch: whether all sizes are constant, as the compiler demands.
    """

    on_edge_tpu: dict[str, int]
    on_host: tuple[OnHost, ...]
    fixed_batch: bool

    def __str__(self) -> str:
        mapped = sum(self.on_edge_tpu.values())
        whole = mapped + sum(each.count for each in self.on_host)
        parts = [f"Edge TPU: {mapped} of {counted(whole, 'operator')} by the published list"]
        reasons = dict.fromkeys(each.reason for each in self.on_host)
        for reason in reasons:
            listed = ", ".join(
                f"{each.operator}{f' x {each.count}' if each.count > 1 else ''}"
                for each in self.on_host
                if each.reason == reason
            )
            parts.append(f"on the host, as {reason}: {listed}")
        if not self.fixed_batch:
            parts.append("the batch size is free and must be fixed to 1")
        parts.append("edgetpu_compiler was not run")
        return "; ".join(parts)


def check_edge_tpu(content: bytes) -> EdgeTPUReport:
    """Return which operators of a LiteRT file an Edge TPU runs.

    What depends on an operator that it does not run is left to the host as well: the compiler
    takes one part of the network, from its start. The conversion of float32 pixels to integers
    does not count as such.

    Raises:
        GraphError: the file is damaged.
    """
    network = read_network(content)
    mapped: Counter[str] = Counter()
    host: Counter[tuple[str, str]] = Counter()
    behind: set[int] = set()
    for operator in network.operators:
        reason = _reason(network, operator)
        if reason is None and behind.intersection(operator.inputs):
            reason = "they follow operators of the host"
        if reason is None:
            mapped[operator.name] += 1
            continue
        host[operator.name, reason] += 1
        if operator.name != "QUANTIZE" or not set(operator.inputs) <= set(network.inputs):
            behind.update(operator.outputs)
    on_host = tuple(OnHost(name, count, reason) for (name, reason), count in host.items())
    return EdgeTPUReport(dict(mapped), on_host, not any(each.free for each in network.tensors))


def _reason(network: Network, operator: Operator) -> str | None:
    """Return why the host runs an operator; None: the Edge TPU does."""
    indices = [index for index in (*operator.inputs, *operator.outputs) if index >= 0]
    computed = [network.tensors[index] for index in indices if not network.tensors[index].constant]
    if any(each.kind not in (UINT8, INT8) for each in computed):
        return "numbers of float32 go in or out"
    if operator.name not in _SUPPORTED:
        return "the list lacks them"
    if any(math.prod(each.shape[:-3]) > 1 for each in computed):
        return "more than three dimensions are larger than 1"
    options = operator.options
    if options is not None:
        slot = _ACTIVATION.get(operator.name)
        if slot is not None and options.number(slot, "<b"):
            return "their activation is fused"
        slots = _DILATIONS.get(operator.name)
        if slots is not None:
            first, second = (options.number(each, "<i", 1) for each in slots)
            if first != second or (operator.name == "DEPTHWISE_CONV_2D" and first > 1):
                return "they are dilated"
    source, result = (network.tensors[each[0]] for each in (operator.inputs, operator.outputs))
    if operator.name == "MEAN" and source.shape[-1:] != result.shape[-1:]:
        return "they average over channels"
    if operator.name == "SOFTMAX" and result.shape[-1] > _LONGEST_SOFTMAX:
        return f"there are more than {_LONGEST_SOFTMAX} scores"
    return None
