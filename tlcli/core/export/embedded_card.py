"""The model card that is embedded at the end of a graph file, with a checksum trailer.

Graph, labels and model card are three files, and no system replaces three files at once. A
graph that carries its own labels and input is used correctly in every case: next to the labels
of another, without a card, alone in another folder. The record is an unknown field to readers
of a GraphDef, and behind the end for LiteRT, so other programs skip it.

Programs look for a zip at the end of a LiteRT file. Where there is one, the record lies between
model and zip, and what finds it is the zip's comment, with which the file ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tlcli.core.export.model_card import FORMAT, CardInput, ModelCard, from_dict
from tlcli.errors import GraphError
from tlcli.litert.tables import IDENTIFIER
from tlcli.system.digests import add_file

# Field 7281, a run of bytes, encoded as protobuf does: GraphDef has no field of this number.
_TAG = bytes([0x8A, 0xC7, 0x03])
_MAGIC = b"tlcliend"
# Checksum and length of the record, then the magic: found from the end of the file.
_FOOTER = 4 + 4 + len(_MAGIC)
# The same with the length of the zip, its comment included, before the magic.
_ZIP_MAGIC = b"tlclizip"
_ZIP_FOOTER = 4 + 4 + 4 + len(_ZIP_MAGIC)
_NO_DIGEST = "0" * 64
_LARGEST_RECORD = 16 << 20
_LARGEST_FILE = (1 << 31) - 1
# The fields of the card that do not depend on when and where a graph is made.
_FIELDS = ("labels", "input", "output", "files", "thresholds")


def embed_card(
    content: bytes,
    *,
    labels: Sequence[str],
    input: CardInput,
    output: str,
    thresholds: Sequence[float] = (),
) -> bytes:
    """Return a graph file with its embedded card; the same arguments give the same bytes.

    Args:
        content: a serialised ``GraphDef`` or a LiteRT file.
        labels: in output order.
        input: what the graph takes.
        output: name of the node of the scores.
        thresholds: of labels with independent scores.
    """
    card = ModelCard(tuple(labels), input, output, thresholds=tuple(thresholds)).to_dict()
    facts = {"format": FORMAT, **{key: card[key] for key in _FIELDS if key in card}}
    made = _before_zip(content, facts) or _at_end(content, facts)
    # What cannot be read again is not written.
    return content if made is None or len(made) > _LARGEST_FILE else made


def _at_end(content: bytes, facts: dict[str, Any]) -> bytes | None:
    """Return a file with the record as its last field; None where the record is too large."""
    record = _record({"sha256": hashlib.sha256(content).hexdigest(), "card": facts})
    if len(record) > _LARGEST_RECORD:
        return None
    footer = _checksum(record) + len(record).to_bytes(4, "big") + _MAGIC
    return b"".join((content, _head(len(record)), record, footer))


def _before_zip(content: bytes, facts: dict[str, Any]) -> bytes | None:
    """Return a LiteRT file with the record before its zip; None where there is none."""
    if content[4:8] != IDENTIFIER:
        return None
    from tlcli.litert.metadata.archive import split_files, zip_behind

    model, files = split_files(content)
    values = {"sha256": hashlib.sha256(model).hexdigest(), "card": facts, "zip": _NO_DIGEST}
    size = len(_record(values))
    if not files or size > _LARGEST_RECORD:
        return None
    # The zip has the position of its files in it, which follows from the record's length alone.
    packed = zip_behind(len(model) + size, files, bytes(_ZIP_FOOTER))
    values["zip"] = hashlib.sha256(packed[:-_ZIP_FOOTER]).hexdigest()
    record = _record(values)
    lengths = len(record).to_bytes(4, "big") + len(packed).to_bytes(4, "big")
    footer = _checksum(record) + lengths + _ZIP_MAGIC
    return b"".join((model, record, packed[:-_ZIP_FOOTER], footer))


def _record(values: dict[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False, sort_keys=True).encode("utf-8")


def _checksum(record: bytes) -> bytes:
    return zlib.crc32(record).to_bytes(4, "big")


def _head(record: int) -> bytes:
    """Return the tag of the field and the length of what follows, as protobuf writes them.

    Written here, as labelling with a LiteRT file needs no protobuf and importing it is slow.
    """
    size = record + _FOOTER
    length = bytearray()
    while size >= 0x80:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return _TAG + bytes(length)


def read_embedded_card(path: Path, checked: bool = False) -> ModelCard | None:
    """Return the card that is embedded in a graph file, or None where there is none.

    Args:
        path: the graph.
        checked: its content was checked already, and is not read for that again.

    Raises:
        GraphError: the file was changed since it was written.
    """
    # Opening the graph reports an OSError better.
    with contextlib.suppress(OSError), Path(path).open("rb") as file:
        return _read(file, Path(path), checked)
    return None


def _read(file: BinaryIO, path: Path, checked: bool) -> ModelCard | None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _ZIP_FOOTER))
    end = file.read(_ZIP_FOOTER)
    if end.endswith(_MAGIC) and len(end) >= _FOOTER:
        checksum, length = end[-_FOOTER:][:4], int.from_bytes(end[-_FOOTER:][4:8], "big")
        head, after, zipped = _head(length), _FOOTER, 0
    elif end.endswith(_ZIP_MAGIC) and len(end) == _ZIP_FOOTER:
        checksum, length = end[:4], int.from_bytes(end[4:8], "big")
        head, after = b"", int.from_bytes(end[8:12], "big")
        zipped = after - _ZIP_FOOTER
    else:
        return None
    start = size - after - length - len(head)
    if length > _LARGEST_RECORD or start < 0 or zipped < 0:
        raise _damaged(path)
    file.seek(start)
    record = file.read(len(head) + length)
    if not record.startswith(head) or _checksum(record[len(head) :]) != checksum:
        raise _damaged(path)
    try:
        values = json.loads(record[len(head) :].decode("utf-8"))
        card, digest = from_dict(values["card"]), values["sha256"]
        zip_digest = None if head else values["zip"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise GraphError(
            f"{path} was written by another version of tlcli, which this one cannot read "
            f"({error}); update tlcli, or retrain"
        ) from error
    if not checked:
        file.seek(0)
        if add_file(hashlib.sha256(), file, start).hexdigest() != digest:
            raise _damaged(path)
        file.seek(size - after)
        found = add_file(hashlib.sha256(), file, zipped).hexdigest()
        if zip_digest not in (None, found):
            raise _damaged(path)
    return card


def _damaged(path: Path) -> GraphError:
    return GraphError(
        f"{path} is damaged: it is no longer what tlcli wrote; copy or retrain it again, or add "
        "--trust if it was changed on purpose"
    )
