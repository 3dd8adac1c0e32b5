"""TensorFlow's GraphDef as protobuf messages, without importing TensorFlow.

Importing TensorFlow takes seconds; reading, changing and writing a frozen graph needs
only its message format. The fields below are those of ``tensorflow/core/framework``
(``graph.proto``, ``node_def.proto``, ``attr_value.proto``, ``tensor.proto``,
``tensor_shape.proto``, ``versions.proto``, ``function.proto``, ``op_def.proto``).
Fields that are not named here survive a round trip as unknown fields.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tlcli.graph.message_descriptors import Messages, add_messages

_PACKAGE = "tlcli.graph"

# DataType enums are plain int32 on the wire.
_MESSAGES: Messages = {
    "Dim": [(1, "size", "int64"), (2, "name", "string")],
    "TensorShape": [(2, "dim", "*Dim"), (3, "unknown_rank", "bool")],
    "Tensor": [
        (1, "dtype", "int32"),
        (2, "tensor_shape", "TensorShape"),
        (3, "version_number", "int32"),
        (4, "tensor_content", "bytes"),
        (5, "float_val", "*float"),
        (6, "double_val", "*double"),
        (7, "int_val", "*int32"),
        (8, "string_val", "*bytes"),
        (10, "int64_val", "*int64"),
        (11, "bool_val", "*bool"),
        (13, "half_val", "*int32"),
        (16, "uint32_val", "*uint32"),
        (17, "uint64_val", "*uint64"),
    ],
    "ListValue": [
        (2, "s", "*bytes"),
        (3, "i", "*int64"),
        (4, "f", "*float"),
        (5, "b", "*bool"),
        (6, "type", "*int32"),
        (7, "shape", "*TensorShape"),
        (8, "tensor", "*Tensor"),
        (9, "func", "*NameAttrList"),
    ],
    "NameAttrList": [(1, "name", "string"), (2, "attr", "map:AttrValue")],
    "AttrValue": [
        (1, "list", "?ListValue"),
        (2, "s", "?bytes"),
        (3, "i", "?int64"),
        (4, "f", "?float"),
        (5, "b", "?bool"),
        (6, "type", "?int32"),
        (7, "shape", "?TensorShape"),
        (8, "tensor", "?Tensor"),
        (9, "placeholder", "?string"),
        (10, "func", "?NameAttrList"),
    ],
    "NodeDef": [
        (1, "name", "string"),
        (2, "op", "string"),
        (3, "input", "*string"),
        (4, "device", "string"),
        (5, "attr", "map:AttrValue"),
    ],
    "Versions": [(1, "producer", "int32"), (2, "min_consumer", "int32")],
    "OpSignature": [(1, "name", "string")],
    "Function": [(1, "signature", "OpSignature"), (3, "node_def", "*NodeDef")],
    "Library": [(1, "function", "*Function")],
    "GraphDef": [
        (1, "node", "*NodeDef"),
        (2, "library", "Library"),
        (3, "version", "int32"),
        (4, "versions", "Versions"),
    ],
}


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="tlcli/graph.proto", package=_PACKAGE, syntax="proto3"
    )
    add_messages(file, _MESSAGES)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_classes = _build()
GraphDef: Any = _classes["GraphDef"]
NodeDef: Any = _classes["NodeDef"]
AttrValue: Any = _classes["AttrValue"]
Tensor: Any = _classes["Tensor"]
TensorShape: Any = _classes["TensorShape"]
