"""What TFLITE_METADATA of any tool state about input, labels and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tlcli.litert.tables import Bytes, DamagedError, Table

OWN_VERSION: Final = "tlcli-1"
"""The model's version in metadata of tlcli: the name of the preprocessing."""
METADATA_NAME = "TFLITE_METADATA"
METADATA_IDENTIFIER = b"M001"

_NORMALIZATION = 1
_AXIS_LABELS, _VALUE_LABELS, _AXIS_CALIBRATION = 2, 3, 4


@dataclass(frozen=True)
class StatedMetadata:
    """What metadata state.

    Attributes:
        mean: of NormalizationOptions, one value or one per channel; () for none.
        std: as ``mean``.
        version: of the model; tlcli gives the name of its preprocessing.
        labels_files: names of files of labels in the zip at the end, the best first.
        calibration_files: names of files of score calibrations there.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    version: str = ""
    labels_files: tuple[str, ...] = ()
    calibration_files: tuple[str, ...] = ()


def read_metadata(model: Table) -> StatedMetadata:
    """Return what the metadata of a LiteRT file state; nothing where they are absent or damaged.

    Args:
        model: the root of the file.
    """
    try:
        return _read(model)
    except DamagedError:  # the network needs none
        return StatedMetadata()


def _read(model: Table) -> StatedMetadata:
    buffers = model.tables(4)
    numbers = [each.number(1, "<I") for each in model.tables(6) if each.text(0) == METADATA_NAME]
    if not numbers or numbers[0] >= len(buffers):
        return StatedMetadata()
    content = buffers[numbers[0]].content(0)
    if len(content) < 8:
        return StatedMetadata()
    root = Bytes(content).root(METADATA_IDENTIFIER)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    labels: list[tuple[int, int, str]] = []
    calibrations: list[str] = []
    for graph in root.tables(3)[:1]:
        for tensor in graph.tables(2)[:1]:
            for unit in tensor.tables(4):
                options = unit.table(1)
                if unit.number(0, "<B") == _NORMALIZATION and options is not None:
                    mean, std = options.numbers(0, "f"), options.numbers(1, "f")
        for tensor in graph.tables(3):
            for file in tensor.tables(6):
                if file.number(2, "<b") in (_AXIS_LABELS, _VALUE_LABELS):
                    # Labels with a language are for people; those without may be identifiers.
                    rank = {"en": 0, "": 1}.get(file.text(3)[:2].lower(), 2)
                    labels.append((rank, len(labels), file.text(0)))
                elif file.number(2, "<b") == _AXIS_CALIBRATION:
                    calibrations.append(file.text(0))
    return StatedMetadata(
        mean=mean,
        std=std,
        version=root.text(2),
        labels_files=tuple(name for *_, name in sorted(labels)),
        calibration_files=tuple(calibrations),
    )
