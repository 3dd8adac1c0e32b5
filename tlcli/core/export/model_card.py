"""The model card: a JSON file next to a graph, with its use and its origin.

A card is used only for the graph whose SHA-256 it contains; with any other, or a damaged one,
the graph is used as a graph without a card.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from tlcli.backbone import INPUT, Backbone
from tlcli.errors import TlcliError
from tlcli.system.atomic_files import output_error, write_text
from tlcli.system.digests import sha256_file

FORMAT = 1
"""Increase it when a reader of the old format would misread the new one."""
SAVED_MODEL_CARD = PurePosixPath("assets.extra/model_card.json")
"""The path of the card in a SavedModel folder; TensorFlow ignores this subfolder."""

# A card of 100,000 labels is far below; a larger file was not written by tlcli.
_LARGEST_CARD = 16 << 20
_LARGEST_SIDE = 8192
_SHA256 = re.compile(r"[0-9a-f]{64}")
# What may change a score when its version changes.
_VERSIONED = ("tlcli", "tensorflow", "keras", "ai-edge-litert", "numpy", "pillow")

_KINDS = {dict: "object", list: "list", str: "text"}
_Part = TypeVar("_Part", dict[str, Any], list[Any], str)

_log = logging.getLogger("tlcli")


@dataclass(frozen=True)
class CardInput:
    """What the graph takes.

    Attributes:
        name: the input node.
        height: in pixels; None when the graph takes bottlenecks instead of images.
        width: in pixels, or None too.
        range: lowest and highest value of a pixel in the input.
        preprocessing: ``Preprocessing.to_dict()``, or None for bottlenecks.
    """

    name: str = INPUT
    height: int | None = None
    width: int | None = None
    range: tuple[float, float] = (0.0, 1.0)
    preprocessing: dict[str, Any] | None = None


@dataclass(frozen=True)
class ModelCard:
    """Labels, input, output and origin of an exported classifier.

    Attributes:
        labels: in output order.
        input: what the graph takes.
        output: name of the node of the scores.
        backbone: name, source, fingerprint, bottleneck_size, licence, and the precision of
            the vectors that the final layer was fitted on ("float32", "bfloat16"); the graph
            itself is float32.
        training: all options, the seed, counts by label and split.
        accuracy: test (0 to 1), count, interval [low, high]; empty when nothing was tested.
        training_images: which contents trained it; see
            `tlcli.core.evaluation.training_images`. Empty where that is unknown.
        images: which contents each label has, of all splits; see there. Empty where unknown.
        unknown: of the graph's score of unknown images: images (that it was fitted to), threshold,
            test (count, rejected), nearest (paths and references); empty without one.
        files: file name, relative to the card and with ``/``, to SHA-256.
        versions: of tlcli and what it ran on.
        created: UTC, ISO 8601.
        thresholds: of labels with independent scores (a sigmoid), in output order: the score from
            which on an image has the label. Empty for a softmax; the file then has none either.
    """

    labels: tuple[str, ...]
    input: CardInput
    output: str
    backbone: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    accuracy: dict[str, Any] = field(default_factory=dict)
    training_images: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)
    unknown: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    thresholds: tuple[float, ...] = ()

    @property
    def activation(self) -> str:
        """What the scores are: "softmax", or "sigmoid" where they are independent."""
        return "sigmoid" if self.thresholds else "softmax"

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON file."""
        found = {"format": FORMAT, **asdict(self)}
        thresholds = found.pop("thresholds")
        if thresholds:
            found["thresholds"] = dict(zip(self.labels, thresholds, strict=True))
        return found

    def to_json(self) -> str:
        """Return the text of the JSON file."""
        # NaN is no JSON; default=str keeps paths and the like readable instead of failing.
        text = json.dumps(_finite(self.to_dict()), ensure_ascii=False, indent=2, default=str)
        if len(text.encode("utf-8", "surrogatepass")) >= _LARGEST_CARD:
            # With fewer facts it is still read.
            if self.images:
                return replace(self, images={}).to_json()
            if self.training_images:
                return replace(self, training_images={}).to_json()
        return text + "\n"

    def write(self, path: Path) -> None:
        """Write the card whole or not at all; write it after all files that it lists.

        Raises:
            OutputError: the file cannot be written.
        """
        write_text(Path(path), self.to_json())


