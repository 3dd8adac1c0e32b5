"""What a LiteRT file says of its input and its scores: metadata, first and last operators.

Source: the schema of LiteRT files (``schema.fbs``), by the numbers of its fields.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.errors import GraphError
from tlcli.litert.metadata.reading import StatedMetadata, read_metadata
from tlcli.litert.tables import Bytes, DamagedError, Table

_CUSTOM = 32
# Arithmetic with a constant, and the kind of step that it is.
_ARITHMETIC = {18: "times", 42: "by", 0: "plus", 41: "minus"}
# Operators that pass pixels on: PAD, QUANTIZE, DEQUANTIZE, RESHAPE, RESIZE_BILINEAR, TRANSPOSE,
# SQUEEZE, CAST, EXPAND_DIMS, RESIZE_NEAREST_NEIGHBOR, REVERSE_V2.
_PASSING = frozenset({6, 22, 23, 34, 39, 43, 53, 70, 97, 105, 114})
# Behind the scores: DEQUANTIZE, RESHAPE, TRANSPOSE, SQUEEZE, STRIDED_SLICE, CAST, SLICE,
# EXPAND_DIMS, QUANTIZE.
_AFTER_SCORES = frozenset({6, 22, 39, 43, 45, 53, 65, 70, 114})
# Logits come out of ADD, CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED and BATCH_MATMUL; what comes
# out of any other operator, such as the mean of two softmaxes, only values show.
_ACTIVATIONS = {
    **{25: "softmax", 50: "log_softmax", 14: "sigmoid"},
    **dict.fromkeys((0, 3, 4, 9, 126), "logits"),
}
# INT32 and INT64: of labels, not of scores, unless they are quantised.
_WHOLE = frozenset({2, 4})
_TYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f2"),
    2: np.dtype("<i4"),
    3: np.dtype("u1"),
    9: np.dtype("i1"),
    10: np.dtype("<f8"),
}
_MOST_STEPS = 32

_QUANTIZE = 114

Step = tuple[str, "np.ndarray[Any, Any]"]
"""One of "times", "by", "plus", "minus" with its constant; "between" with the lowest and the
highest value that eight bits represent, beyond which all is cut off."""


@dataclass(frozen=True)
class LiteRTDescription:
    """What a LiteRT file says of itself.

    Attributes:
        metadata: what its TFLITE_METADATA state.
        steps: what the network does to its pixels first.
        activations: for each output "softmax", "log_softmax", "sigmoid" or "logits"; "numbers" for
            whole numbers, which are no scores; None where only values show it.
        operators: names of custom operators.
    """

    metadata: StatedMetadata = field(default_factory=StatedMetadata)
    steps: tuple[Step, ...] = ()
    activations: tuple[str | None, ...] = ()
    operators: tuple[str, ...] = ()


def describe_litert(path: Path) -> LiteRTDescription:
    """Return what a LiteRT file says of itself.

    Raises:
        GraphError: it cannot be read, or is damaged.
    """
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return _describe(Bytes(content).root())
    except DamagedError as error:
        raise GraphError(
            f"{path} is no LiteRT model that can be run: {error}; give another file"
        ) from error
    except (OSError, ValueError) as error:
        raise GraphError(f"cannot read {path}: {error}") from error


def _describe(model: Table) -> LiteRTDescription:
    graphs = model.tables(2)
    if not graphs:
        return LiteRTDescription()
    network = _Network(model, graphs[0])
    return LiteRTDescription(
        metadata=read_metadata(model),
        steps=tuple(network.steps()),
        activations=tuple(network.activation(index) for index in graphs[0].integers(2)),
        operators=tuple(
            entry.text(1) for entry in model.tables(1) if entry.number(0, "<b") == _CUSTOM
        ),
    )


class _Network:
    """The operators of a file by the tensors that they read and give."""

    def __init__(self, model: Table, graph: Table) -> None:
        self._tensors = graph.tables(0)
        self._buffers = model.tables(4)
        self._inputs = graph.integers(1)
        codes = [max(each.number(0, "<b"), each.number(3, "<i")) for each in model.tables(1)]
        self._readers: dict[int, list[tuple[int, tuple[int, ...], tuple[int, ...]]]] = {}
        self._makers: dict[int, tuple[int, tuple[int, ...]]] = {}
        for operator in graph.tables(3):
            number = operator.number(0, "<I")
            code = codes[number] if number < len(codes) else -1
            inputs, outputs = operator.integers(1), operator.integers(2)
            for index in inputs:
                self._readers.setdefault(index, []).append((code, inputs, outputs))
            for index in outputs:
                self._makers[index] = (code, inputs)

    def steps(self) -> Iterator[Step]:
        """Yield the arithmetic with constants that comes before all else."""
        index = self._inputs[0] if self._inputs else -1
        for _ in range(_MOST_STEPS):
            readers = self._readers.get(index, [])
            if len(readers) != 1 or not readers[0][2]:
                return
            code, inputs, outputs = readers[0]
            if code in _ARITHMETIC and len(inputs) == 2:
                constant = self._constant(inputs[1] if inputs[0] == index else inputs[0])
                # 255 / pixels or 255 - pixels is no preprocessing that is known.
                reversed_order = inputs[0] != index and code in (41, 42)
                if constant is None or reversed_order:
                    return
                yield _ARITHMETIC[code], constant
            elif code not in _PASSING:
                return
            limits = self._limits(outputs[0]) if code == _QUANTIZE else None
            if limits is not None:
                yield "between", limits
            index = outputs[0]

    def activation(self, index: int) -> str | None:
        """Return what an output is; see `LiteRTDescription`."""
        if 0 <= index < len(self._tensors) and self._tensors[index].number(1, "<b") in _WHOLE:
            return "numbers"
        for _ in range(_MOST_STEPS):
            code, inputs = self._makers.get(index, (-1, ()))
            if code not in _AFTER_SCORES or not inputs:
                return _ACTIVATIONS.get(code)
            index = inputs[0]
        return None

    def _limits(self, index: int) -> np.ndarray[Any, Any] | None:
        """Return the lowest and the highest value of a tensor of eight bits."""
        if not 0 <= index < len(self._tensors):
            return None
        dtype = _TYPES.get(self._tensors[index].number(1, "<b"))
        quantisation = self._tensors[index].table(4)
        if dtype is None or dtype.kind not in "iu" or dtype.itemsize != 1 or quantisation is None:
            return None
        scales, zeros = quantisation.numbers(2, "f"), quantisation.numbers(3, "q")
        if len(scales) != 1 or len(zeros) > 1:
            return None
        limits = np.iinfo(dtype)
        zero = zeros[0] if zeros else 0
        return np.array([(each - zero) * scales[0] for each in (limits.min, limits.max)])

    def _constant(self, index: int) -> np.ndarray[Any, Any] | None:
        maker = self._makers.get(index)
        if maker is not None and maker[0] == 6 and maker[1]:  # a constant of 16 bits
            index = maker[1][0]
        if not 0 <= index < len(self._tensors):
            return None
        tensor = self._tensors[index]
        number, dtype = tensor.number(2, "<I"), _TYPES.get(tensor.number(1, "<b"))
        if dtype is None or not 0 < number < len(self._buffers):
            return None
        content = self._buffers[number].content(0)
        if not content or len(content) % dtype.itemsize:
            return None
        values = np.frombuffer(content, dtype).astype(np.float64)
        quantisation = tensor.table(4)
        scales = () if quantisation is None else quantisation.numbers(2, "f")
        if dtype.kind in "iu" and len(scales) == 1 and quantisation is not None:
            zeros = quantisation.numbers(3, "q")
            values = (values - (zeros[0] if zeros else 0)) * scales[0]
        return values
