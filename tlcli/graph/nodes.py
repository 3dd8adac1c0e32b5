"""Nodes and constants of a GraphDef, to and from NumPy, without importing TensorFlow."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Array
from tlcli.errors import GraphError
from tlcli.graph.messages import AttrValue, GraphDef, NodeDef, Tensor, TensorShape
from tlcli.text import counted

# What TensorFlow 1.15 wrote: recent enough for AddV2, old enough for every reader.
GRAPH_PRODUCER = 134
# A tensor may say "the last value fills the rest". No real network has so large a constant
# of one value, and a crafted one must not take all memory.
FILL_LIMIT = 1 << 28
"""Largest size in bytes of a tensor that is filled from fewer values than it holds."""
# NumPy before 2.0 allows no more.
_MAXIMUM_RANK = 32


class DataType(enum.IntEnum):
    """TensorFlow's ``DataType`` numbers of the types that frozen graphs hold."""

    FLOAT = 1
    DOUBLE = 2
    INT32 = 3
    UINT8 = 4
    INT16 = 5
    INT8 = 6
    STRING = 7
    INT64 = 9
    BOOL = 10
    QINT8 = 11
    QUINT8 = 12
    QINT32 = 13
    BFLOAT16 = 14
    QINT16 = 15
    QUINT16 = 16
    UINT16 = 17
    HALF = 19
    UINT32 = 22
    UINT64 = 23


# Little-endian by name, as tensor_content is.
DTYPES: dict[int, np.dtype[Any]] = {
    DataType.FLOAT: np.dtype("<f4"),
    DataType.DOUBLE: np.dtype("<f8"),
    DataType.INT32: np.dtype("<i4"),
    DataType.UINT8: np.dtype("u1"),
    DataType.INT16: np.dtype("<i2"),
    DataType.INT8: np.dtype("i1"),
    DataType.STRING: np.dtype(object),
    DataType.INT64: np.dtype("<i8"),
    DataType.BOOL: np.dtype(bool),
    DataType.QINT8: np.dtype("i1"),
    DataType.QUINT8: np.dtype("u1"),
    DataType.QINT32: np.dtype("<i4"),
    DataType.QINT16: np.dtype("<i2"),
    DataType.QUINT16: np.dtype("<u2"),
    DataType.UINT16: np.dtype("<u2"),
    DataType.HALF: np.dtype("<f2"),
    DataType.UINT32: np.dtype("<u4"),
    DataType.UINT64: np.dtype("<u8"),
}
"""NumPy type of each ``DataType`` number; quantised types are their plain integers."""

DATA_TYPES: dict[np.dtype[Any], DataType] = {
    dtype: DataType(number)
    for number, dtype in DTYPES.items()
    if not DataType(number).name.startswith("Q")
}
"""``DataType`` of each NumPy type (never a quantised one)."""

# Field of `Tensor` that lists the values one by one; the others use int_val.
VALUE_FIELDS = {
    DataType.FLOAT: "float_val",
    DataType.DOUBLE: "double_val",
    DataType.INT64: "int64_val",
    DataType.BOOL: "bool_val",
    DataType.HALF: "half_val",
    DataType.UINT32: "uint32_val",
    DataType.UINT64: "uint64_val",
    DataType.STRING: "string_val",
}


Shape = tuple[int | None, ...]
"""Sizes of a tensor; ``None`` is unknown, as the batch is."""


def data_type(dtype: DataType | npt.DTypeLike) -> DataType:
    """Return the ``DataType`` of a NumPy type (a ``DataType`` is returned as it is).

    Raises:
        GraphError: graphs have no such type.
    """
    if isinstance(dtype, DataType):
        return dtype
    found = np.dtype(dtype)
    if found.kind in "SU":
        return DataType.STRING
    try:
        return DATA_TYPES[found.newbyteorder("<")]
    except KeyError:
        raise GraphError(f"a graph cannot hold values of the type {found}") from None


def shape_message(dims: Sequence[int | None] | None) -> Any:
    """Return a ``TensorShape``; ``None`` stands for an unknown size or an unknown rank."""
    message = TensorShape()
    if dims is None:
        message.unknown_rank = True
        return message
    for size in dims:
        message.dim.add(size=-1 if size is None else int(size))
    return message


def shape_dims(message: Any) -> tuple[int | None, ...] | None:
    """Return the sizes of a ``TensorShape``; the reverse of `shape_message`."""
    if message.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else int(dim.size) for dim in message.dim)


def array_to_tensor(array: npt.ArrayLike) -> Any:
    """Return ``array``, of any shape, as a ``Tensor`` message; strings become bytes.

    Raises:
        GraphError: graphs have no such type.
    """
    values = np.asarray(array)
    kind = data_type(values.dtype)
    stored = DTYPES[kind]
    tensor = Tensor(dtype=int(kind), tensor_shape=shape_message(values.shape))
    if kind is DataType.STRING:
        for value in values.ravel().tolist():
            tensor.string_val.append(value.encode() if isinstance(value, str) else bytes(value))
    elif values.size == 1:
        # As TensorFlow writes scalars; some readers look for them nowhere else.
        single = values.astype(stored).reshape(1)
        if kind is DataType.HALF:
            single = single.view("<u2")
        getattr(tensor, VALUE_FIELDS.get(kind, "int_val")).append(single[0].item())
    else:
        tensor.tensor_content = np.ascontiguousarray(values, dtype=stored).tobytes()
    return tensor


