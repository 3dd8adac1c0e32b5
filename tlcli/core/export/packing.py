"""LiteRT files that programs take as they are: a signature, metadata, and labels in the file.

MediaPipe Tasks, Android Studio and ML Kit read from TFLITE_METADATA how pixels are scaled, and
the labels from a zip at the end of the file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlcli.core.export.frozen_graph import labels_text
from tlcli.errors import GraphError
from tlcli.litert.metadata.archive import split_files, zip_behind
from tlcli.litert.metadata.writing import Metadata, count_scores, metadata_before
from tlcli.text import counted

LABELS_FILE = "labels.txt"
CALIBRATION_FILE = "score_calibration.txt"

_NAME = "Image classifier"


def with_metadata(
    content: bytes,
    labels: Sequence[str],
    *,
    thresholds: Sequence[float] = (),
    name: str = _NAME,
) -> bytes:
    """Return a LiteRT file with signature, metadata and labels; same arguments, same bytes.

    The signature is ``serving_default`` from ``image`` to ``prediction``. The metadata state that
    the input takes RGB pixels of 0..255 divided by 255, which holds for int8 and uint8 inputs
    too: what they add is in the tensor's own quantisation. MediaPipe takes images as float32 or
    uint8 alone.

    Args:
        content: a LiteRT file of tlcli, TensorFlow's converter or a quantiser, with any types.
        labels: in output order.
        thresholds: of independent labels, in output order. As the schema has one threshold for
            all labels, they are written as a calibration that changes no score but sets those
            below the threshold of their label to 0.
        name: of the model, for people.

    Raises:
        DataError: a label is empty or has a line break in it.
        GraphError: no LiteRT file of an image classifier, or other labels than it has scores.
    """
    model, _ = split_files(content)
    scores = count_scores(model)
    if scores != len(labels):
        raise GraphError(
            f"the LiteRT file gives {counted(scores, 'score')} for {counted(len(labels), 'label')}"
        )
    files = {LABELS_FILE: labels_text(labels).encode("utf-8")}
    if thresholds:
        files[CALIBRATION_FILE] = _calibration(thresholds).encode("ascii")
        about = "Gives each of {} a score of its own; an image may have several labels."
    else:
        about = "Tells which of {} an image has."
    metadata = Metadata(
        name=name,
        description=about.format(counted(len(labels), "label")),
        labels_file=LABELS_FILE,
        calibration_file=CALIBRATION_FILE if thresholds else "",
        threshold=min(thresholds) if thresholds else None,
    )
    before = metadata_before(model, metadata)
    # Joined once: a model may have hundreds of megabytes.
    return b"".join((before, model, zip_behind(len(before) + len(model), files)))


def _calibration(thresholds: Sequence[float]) -> str:
    """Return one line per label: scale, slope and offset of no change, and the least score."""
    # Clients compare in float32, and take what follows the last line break for one more label.
    return "\n".join(f"1,1,0,{np.float32(each)!s}" for each in thresholds)
