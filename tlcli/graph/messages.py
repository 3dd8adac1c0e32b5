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

from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Messages = dict[str, list[tuple[int, str, str]]]
"""(field number, name, type) of each field of each message.

A type is a scalar or a message; "*" before it repeats it, "map:" makes it a map from string to it,
"?" puts the field into the oneof "value".
"""

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
    "bool": _FIELD.TYPE_BOOL,
    "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE,
}

# DataType enums are plain int32 on the wire.
_GRAPH_MESSAGES: Messages = {
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
}

_SAVED_MODEL_MESSAGES: Messages = {
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


def _add_messages(
    file: descriptor_pb2.FileDescriptorProto, messages: Messages, imported: str = ""
) -> None:
    """Describe messages in a file.

    Args:
        file: receives them; its package becomes theirs.
        messages: their fields.
        imported: package of the messages that are named and not described here.
    """
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        if any(kind.startswith("?") for _, _, kind in fields):
            message.oneof_decl.add(name="value")
        for number, field_name, kind in fields:
            field = message.field.add(name=field_name, number=number, label=_FIELD.LABEL_OPTIONAL)
            base = kind.removeprefix("map:").lstrip("*?")
            full_name = f".{file.package if base in messages else imported}.{base}"
            if kind.startswith("map:"):
                entry_name = _add_map_entry(message, field_name, full_name)
                base, full_name = "", f".{file.package}.{name}.{entry_name}"
            if kind.startswith(("map:", "*")):
                field.label = _FIELD.LABEL_REPEATED
            if kind.startswith("?"):
                field.oneof_index = 0
            _set_type(field, base, full_name)


def _add_map_entry(message: Any, name: str, value: str) -> str:
    """Describe one (key, value) pair of the map ``name``, and return the pair's message name."""
    # The compiler's own name for a map's entry: camel case, then "Entry".
    entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
    entry = message.nested_type.add(name=entry_name)
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_FIELD.LABEL_OPTIONAL, type=_SCALARS["string"])
    pair = entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL)
    _set_type(pair, value.rpartition(".")[2], value)
    return entry_name


def _set_type(field: Any, kind: str, full_name: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = full_name


def _build() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    graph = descriptor_pb2.FileDescriptorProto(
        name="tlcli/graph.proto", package="tlcli.graph", syntax="proto3"
    )
    _add_messages(graph, _GRAPH_MESSAGES)
    pool.Add(graph)
    saved_model = descriptor_pb2.FileDescriptorProto(
        name="tlcli/saved_model.proto",
        package="tlcli.saved_model",
        syntax="proto3",
        dependency=[graph.name],
    )
    _add_messages(saved_model, _SAVED_MODEL_MESSAGES, graph.package)
    pool.Add(saved_model)
    names = [f"{graph.package}.{name}" for name in _GRAPH_MESSAGES]
    names += [f"{saved_model.package}.{name}" for name in _SAVED_MODEL_MESSAGES]
    return {
        name.rpartition(".")[2]: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        for name in names
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


def serialise_nodes(nodes: Sequence[Any]) -> bytes:
    """Return nodes as a serialised GraphDef that contains nothing else.

    Serialised messages concatenate: appended to those of a graph, the nodes come last in it.
    """
    data: bytes = GraphDef(node=nodes).SerializeToString(deterministic=True)
    return data


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