def card_path(graph_path: Path) -> Path:
    """Return the path of a graph's card: ``flowers.json`` for ``flowers.pb``.

    A SavedModel folder contains its own.
    """
    graph_path = Path(graph_path)
    if graph_path.is_dir():
        return graph_path / SAVED_MODEL_CARD
    if graph_path.suffix == ".json":  # never over the graph itself
        return graph_path.with_name(graph_path.name + ".json")
    return graph_path.with_suffix(".json")


def describe_backbone(backbone: Backbone, bottleneck_size: int) -> dict[str, Any]:
    """Return the card's ``backbone`` part; a joined one has its parts, one of layers has them."""
    found: dict[str, Any] = {
        "name": backbone.name,
        "source": backbone.source,
        "fingerprint": backbone.fingerprint,
        "bottleneck_size": bottleneck_size,
        "licence": backbone.licence,
        "precision": backbone.precision,
    }
    if backbone.blocks:
        found["layers"] = [asdict(block) for block in backbone.blocks]
    if backbone.parts:
        found["parts"] = [
            {
                "name": part.name,
                "source": part.source,
                "fingerprint": part.fingerprint,
                "licence": part.licence,
                "input": {"height": part.height, "width": part.width},
            }
            for part in backbone.parts
        ]
    return found


def file_digests(card: Path, files: Mapping[Path, Path]) -> dict[str, str]:
    """Return the card's ``files`` part: names relative to the folder of ``card`` to SHA-256.

    ``files`` maps where each file will be to where it is.

    Raises:
        OutputError: a file that was just written cannot be read.
    """
    hashes = {}
    for path, content in files.items():
        try:
            hashes[_relative(path, Path(card).parent)] = sha256_file(content)
        except OSError as error:
            raise output_error(path, error) from error
    return hashes


