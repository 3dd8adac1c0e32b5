"""LiteRT copies of old frozen graphs, kept in the cache folder.

Converting a large graph takes longer than anything else that labelling one image does. A copy
is found by the SHA-256 of the graph's content, the options that it was read with and the
version that made it, and is used only while its own SHA-256 is what was written down. What
cannot be read, or is not whole, is made anew; a folder that cannot be written is none.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from tlcli._version import __version__
from tlcli.core.classifier.input_spec import InputOverrides, InputSpec, Scaling
from tlcli.errors import OutputError
from tlcli.system.atomic_files import sha256_bytes, sha256_file, write_text, write_whole
from tlcli.system.bounded_folder import LARGEST_FOLDER, make_room, mark_used
from tlcli.system.cache_folders import converted_folder

_log = logging.getLogger("tlcli")

# Raised when the same graph is converted, examined or checked in another way.
_VERSION = 1
_NAME_DIGITS = 40


@dataclass(frozen=True)
class ConvertedGraph(InputSpec):
    """A copy, and what its graph wants.

    Attributes:
        model: the .tflite file.
        input: name of the graph's Placeholder.
    """

    model: Path
    input: str


def copy_name(digest: str, options: InputOverrides, plain: bool) -> str:
    """Return the name of the copy of a graph.

    Args:
        digest: SHA-256 of the graph's file.
        options: what it was examined with.
        plain: it was converted as it stands.
    """
    made_by = [_VERSION, __version__, digest, *astuple(options), plain]
    return sha256_bytes(json.dumps(made_by).encode())[:_NAME_DIGITS]


def find_copy(name: str) -> ConvertedGraph | None:
    """Return a copy that is there and whole."""
    described, model = _places(name)
    try:
        values = json.loads(described.read_text(encoding="utf-8"))
        found = ConvertedGraph(
            model=model,
            input=str(values["input"]),
            height=int(values["height"]),
            width=int(values["width"]),
            scaling=Scaling(**values["scaling"]),
            dtype=str(values["dtype"]),
            labels=None if values["labels"] is None else int(values["labels"]),
            any_batch=bool(values["any_batch"]),
        )
        if sha256_file(model) != values["sha256"]:
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    mark_used(described, model)
    return found


def keep_copy(name: str, model: bytes, wants: Any) -> None:
    """Keep a copy; where the cache cannot be written, nothing happens.

    Args:
        name: `copy_name` of the graph.
        model: content of the .tflite file.
        wants: the `graph_inference.GraphWants` that it was made of.
    """
    if len(model) > LARGEST_FOLDER:
        return
    described, place = _places(name)
    values = {
        key: getattr(wants, key)
        for key in ("input", "height", "width", "dtype", "labels", "any_batch")
    }
    values |= {"scaling": asdict(wants.scaling), "sha256": sha256_bytes(model)}
    try:
        # The description last: without it a copy is none.
        write_whole(place, model)
        write_text(described, json.dumps(values))
        make_room(place.parent, LARGEST_FOLDER)
    except (OutputError, OSError) as error:
        _log.debug("no copy of the graph is kept: %s", error)


def _places(name: str) -> tuple[Path, Path]:
    folder = converted_folder()
    return folder / f"{name}.json", folder / f"{name}.tflite"
