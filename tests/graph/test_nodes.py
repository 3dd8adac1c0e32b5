"""Nodes and constants, held against hand-written messages and TensorFlow's rules."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tlcli.errors import GraphError
from tlcli.graph.messages import Tensor
from tlcli.graph.nodes import (
    DTYPES,
    FILL_LIMIT,
    DataType,
    array_to_tensor,
    const,
    data_type,
    make_attribute,
    new_graph,
    node,
    placeholder,
    shape_dims,
    shape_message,
    tensor_to_array,
)

NUMBERS = sorted(number for number in DTYPES if number != DataType.STRING)


def tensor(dtype: DataType, dims: list[int], **fields: object) -> Tensor:
    return Tensor(dtype=int(dtype), tensor_shape=shape_message(dims), **fields)


@settings(deadline=None)
@given(st.sampled_from(NUMBERS), st.data())
def test_every_array_comes_back_as_it_was(number: int, data: st.DataObject) -> None:
    shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
    array = data.draw(arrays.arrays(DTYPES[number], shapes))
    message = array_to_tensor(array)
    message.dtype = number  # NumPy has no names for quantised types
    back = tensor_to_array(Tensor.FromString(message.SerializeToString()))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes() or np.isnan(array).any()
    np.testing.assert_array_equal(back, array)


def test_transposed_and_big_endian_arrays_keep_their_values() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    np.testing.assert_array_equal(tensor_to_array(array_to_tensor(array)), array)


def test_a_vector_is_stored_as_little_endian_bytes() -> None:
    assert array_to_tensor(np.array([1, 2], np.int16)).tensor_content == b"\1\0\2\0"


def test_a_scalar_is_stored_in_its_list() -> None:
    assert list(array_to_tensor(np.float32(1.5)).float_val) == [1.5]
    assert list(array_to_tensor(np.float16(1.0)).half_val) == [0x3C00]


def test_strings_are_bytes() -> None:
    back = tensor_to_array(array_to_tensor(np.array([["é", "b"]])))
    assert back.tolist() == [["é".encode(), b"b"]]


def test_the_last_listed_value_fills_the_rest() -> None:
    filled = tensor_to_array(tensor(DataType.FLOAT, [2, 2], float_val=[1, 2]))
    assert filled.tolist() == [[1, 2], [2, 2]]
    assert tensor_to_array(tensor(DataType.INT32, [3], int_val=[7])).tolist() == [7, 7, 7]


def test_no_value_at_all_is_zero_and_more_than_enough_are_cut() -> None:
    assert tensor_to_array(tensor(DataType.FLOAT, [2])).tolist() == [0, 0]
    assert tensor_to_array(tensor(DataType.INT64, [2], int64_val=[1, 2, 3])).tolist() == [1, 2]


def test_small_integers_wrap_like_a_cast() -> None:
    assert tensor_to_array(tensor(DataType.QUINT8, [1], int_val=[255])).dtype == np.uint8
    assert tensor_to_array(tensor(DataType.INT8, [1], int_val=[255])).tolist() == [-1]


@pytest.mark.parametrize(
    "crafted",
    [
        tensor(DataType.FLOAT, [1 << 39], float_val=[0]),
        tensor(DataType.FLOAT, [FILL_LIMIT // 4 + 1]),
        tensor(DataType.FLOAT, [1 << 20, 1 << 20, 1 << 20], float_val=[0]),
        tensor(DataType.FLOAT, [3], tensor_content=b"\0" * 8),
        tensor(DataType.FLOAT, [-1], tensor_content=b"\0" * 4),
        tensor(DataType.FLOAT, [1] * 33, tensor_content=b"\0" * 4),
        tensor(DataType.FLOAT, [0, 1 << 39, 1 << 39, 1 << 39]),
        tensor(DataType.BFLOAT16, [1], tensor_content=b"\0\0"),
        Tensor(dtype=99),
        Tensor(),
        Tensor(dtype=1, tensor_shape=shape_message(None)),
    ],
    ids=range(11),
)
def test_crafted_tensors_are_refused(crafted: Tensor) -> None:
    with pytest.raises(GraphError):
        tensor_to_array(crafted)


def test_types_that_graphs_lack_are_refused() -> None:
    with pytest.raises(GraphError, match="datetime64"):
        array_to_tensor(np.array(["2020-01-01"], "datetime64[D]"))


def test_attributes_follow_the_python_type() -> None:
    made = node(
        "a", "Op", ["b", "^c"],
        T=np.float32, U=DataType.QUINT8, flag=True, count=3, rate=0.5, padding="SAME", raw=b"x",
        strides=[1, 2], empty=[], kinds=[np.int32], names=["p"], flags=[False], rates=[1.5],
        shape=shape_message([None, 3]), shapes=[shape_message(None)],
        value=np.array([1, 2], np.int32),
    )  # fmt: skip
    attr = made.attr
    assert list(made.input) == ["b", "^c"]
    assert (attr["T"].type, attr["U"].type) == (1, 12)
    assert attr["flag"].WhichOneof("value") == "b"
    assert attr["flag"].b is True
    assert (attr["count"].i, attr["rate"].f) == (3, 0.5)
    assert (attr["padding"].s, attr["raw"].s) == (b"SAME", b"x")
    assert list(attr["strides"].list.i) == [1, 2]
    assert attr["empty"].WhichOneof("value") == "list"
    assert list(attr["kinds"].list.type) == [3]
    assert list(attr["names"].list.s) == [b"p"]
    assert list(attr["flags"].list.b) == [False]
    assert list(attr["rates"].list.f) == [1.5]
    assert shape_dims(attr["shape"].shape) == (None, 3)
    assert shape_dims(attr["shapes"].list.shape[0]) is None
    assert tensor_to_array(attr["value"].tensor).tolist() == [1, 2]


def test_messages_are_copied_into_attributes() -> None:
    original = make_attribute(5)
    assert make_attribute(original) == original
    assert make_attribute(shape_message([1])).shape == shape_message([1])
    with pytest.raises(TypeError):
        make_attribute(object())
    with pytest.raises(TypeError):
        make_attribute([object()])


def test_const_and_placeholder_name_their_types() -> None:
    assert const("c", np.zeros(2, np.float32)).attr["dtype"].type == DataType.FLOAT
    made = placeholder("p", np.float32, [None, 2])
    assert made.attr["dtype"].type == data_type("float32") == DataType.FLOAT
    assert shape_dims(made.attr["shape"].shape) == (None, 2)


def test_a_new_graph_says_its_version() -> None:
    graph = new_graph([node("a", "NoOp")])
    assert [part.name for part in graph.node] == ["a"]
    assert graph.versions.producer > 0