def _tensor_shape(tensor: Any) -> tuple[int, ...]:
    if tensor.tensor_shape.unknown_rank:
        raise GraphError("a constant of the graph has no shape; the graph is damaged")
    dims = tuple(int(dim.size) for dim in tensor.tensor_shape.dim)
    if len(dims) > _MAXIMUM_RANK or any(size < 0 or size >= 1 << 40 for size in dims):
        raise GraphError(
            f"a constant of the graph has the impossible shape {list(dims[:_MAXIMUM_RANK])}; "
            "the graph is damaged"
        )
    return dims


def _listed_values(tensor: Any, kind: DataType, count: int) -> Array:
    field = getattr(tensor, VALUE_FIELDS.get(kind, "int_val"))[:count]
    if kind is DataType.HALF:
        return np.array(field, dtype=np.int32).astype("<u2").view("<f2")
    if kind in VALUE_FIELDS:
        return np.array(field, dtype=DTYPES[kind])
    return np.array(field, dtype=np.int32).astype(DTYPES[kind])


def tensor_to_array(tensor: Any) -> Array:
    """Return the values of a ``Tensor`` message; the array may be read-only.

    Values are taken from ``tensor_content`` or, like TensorFlow does, from the list of its
    type, whose last value fills what is missing (zero where there is none).

    Raises:
        GraphError: an unknown type, or a shape that does not fit the content.
    """
    try:
        kind = DataType(tensor.dtype)
        dtype = DTYPES[kind]
    except (ValueError, KeyError):
        raise GraphError(
            f"a constant of the graph has the type number {tensor.dtype}, which tlcli cannot read"
        ) from None
    dims = _tensor_shape(tensor)
    count = math.prod(dims)
    content = tensor.tensor_content
    if content and kind is not DataType.STRING:
        if len(content) != count * dtype.itemsize:
            raise GraphError(
                f"a constant of the graph has the shape {list(dims)} but "
                f"{counted(len(content), 'byte')}; the graph is damaged"
            )
        return np.frombuffer(content, dtype=dtype).reshape(dims)
    values = _listed_values(tensor, kind, count)
    if values.size < count:
        if count * dtype.itemsize > FILL_LIMIT:
            raise GraphError(
                f"a constant of the graph has the shape {list(dims)} but "
                f"{counted(values.size, 'value')}; the graph is damaged"
            )
        last: Any = b"" if kind is DataType.STRING else 0
        if values.size:
            last = values[-1]
        values = np.concatenate([values, np.full(count - values.size, last, dtype)])
    try:
        return values.reshape(dims)
    except ValueError:
        raise GraphError(
            f"a constant of the graph has the impossible shape {list(dims)}; the graph is damaged"
        ) from None


def _is_dtype(value: object) -> bool:
    return isinstance(value, (np.dtype, DataType)) or (
        isinstance(value, type) and issubclass(value, np.generic)
    )


def _field(value: Any) -> tuple[str, Any]:
    """Return the field of an attribute, or of a list of them, that holds ``value``, and how."""
    if _is_dtype(value):
        return "type", int(data_type(value))
    if isinstance(value, (bool, np.bool_)):
        return "b", bool(value)
    if isinstance(value, (int, np.integer)):
        return "i", int(value)
    if isinstance(value, (float, np.floating)):
        return "f", float(value)
    if isinstance(value, (str, bytes)):
        return "s", value.encode() if isinstance(value, str) else value
    if isinstance(value, TensorShape):
        return "shape", value
    if isinstance(value, (Tensor, np.ndarray)):
        return "tensor", array_to_tensor(value) if isinstance(value, np.ndarray) else value
    raise TypeError(f"no attribute holds a {type(value).__name__}")


def make_attribute(value: Any) -> Any:
    """Return the ``AttrValue`` message of a Python value.

    ``bool``, ``int``, ``float``, ``str`` and ``bytes`` are themselves; a NumPy type or a
    `DataType` is a type; an array a tensor; a list or tuple a list of the same. ``AttrValue``,
    ``Tensor`` and ``TensorShape`` messages (see `shape_message`) are copied.
    """
    result = AttrValue()
    if isinstance(value, AttrValue):
        result.CopyFrom(value)
    elif isinstance(value, (list, tuple)):
        result.list.SetInParent()  # an empty list is a value too
        for each in value:
            field, stored = _field(each)
            getattr(result.list, field).append(stored)
    else:
        field, stored = _field(value)
        return AttrValue(**{field: stored})
    return result


def node(name: str, op: str, inputs: Iterable[str] = (), /, **attrs: Any) -> Any:
    """Return a ``NodeDef``; ``attrs`` are Python values as `make_attribute` takes them."""
    message = NodeDef(name=name, op=op, input=list(inputs))
    for key, value in attrs.items():
        message.attr[key].CopyFrom(make_attribute(value))
    return message


def const(name: str, array: npt.ArrayLike) -> Any:
    """Return a ``Const`` node holding ``array`` (types as in `array_to_tensor`)."""
    tensor = array_to_tensor(array)
    return node(name, "Const", (), value=tensor, dtype=DataType(tensor.dtype))


def placeholder(
    name: str, dtype: DataType | npt.DTypeLike, shape: Sequence[int | None] | None
) -> Any:
    """Return a ``Placeholder`` node; ``None`` in ``shape`` is a free size."""
    return node(name, "Placeholder", (), dtype=data_type(dtype), shape=shape_message(shape))


def new_graph(nodes: Iterable[Any] = ()) -> Any:
    """Return a ``GraphDef`` of the given nodes, with the version that readers look for."""
    graph = GraphDef()
    graph.versions.producer = GRAPH_PRODUCER
    graph.node.extend(nodes)
    return graph
