"""What Ultralytics writes of a model: into a LiteRT file, and next to a SavedModel.

Sources: ``engine/exporter.py`` of Ultralytics. Its versions have written a Python dictionary
(``temp_meta.txt`` in the file), JSON (``metadata.json`` in the file) and YAML (``metadata.yaml``).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.core.model_spec.packed_files import PackedFiles

PACKED_NAMES = ("metadata.json", "temp_meta.txt")
"""Names of its metadata in the zip at the end of a LiteRT file."""
ADJACENT_NAME = "metadata.yaml"
"""Name of its metadata in the folder of a SavedModel."""

_LARGEST = 4 << 20
_NAMES = re.compile(r"""["']?\bnames["']?\s*:\s*\{?""")
_NAME = re.compile(
    r"""\s*["']?(\d{1,6})["']?:\s*(?:'((?:[^'\\\n]|\\.|'')*)'|"((?:[^"\\\n]|\\.)*)"|([^\n,}]+))\s*,?"""
)


@dataclass(frozen=True)
class UltralyticsMetadata:
    """What Ultralytics writes of a model.

    Attributes:
        labels: in output order.
        source: where they come from, for messages.
    """

    labels: tuple[str, ...]
    source: str


def find_ultralytics(path: Path) -> UltralyticsMetadata | None:
    """Return what Ultralytics wrote of a model file or folder; None where it did not make it."""
    packed = PackedFiles(path)
    for name, content in packed.read([name for name in PACKED_NAMES if name in packed.names]):
        labels = _labels_in(content)
        if labels:
            return UltralyticsMetadata(labels, f"{name} in {path}")
    adjacent = (path if path.is_dir() else path.parent) / ADJACENT_NAME
    try:
        content = adjacent.read_bytes() if adjacent.stat().st_size <= _LARGEST else b""
    except OSError:
        return None
    labels = _labels_in(content)
    return UltralyticsMetadata(labels, str(adjacent)) if labels else None


def _labels_in(content: bytes) -> tuple[str, ...]:
    """Return the labels in metadata of Ultralytics, () in anything else."""
    text = content.decode("utf-8", "replace")
    if not ("task" in text and ("Ultralytics" in text or "imgsz" in text)):
        return ()
    try:
        return _in_order(json.loads(text)["names"].items())
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        pass
    begun = _NAMES.search(text)
    found, position = [], 0 if begun is None else begun.end()
    while begun is not None and (pair := _NAME.match(text, position)):
        number, single, double, plain = pair.groups()
        # In single quotes Python escapes by a backslash, YAML by a second quote.
        label = single.replace("''", "'") if single is not None else double
        found.append((number, plain.strip() if label is None else re.sub(r"\\(.)", r"\1", label)))
        position = pair.end()
    return _in_order(found)


def _in_order(names: Any) -> tuple[str, ...]:
    """Return names by their numbers; () where these do not run from 0."""
    numbered = {int(number): label for number, label in names if len(str(number)) <= 6}
    labels = [numbered.get(number) for number in range(len(numbered))]
    whole = tuple(label for label in labels if isinstance(label, str))
    return whole if len(whole) == len(labels) else ()
