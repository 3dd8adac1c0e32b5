"""Give a LiteRT file its signature and its metadata, whatever tool made it.

Sources: the schemas of LiteRT files (``schema.fbs``) and of their metadata
(``metadata_schema.fbs``, 1.0.0), by the numbers of their fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.errors import GraphError
from tlcli.litert.metadata.reading import METADATA_IDENTIFIER, METADATA_NAME, OWN_VERSION
from tlcli.litert.metadata.tree import Floats, Node, Place, Scalar, node, serialise
from tlcli.litert.tables import IDENTIFIER, Bytes, DamagedError, Table, damaged

SIGNATURE = "serving_default"
"""The key of the one signature that is written."""
INPUT, OUTPUT = "image", "prediction"
"""Names of the input and the output in the signature and in the metadata."""

_PARSER_VERSION = "1.0.0"
# Numbers of the unions and enumerations of the metadata's schema.
_FEATURE, _IMAGE = Scalar("Uint8", 1), Scalar("Uint8", 2)
_NORMALIZATION, _CALIBRATION, _THRESHOLDING = (Scalar("Uint8", number) for number in (1, 2, 3))
_RGB = Scalar("Int8", 1)
_AXIS_LABELS, _AXIS_CALIBRATION = Scalar("Int8", 2), Scalar("Int8", 4)
_INVERSE_LOGISTIC = Scalar("Int8", 2)
# Slots of the model's table.
_VERSION, _BUFFERS, _METADATA, _SIGNATURES, _SLOTS = 0, 4, 6, 7, 8


@dataclass(frozen=True)
class Metadata:
    """What TFLITE_METADATA state of a classifier.

    Attributes:
        name: of the model.
        description: of the model, for people.
        labels_file: name of the labels file in the zip at the end of the file.
        calibration_file: name of the file of score calibrations there; "" for none.
        threshold: score below which clients leave a label out; None for none.
        mean: subtracted from pixels of 0..255.
        std: what the rest is divided by.
    """

    name: str
    description: str
    labels_file: str
    calibration_file: str = ""
    threshold: float | None = None
    mean: float = 0.0
    std: float = 255.0


@dataclass(frozen=True)
class _Ends:
    """Input and output of a file: their tensors' indices and shapes."""

    indices: tuple[int, int]
    shapes: tuple[Sequence[int], Sequence[int]]


def metadata_before(content: bytes, metadata: Metadata) -> bytes:
    """Return what to put in front of a LiteRT file: the signature `SIGNATURE` and metadata.

    What the file holds stays as it is, behind a new root; an older signature of that key and older
    metadata are no longer referred to.

    Args:
        content: a LiteRT file that takes one batch of images and gives one tensor of scores, in
            any type.
        metadata: what to state.

    Raises:
        GraphError: it is no such file, or is damaged.
    """
    try:
        return _root(Bytes(content).root(), metadata)
    except DamagedError as error:
        raise GraphError(f"the LiteRT file can be given no metadata: {error}") from error


def count_scores(content: bytes) -> int:
    """Return how many scores a LiteRT file gives for an image.

    Raises:
        GraphError: as `metadata_before`.
    """
    try:
        return _ends(Bytes(content).root()).shapes[1][-1]
    except DamagedError as error:
        raise GraphError(f"the LiteRT file can be given no metadata: {error}") from error


def _root(model: Table, metadata: Metadata) -> bytes:
    if any(model.target(slot) is not None for slot in range(_SLOTS, model.slots)):
        damaged("it refers to constants in other files")
    buffers = model.tables(_BUFFERS)
    # Such constants are found by their distance from the beginning of the file.
    if any(each.number(1, "<Q") > 1 or each.number(2, "<Q") > 1 for each in buffers):
        damaged("its constants lie outside its tables")
    ends = _ends(model)
    described = serialise(_described(metadata, ends), METADATA_IDENTIFIER)
    kept = [each for each in model.tables(_METADATA) if each.text(0) != METADATA_NAME]
    signatures = [each for each in model.tables(_SIGNATURES) if each.text(2) != SIGNATURE]
    kept_parts = (None, *(model.target(slot) for slot in range(1, _SLOTS)))
    slots: list[Any] = [None if at is None else Place(at) for at in kept_parts]
    slots[_VERSION] = Scalar("Uint32", model.number(_VERSION, "<I"))
    slots[_BUFFERS] = [*_places(buffers), node(described)]
    entry = node(METADATA_NAME, Scalar("Uint32", len(buffers)))
    slots[_METADATA] = [*_places(kept), entry]
    slots[_SIGNATURES] = [*_places(signatures), _signature(ends)]
    return serialise(node(*slots), IDENTIFIER)


def _places(tables: Sequence[Table]) -> list[Node | Place]:
    return [Place(each.position) for each in tables]


def _ends(model: Table) -> _Ends:
    graphs = model.tables(2)
    if not graphs:
        damaged("it holds no graph")
    tensors = graphs[0].tables(0)
    found = [graphs[0].integers(slot) for slot in (1, 2)]
    for what, indices in zip(("input", "output"), found, strict=True):
        if len(indices) != 1:
            damaged(f"it has {len(indices)} {what}s, and one is needed")
        if not 0 <= indices[0] < len(tensors):
            damaged(f"it names the tensor {indices[0]} of {len(tensors)}")
    first, last = (tensors[indices[0]].integers(0) for indices in found)
    if len(first) != 4 or first[3] != 3 or not last:
        damaged("it takes no RGB images, or gives no scores")
    return _Ends((found[0][0], found[1][0]), (first, last))


def _signature(ends: _Ends) -> Node:
    maps = [
        [node(name, Scalar("Uint32", index))]
        for name, index in zip((INPUT, OUTPUT), ends.indices, strict=True)
    ]
    return node(maps[0], maps[1], SIGNATURE)


def _described(metadata: Metadata, ends: _Ends) -> Node:
    """Return the table ModelMetadata."""
    graph = node(None, None, [_input(metadata, ends)], [_output(metadata)])
    return node(
        *(metadata.name, metadata.description, OWN_VERSION, [graph]),
        *(None, None, None, _PARSER_VERSION),
    )


def _input(metadata: Metadata, ends: _Ends) -> Node:
    height, width = ends.shapes[0][1:3]
    size = node(Scalar("Uint32", width), Scalar("Uint32", height))
    normalised = node(Floats([metadata.mean]), Floats([metadata.std]))
    lowest, highest = ((each - metadata.mean) / metadata.std for each in (0.0, 255.0))
    return node(
        INPUT,
        f"RGB images, upright, stretched to {width} x {height} pixels, with values from "
        f"{lowest:g} to {highest:g}.",
        None,
        node(_IMAGE, node(_RGB, size)),
        [node(_NORMALIZATION, normalised)],
        node(Floats([highest]), Floats([lowest])),
    )


def _output(metadata: Metadata) -> Node:
    files = [node(metadata.labels_file, "Labels in the order of the scores.", _AXIS_LABELS)]
    units = []
    if metadata.calibration_file:
        files.append(
            node(
                metadata.calibration_file,
                "For each label, a calibration that changes no score and the score from which on "
                "an image has the label.",
                _AXIS_CALIBRATION,
            )
        )
        units.append(node(_CALIBRATION, node(_INVERSE_LOGISTIC)))
    if metadata.threshold is not None:
        units.append(node(_THRESHOLDING, node(Scalar("Float32", metadata.threshold))))
    return node(
        OUTPUT,
        "Probabilities, one for each label.",
        None,
        node(_FEATURE, node()),
        units or None,
        node(Floats([1.0]), Floats([0.0])),
        files,
    )
