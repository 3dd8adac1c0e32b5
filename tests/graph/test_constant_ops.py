from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tlcli.errors import GraphError
from tlcli.graph.constant_ops import attribute_value, compute
from tlcli.graph.nodes import DataType, node
from tlcli.runtime.tensorflow import import_tensorflow

NUMBERS = np.array([0, 1, 7, 128, 200, 255], np.uint8)


def dequantized(kind: DataType, mode: str, low: float, high: float) -> Any:
    values = NUMBERS.view(np.int8) if kind is DataType.QINT8 else NUMBERS
    found = node("d", "Dequantize", ("x", "lo", "hi"), T=kind, mode=mode)
    return compute(found, [values, np.float32(low), np.float32(high)])


def test_dequantize_by_hand() -> None:
    result = dequantized(DataType.QUINT8, "MIN_COMBINED", -1.0, 1.0)
    assert result.dtype == np.float32
    assert result[[0, -1]].tolist() == [-1.0, 1.0]
    assert dequantized(DataType.QINT32, "MIN_COMBINED", -1.0, 1.0) is None


@pytest.mark.parametrize("mode", ["MIN_COMBINED", "MIN_FIRST", "SCALED"])
@pytest.mark.parametrize("kind", [DataType.QUINT8, DataType.QINT8])
@pytest.mark.parametrize(("low", "high"), [(-0.7, 1.3), (0.0, 6.0), (-2.0, -0.5)])
def test_dequantize_is_that_of_tensorflow(
    kind: DataType, mode: str, low: float, high: float
) -> None:
    if mode == "SCALED" and low != 0.0 and kind is DataType.QUINT8:
        pytest.skip("unsigned numbers cannot stand for negative ones")
    tf = import_tensorflow()
    dtype = tf.quint8 if kind is DataType.QUINT8 else tf.qint8
    values = NUMBERS.view(np.int8) if kind is DataType.QINT8 else NUMBERS
    expected = tf.raw_ops.Dequantize(
        input=tf.bitcast(tf.constant(values), dtype), min_range=low, max_range=high, mode=mode
    ).numpy()
    np.testing.assert_allclose(dequantized(kind, mode, low, high), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "expected"),
    [
        ("Rsqrt", [[4.0]], {}, [0.5]),
        ("Sub", [[3.0], [1.0]], {}, [2.0]),
        ("Reshape", [[1.0, 2.0], [2, 1]], {}, [[1.0], [2.0]]),
        ("Pack", [[1.0], [2.0]], {"axis": 1}, [[1.0, 2.0]]),
        ("Mean", [[[1.0, 3.0]], [1]], {"keep_dims": True}, [[2.0]]),
        ("Transpose", [[[1.0, 2.0]], [1, 0]], {}, [[1.0], [2.0]]),
        ("Tile", [[1.0], [2]], {}, [1.0, 1.0]),
        ("Range", [0, 5, 2], {}, [0, 2, 4]),
        ("ConcatV2", [[1.0], [2.0], 0], {}, [1.0, 2.0]),
        ("Concat", [0, [1.0], [2.0]], {}, [1.0, 2.0]),
        ("StridedSlice", [[5, 6, 7], [0], [1], [1]], {"shrink_axis_mask": 1}, 5),
        ("StridedSlice", [[5, 6, 7], [0], [2], [1]], {"begin_mask": 1}, [5, 6]),
        ("StridedSlice", [[5, 6, 7], [1], [2], [1]], {"end_mask": 1}, [6, 7]),
        ("Cast", [[1.7]], {"DstT": DataType.INT32}, [1]),
    ],
)
def test_operations(op: str, inputs: list[Any], attrs: dict[str, Any], expected: Any) -> None:
    arrays = [np.array(values, np.float32 if "." in str(values) else np.int32) for values in inputs]
    result = compute(node("n", op, ("x",), **attrs), arrays)
    assert result is not None
    assert result.tolist() == expected
    if op != "Cast":
        assert result.dtype in {array.dtype for array in arrays}


def test_unknown_operations_are_left_alone() -> None:
    assert compute(node("r", "ReadFile", ("x",)), [np.array(b"/etc/passwd", object)]) is None
    assert compute(node("r", "RandomUniform", ("x",)), [np.array([2])]) is None


@pytest.mark.parametrize("op", ["Fill", "BroadcastTo"])
def test_huge_constants_are_refused(op: str) -> None:
    size, value = np.array([1 << 20, 1 << 20], np.int64), np.array(1.0, np.float32)
    with pytest.raises(GraphError, match="impossible shape"):
        compute(node("f", op, ("a", "b")), [size, value] if op == "Fill" else [value, size])


def test_inputs_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(GraphError, match="'n' \\(Reshape\\) cannot be computed"):
        compute(node("n", "Reshape", ("a", "b")), [np.zeros(3), np.array([2, 2])])


def test_attributes_become_python_values() -> None:
    found = node("n", "Conv2D", (), padding="SAME", strides=[1, 2, 2, 1], keep=False, e=0.0)
    assert attribute_value(found, "padding") == "SAME"
    assert attribute_value(found, "strides") == [1, 2, 2, 1]
    assert attribute_value(found, "keep", True) is False
    assert attribute_value(found, "absent", 7) == 7
    assert "absent" not in found.attr
