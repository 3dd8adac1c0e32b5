"""Protobuf messages described in tables, for formats that others keep."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2

Messages = dict[str, list[tuple[int, str, str]]]
"""(field number, name, type) of each field of each message.

A type is a scalar or a message; "*" before it repeats it, "map:" makes it a map from string,
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


def add_messages(
    file: descriptor_pb2.FileDescriptorProto, messages: Messages, elsewhere: str = ""
) -> None:
    """Describe messages in a file.

    Args:
        file: that gets them; its package is theirs.
        messages: what they hold.
        elsewhere: package of the messages that are named and not described here.
    """
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        if any(spelled.startswith("?") for _, _, spelled in fields):
            message.oneof_decl.add(name="value")
        for number, field, spelled in fields:
            kind = spelled.removeprefix("map:").lstrip("*?")
            package = file.package if kind in messages else elsewhere
            _add_field(message, number, field, spelled, f".{file.package}", f".{package}.{kind}")


def _add_field(
    message: Any, number: int, name: str, spelled: str, package: str, full_name: str
) -> None:
    field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if spelled.startswith("map:"):
        # The compiler's own name for a map's entry: camel case, then "Entry".
        entry_name = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        _add_field(entry, 1, "key", "string", package, "")
        _add_field(entry, 2, "value", spelled[4:], package, full_name)
        field.label = _FIELD.LABEL_REPEATED
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f"{package}.{message.name}.{entry_name}"
        return
    if spelled.startswith("*"):
        field.label = _FIELD.LABEL_REPEATED
    if spelled.startswith("?"):
        field.oneof_index = 0
    kind = spelled.lstrip("*?")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = full_name