def complete(card: ModelCard, path: Path, files: Mapping[Path, Path]) -> ModelCard:
    """Return the card with the digests of its files, the versions and the time.

    Args:
        card: what is known before files are written.
        path: where the card will be written (`card_path` of the graph).
        files: graph, labels file, LiteRT file: those that exist (see `file_digests`).

    Raises:
        OutputError: a file cannot be read.
    """
    return replace(
        card,
        files=file_digests(path, files),
        versions=recorded_versions(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


@functools.cache
def recorded_versions() -> dict[str, str]:
    """Return the versions of tlcli and of what its scores depend on, where installed."""
    from importlib import metadata  # imports the package email, which no reader needs

    found = {}
    for name in _VERSIONED:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def load_for(graph_path: Path, digest_of: Callable[[Path], str] = sha256_file) -> ModelCard | None:
    """Return the card of a graph file or SavedModel folder, or None where there is none.

    A card that is damaged, or that was written for another graph, is skipped with a warning.

    Args:
        graph_path: the graph.
        digest_of: returns the SHA-256 of a file.
    """
    graph_path = Path(graph_path)
    path = card_path(graph_path)
    if not path.is_file():
        return None
    try:
        card = read(path)
    except ValueError as error:
        _log.warning("The model card %s is not used: %s.", path, error)
        return None
    hashed = graph_path / "saved_model.pb" if graph_path.is_dir() else graph_path
    try:
        digest = digest_of(hashed)
    except OSError:  # opening the graph reports it better
        return None
    if digest not in card.files.values():
        _log.warning(
            "The model card %s is not used: it was written for another graph, or "
            "the graph was changed since.",
            path,
        )
        return None
    return card


def read(path: Path) -> ModelCard:
    """Read a card, and check all that it contains.

    Raises:
        ValueError: why it cannot be used, in a few words.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LARGEST_CARD + 1)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    if len(data) > _LARGEST_CARD:
        raise ValueError(f"it is larger than {_LARGEST_CARD >> 20} MB")
    try:
        values = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError("it is no JSON") from error
    return from_dict(values)


def from_dict(values: Any) -> ModelCard:
    """Return the card that `ModelCard.to_dict` wrote; unknown keys are ignored.

    Raises:
        ValueError: why it cannot be used, in a few words.
    """
    if not isinstance(values, dict):
        raise ValueError("it is no object")
    if values.get("format") != FORMAT or isinstance(values["format"], bool):
        raise ValueError(f"its format is not {FORMAT}, which this version of tlcli reads")
    files = _part(values, "files", dict)
    if not all(isinstance(item, str) and _SHA256.fullmatch(item) for item in files.values()):
        raise ValueError("its files are not named with their SHA-256")
    card = ModelCard(
        labels=tuple(_part(values, "labels", list)),
        input=_input(_part(values, "input", dict)),
        output=_part(values, "output", str),
        backbone=_part(values, "backbone", dict, {}),
        training=_part(values, "training", dict, {}),
        accuracy=_part(values, "accuracy", dict, {}),
        training_images=_part(values, "training_images", dict, {}),
        images=_part(values, "images", dict, {}),
        unknown=_part(values, "unknown", dict, {}),
        files=files,
        versions=_part(values, "versions", dict, {}),
        created=_part(values, "created", str, ""),
        thresholds=_thresholds(values),
    )
    names = (*card.labels, card.output, card.input.name, *card.versions.values())
    if not card.labels or not all(isinstance(name, str) and name for name in names):
        raise ValueError("its labels, names or versions are empty or no text")
    return card


def _part(
    values: dict[str, Any], key: str, kind: type[_Part], default: _Part | None = None
) -> _Part:
    """Return the value of a key, which must be of one of JSON's types."""
    value = values.get(key, default)
    if not isinstance(value, kind):
        raise ValueError(f"its {key} is no {_KINDS[kind]}")
    return value


def _thresholds(values: dict[str, Any]) -> tuple[float, ...]:
    """Return the thresholds in the order of the labels."""
    by_label = _part(values, "thresholds", dict, {})
    if not by_label:
        return ()
    found: list[Any] = [by_label.get(str(label)) for label in values["labels"]]
    if not all(_is_number(each) and 0 <= each <= 1 for each in found):
        raise ValueError("its thresholds are no numbers from 0 to 1, one for each label")
    return tuple(map(float, found))


def _input(values: dict[str, Any]) -> CardInput:
    low_high = _part(values, "range", list)
    if len(low_high) != 2 or not all(map(_is_number, low_high)):
        raise ValueError("its input range is no pair of numbers")
    preprocessing = None
    height, width = _side(values.get("height")), _side(values.get("width"))
    if values.get("preprocessing") is not None:
        preprocessing = _part(values, "preprocessing", dict)
        _check_preprocessing(preprocessing, height, width)
    return CardInput(
        name=_part(values, "name", str),
        height=height,
        width=width,
        range=(float(low_high[0]), float(low_high[1])),
        preprocessing=preprocessing,
    )


def _check_preprocessing(values: dict[str, Any], height: int | None, width: int | None) -> None:
    from tlcli.core.images.preprocessing import Preprocessing

    try:
        steps = Preprocessing.from_dict(values)
    except TlcliError as error:
        raise ValueError("its preprocessing is unknown to this version of tlcli") from error
    if (steps.height, steps.width) != (height, width):
        raise ValueError("its preprocessing does not match the size of its input")


def _side(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST_SIDE:
        raise ValueError(f"its input size is no number of pixels from 1 to {_LARGEST_SIDE}")
    return value


def _is_number(value: Any) -> bool:
    # The bound also excludes infinity, NaN and integers that no float can represent.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _finite(value: Any) -> Any:
    """Replace what JSON cannot represent: NaN and infinity by null, NumPy numbers by plain ones."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _relative(path: Path, folder: Path) -> str:
    try:
        name = os.path.relpath(path.absolute(), folder.absolute())
    except ValueError:  # another drive
        name = str(path.absolute())
    return Path(name).as_posix()
