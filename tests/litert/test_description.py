"""What LiteRT files say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.litert.description import describe_litert

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
flatbuffers = pytest.importorskip("flatbuffers")


def tensor(kind: str, quantised: tuple[float, int] | None = None) -> Any:
    made = schema.TensorT()
    made.shape, made.type, made.buffer = [1, 4], getattr(schema.TensorType, kind), 0
    if quantised is not None:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [quantised[0]], [quantised[1]]
    return made


def write(path: Path, tensors: list[Any], *codes: str) -> Path:
    """Write a file in which each operator reads what the one before it gives."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes, graph.operators = [], []
    for number, name in enumerate(codes):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        operator.opcodeIndex, operator.inputs, operator.outputs = number, [number], [number + 1]
        model.operatorCodes.append(code)
        graph.operators.append(operator)
    graph.tensors, graph.inputs, graph.outputs = tensors, [0], [len(codes)]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


@pytest.mark.parametrize(
    ("kind", "scale", "zero", "limits"),
    [
        ("INT8", 1 / 255, -128, (0, 1)),
        ("INT8", 2 / 255, 0, (-1, 1)),
        ("UINT8", 1.0, 0, (0, 255)),
    ],
)
def test_a_quantised_input_shows_its_range(
    tmp_path: Path, kind: str, scale: float, zero: int, limits: tuple[float, float]
) -> None:
    tensors = [tensor("FLOAT32"), tensor(kind, (scale, zero))]
    (step,) = describe_litert(write(tmp_path / "model.tflite", tensors, "QUANTIZE")).steps
    assert step[0] == "between"
    np.testing.assert_allclose(step[1], limits, atol=0.01)


def test_what_comes_out_is_told_by_the_last_operators(tmp_path: Path) -> None:
    floats = [tensor("FLOAT32") for _ in range(3)]
    for codes, kind, activation in (
        (("SOFTMAX", "STRIDED_SLICE"), "FLOAT32", "softmax"),
        (("SOFTMAX", "MUL"), "FLOAT32", None),
        (("MUL", "FULLY_CONNECTED"), "FLOAT32", "logits"),
        (("SOFTMAX", "ARG_MAX"), "INT64", "numbers"),
    ):
        tensors = [*floats[:2], tensor(kind)]
        found = describe_litert(write(tmp_path / "model.tflite", tensors, *codes))
        assert found.activations == (activation,)
