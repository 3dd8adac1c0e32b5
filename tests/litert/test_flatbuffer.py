"""The numbers of LiteRT's schema are right: its own generated reader finds every field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlcli.errors import OutputError
from tlcli.litert.flatbuffer import LiteRTModel, OperatorOptions

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def read(model: LiteRTModel, inputs: list[int], outputs: list[int]) -> Any:
    return schema.ModelT.InitFromPackedBuf(model.serialise(inputs, outputs))


def test_tables() -> None:
    model = LiteRTModel()
    first = model.add_tensor("first", (None, 4, 3))
    weights = model.add_constant("weights", np.arange(6, dtype=np.float32).reshape(2, 3))
    order = model.add_constant("order", np.array([7, -8], np.int32))
    last = model.add_tensor("last", (2, 5))
    model.add_operator(117, [first, weights], [last])
    model.add_operator(150, [last, order], [first], version=2)
    model.rename(last, "renamed")
    found = read(model, [first], [last])
    assert (found.version, found.description) == (3, b"tlcli")
    # Numbers above 127 have a field of their own, and 127 in the old one.
    codes = [(code.deprecatedBuiltinCode, code.builtinCode, code.version)
             for code in found.operatorCodes]  # fmt: skip
    assert codes == [(117, 117, 1), (127, 150, 2)]
    [graph] = found.subgraphs
    assert (list(graph.inputs), list(graph.outputs), graph.name) == ([0], [3], b"main")
    assert [tensor.name for tensor in graph.tensors] == [b"first", b"weights", b"order", b"renamed"]
    assert list(graph.tensors[first].shape) == [1, 4, 3]
    assert list(graph.tensors[first].shapeSignature) == [-1, 4, 3]
    assert graph.tensors[last].shapeSignature is None
    assert [tensor.type for tensor in graph.tensors] == [0, 0, 2, 0]
    buffers = [found.buffers[tensor.buffer].data for tensor in graph.tensors]
    assert buffers[first] is None
    assert bytes(buffers[weights]) == np.arange(6, dtype="<f4").tobytes()
    assert bytes(buffers[order]) == np.array([7, -8], "<i4").tobytes()
    assert [list(each.inputs) for each in graph.operators] == [[0, 1], [3, 2]]


def test_constants_are_aligned() -> None:
    model = LiteRTModel()
    start = model.add_tensor("x", (1,))
    for size in (1, 3, 5, 64):
        model.add_constant("c", np.full(size, 1.5, np.float32))
    content = model.serialise([start], [start], largest=10_000)
    for size in (5, 64):
        assert content.find(np.full(size, 1.5, "<f4").tobytes()) % 16 == 0


OPTIONS = [
    (
        "Conv2DOptions",
        OperatorOptions(1, (("int8", 1), ("int32", 2), ("int32", 3), ("int8", 3),
                    ("int32", 4), ("int32", 5))),
        {"padding": 1, "strideW": 2, "strideH": 3, "fusedActivationFunction": 3,
         "dilationWFactor": 4, "dilationHFactor": 5},
    ),
    (
        "DepthwiseConv2DOptions",
        OperatorOptions(2, (("int8", 1), ("int32", 2), ("int32", 3), ("int32", 6),
                    ("int8", 1), ("int32", 4), ("int32", 5))),
        {"padding": 1, "strideW": 2, "strideH": 3, "depthMultiplier": 6,
         "fusedActivationFunction": 1, "dilationWFactor": 4, "dilationHFactor": 5},
    ),
    ("SoftmaxOptions", OperatorOptions(9, (("float", 1.0),)), {"beta": 1.0}),
    ("ReducerOptions", OperatorOptions(27, (("bool", True),)), {"keepDims": True}),
    ("ReshapeOptions", OperatorOptions(17, (("ints", [-1, 4]),)), {"newShape": [-1, 4]}),
    ("AddOptions", OperatorOptions(11, (("int8", 0),)), {"fusedActivationFunction": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "expected"), OPTIONS)
def test_options(name: str, options: OperatorOptions, expected: dict[str, Any]) -> None:
    model = LiteRTModel()
    start = model.add_tensor("x", (1,))
    model.add_operator(0, [start], [start], options)
    [operator] = read(model, [start], [start]).subgraphs[0].operators
    found = operator.builtinOptions
    assert type(found).__name__ == f"{name}T"
    given = {key: getattr(found, key) for key in expected}
    assert {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in given.items()} == expected


def test_a_file_that_is_too_large_is_one_sentence() -> None:
    model = LiteRTModel()
    start = model.add_constant("x", np.zeros(5000, np.float32))
    with pytest.raises(OutputError, match=r"would take .* GB .* choose a smaller backbone$"):
        model.serialise([start], [start], largest=10_000)
