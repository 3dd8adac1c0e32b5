"""TensorFlow's SavedModel as protobuf messages, without importing TensorFlow.

The fields are those of ``saved_model.proto`` and ``meta_graph.proto``; the graphs inside
are `tlcli.graph.messages.GraphDef`. Fields that are not named here are kept unread.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, message_factory

from tlcli.graph.message_descriptors import Messages, add_messages
from tlcli.graph.messages import GraphDef

_PACKAGE = "tlcli.saved_model"
_GRAPH = GraphDef.DESCRIPTOR.file

_MESSAGES: Messages = {
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


def _build() -> list[Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="tlcli/saved_model.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[_GRAPH.name],
    )
    add_messages(file, _MESSAGES, _GRAPH.package)
    _GRAPH.pool.Add(file)
    return [
        message_factory.GetMessageClass(_GRAPH.pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in ("SavedModel", "ModuleAttachment", "ImageModuleInfo")
    ]


SavedModel: Any
ModuleAttachment: Any
ImageModuleInfo: Any
SavedModel, ModuleAttachment, ImageModuleInfo = _build()
