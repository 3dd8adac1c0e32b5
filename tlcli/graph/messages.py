"""TensorFlow's GraphDef and SavedModel as protobuf messages, without importing TensorFlow.

Importing TensorFlow takes seconds; reading, changing and writing a frozen graph needs only its
message format. The fields below are those of ``tensorflow/core/framework`` (``graph.proto``,
``node_def.proto``, ``attr_value.proto``, ``tensor.proto``, ``tensor_shape.proto``,
``versions.proto``, ``function.proto``, ``op_def.proto``) and ``tensorflow/core/protobuf``
(``saved_model.proto``, ``meta_graph.proto``). Fields that are not named here survive a round
trip as unknown fields.

The end of the file reads and writes the wire format itself, where messages are counted before
they are read, or written in parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Messages = dict[str, list[tuple[int, str, str]]]
"""(field number, name, type) of each field of each message.

A type is a scalar of protobuf or a message; "*" before it repeats it, "map:" makes it a map from
string, "?" puts the field into the oneof "value".
"""

_PACKAGE = "tlcli.graph"
_FIELD = descriptor_pb2.FieldDescriptorProto

# DataType enums are plain int32 on the wire.
_MESSAGES: Messages = {
    # tensorflow/core/framework
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
    "Argument": [
        (1, "name", "string"),
        (5, "number_attr", "string"),
        (6, "type_list_attr", "string"),
    ],
    "OpSignature": [
        (1, "name", "string"),
        (2, "input_arg", "*Argument"),
        (3, "output_arg", "*Argument"),
    ],
    "Function": [
        (1, "signature", "OpSignature"),
        (3, "node_def", "*NodeDef"),
        (4, "ret", "map:string"),
    ],
    "Library": [(1, "function", "*Function")],
    "GraphDef": [
        (1, "node", "*NodeDef"),
        (2, "library", "Library"),
        (3, "version", "int32"),
        (4, "versions", "Versions"),
    ],
    # tensorflow/core/protobuf
    "TensorInfo": [
        (1, "name", "string"),
        (2, "dtype", "int32"),
        (3, "tensor_shape", "TensorShape"),
    ],
    "Signature": [
        (1, "inputs", "map:TensorInfo"),
        (2, "outputs", "map:TensorInfo"),
        (3, "method_name", "string"),
    ],
    "NodeList": [(1, "value", "*string")],
    "BytesList": [(1, "value", "*bytes")],
    "Collection": [(1, "node_list", "NodeList"), (2, "bytes_list", "BytesList")],
    "Saver": [
        (1, "filename_tensor_name", "string"),
        (2, "save_tensor_name", "string"),
        (3, "restore_op_name", "string"),
    ],
    "MetaInfo": [(4, "tags", "*string")],
    "MetaGraph": [
        (1, "meta_info_def", "MetaInfo"),
        (2, "graph_def", "GraphDef"),
        (3, "saver_def", "Saver"),
        (4, "collection_def", "map:Collection"),
        (5, "signature_def", "map:Signature"),
    ],
    "SavedModel": [(1, "schema_version", "int64"), (2, "meta_graphs", "*MetaGraph")],
    # Of tensorflow_hub, which stores them in a collection.
    "ModuleAttachment": [(1, "key", "bytes"), (2, "value", "bytes")],
    "ImageSize": [(1, "height", "uint32"), (2, "width", "uint32")],
    "ImageModuleInfo": [(1, "default_image_size", "ImageSize")],
}


def _add_message(file: Any, name: str, fields: list[tuple[int, str, str]]) -> None:
    message = file.message_type.add(name=name)
    for number, field_name, kind in fields:
        if kind.startswith("map:"):
            # The compiler's own name for a map's entry: camel case, then "Entry".
            entry_name = "".join(part.capitalize() for part in field_name.split("_")) + "Entry"
            entry = message.nested_type.add(name=entry_name)
            entry.options.map_entry = True
            _add_field(entry, 1, "key", "string")
            _add_field(entry, 2, "value", kind.removeprefix("map:"))
            kind = f"*{name}.{entry_name}"
        _add_field(message, number, field_name, kind)


def _add_field(message: Any, number: int, name: str, kind: str) -> None:
    label = _FIELD.LABEL_REPEATED if kind.startswith("*") else _FIELD.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    base = kind.lstrip("*?")
    field.type = getattr(_FIELD, f"TYPE_{base.upper()}", _FIELD.TYPE_MESSAGE)
    if field.type == _FIELD.TYPE_MESSAGE:
        field.type_name = f".{_PACKAGE}.{base}"
    if kind.startswith("?"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="value")
        field.oneof_index = 0


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="tlcli/graph.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        _add_message(file, name, fields)
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
SavedModel: Any = _classes["SavedModel"]
ModuleAttachment: Any = _classes["ModuleAttachment"]
ImageModuleInfo: Any = _classes["ImageModuleInfo"]


def _read_varint(content: bytes, position: int, end: int) -> tuple[int, int]:
    """Return the number at ``position`` and the position after it; ``end`` where it is damaged."""
    value = shift = 0
    while position < end and shift < 70:
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    return value, end


def length_fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, start, end) of the fields that have a length; stop where it is damaged."""
    position = start
    while position < end:
        key, position = _read_varint(content, position, end)
        kind = key & 7
        if kind == 0:
            _, position = _read_varint(content, position, end)
        elif kind == 1:
            position += 8
        elif kind == 5:
            position += 4
        elif kind == 2:
            length, position = _read_varint(content, position, end)
            if length > end - position:
                return  # the reader refuses it
            yield key >> 3, position, position + length
            position += length
        else:
            return
