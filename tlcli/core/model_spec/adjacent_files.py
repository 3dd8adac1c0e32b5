"""Files that other tools put next to a model and that tell how it is fed and labelled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.core.model_spec.ultralytics import (
    ADJACENT_NAME,
    UltralyticsMetadata,
    find_ultralytics,
)

LOBE_SIGNATURE = "signature.json"
CUSTOM_VISION_MANIFEST = "cvexport.manifest"
AUTOML_LABELS = "dict.txt"
NAMES = (LOBE_SIGNATURE, CUSTOM_VISION_MANIFEST, AUTOML_LABELS, ADJACENT_NAME)
"""Names of all these files."""

_LARGEST = 4 << 20


@dataclass(frozen=True)
class AdjacentFiles:
    """What is next to a model, or in its folder.

    Attributes:
        signature: the content of Lobe's ``signature.json``; None where there is none.
        signature_path: its path.
        manifest: the content of Custom Vision's ``cvexport.manifest``; None where there is none.
        has_automl_labels: AutoML's ``dict.txt`` is there.
        ultralytics: what Ultralytics wrote of the model, also into its file; None for others.
    """

    signature: Any = None
    signature_path: Path | None = None
    manifest: Any = None
    has_automl_labels: bool = False
    ultralytics: UltralyticsMetadata | None = None

    @property
    def signature_labels(self) -> tuple[str, ...]:
        """The labels that the signature lists, in output order; () for none."""
        classes = (self.signature or {}).get("classes")
        labels = classes.get("Label") if isinstance(classes, dict) else None
        if not isinstance(labels, list) or not all(isinstance(each, str) for each in labels):
            return ()
        return tuple(labels)


def find_adjacent_files(path: Path) -> AdjacentFiles:
    """Return what is next to a model file, or in and next to a model's folder.

    A signature is that of the model only if it names its file, or stands in its folder.
    """
    path = Path(path)
    folders = [path, path.parent] if path.is_dir() else [path.parent]
    signature, signature_path = None, None
    for folder in folders:
        found = read_json(folder / LOBE_SIGNATURE)
        if not isinstance(found, dict) or not {"inputs", "outputs"} & found.keys():
            continue
        if folder == path or found.get("filename") in (path.name, None):
            signature, signature_path = found, folder / LOBE_SIGNATURE
            break
    manifests = [read_json(folder / CUSTOM_VISION_MANIFEST) for folder in folders]
    manifest = next((each for each in manifests if isinstance(each, dict)), None)
    return AdjacentFiles(
        signature=signature,
        signature_path=signature_path,
        manifest=manifest,
        has_automl_labels=any((folder / AUTOML_LABELS).is_file() for folder in folders),
        ultralytics=find_ultralytics(path),
    )


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; None where it is absent, too large or no JSON."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
