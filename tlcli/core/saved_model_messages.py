"""TensorFlow's SavedModel as protobuf messages, without importing TensorFlow.

The fields are those of ``saved_model.proto`` and ``meta_graph.proto``; the graphs inside
are `tlcli.core.graph_messages.GraphDef`. Fields that are not named here are kept unread.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, message_factory

from tlcli.core.graph_messages import GraphDef

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tlcli.saved_model"
_GRAPH = GraphDef.DESCRIPTOR.file

# message -> (field number, name, type); "*" repeats, "map:" is a map from string.
_MESSAGES: dict[str, list[tuple[int, str, str]]] = {
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
    "Collection": [(1, "node_list", "NodeList")],
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
}
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
}


def _add_field(
    message: descriptor_pb2.DescriptorProto, number: int, name: str, spelled: str
) -> None:
    field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if spelled.startswith("map:"):
        # The compiler's own name for a map's entry: camel case, then "Entry".
        entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        _add_field(entry, 1, "key", "string")
        _add_field(entry, 2, "value", spelled[4:])
        field.label = _FIELD.LABEL_REPEATED
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{message.name}.{entry_name}"
        return
    if spelled.startswith("*"):
        field.label = _FIELD.LABEL_REPEATED
    kind = spelled.lstrip("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = _FIELD.TYPE_MESSAGE
    package = _PACKAGE if kind in _MESSAGES else _GRAPH.package
    field.type_name = f".{package}.{kind}"


def _build() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="tlcli/saved_model.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[_GRAPH.name],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, spelled in fields:
            _add_field(message, number, field, spelled)
    _GRAPH.pool.Add(file)
    return message_factory.GetMessageClass(
        _GRAPH.pool.FindMessageTypeByName(f"{_PACKAGE}.SavedModel")
    )


SavedModel: Any = _build()
