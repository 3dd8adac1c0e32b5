"""LiteRT files with metadata, a zip of labels and an embedded model card, for `targets`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tlcli.core.export.embedded_card import embed_card, read_embedded_card
from tlcli.core.export.model_card import CardInput
from tlcli.core.export.packing import LABELS_FILE, with_metadata
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.model_spec.labels_file import decode_labels
from tlcli.core.model_spec.packed_files import PackedFiles, packed_thresholds
from tlcli.errors import DataError, GraphError
from tlcli.litert.description import describe_litert
from tlcli.litert.metadata.reading import read_metadata
from tlcli.litert.tables import Bytes

_LABELS = ("a", "b")
_TAKES = CardInput(height=8, width=8, preprocessing=Preprocessing("tlcli-1", 8, 8).to_dict())


def read_packed(path: Path, data: bytes) -> None:
    """Read all that is packed into a file, or say in a sentence why not; pack it again."""
    path.write_bytes(data)
    with suppress(GraphError):
        card = read_embedded_card(path)
        assert card is None or card.labels
    with suppress(GraphError):
        stated = describe_litert(path).metadata
        for name, content in PackedFiles(path).read(stated.labels_files):
            with suppress(DataError):
                assert decode_labels(content, name).names
        assert all(0 <= each <= 1 for each in packed_thresholds(path, stated.calibration_files))
    try:
        made = with_metadata(data, _LABELS)
    except GraphError:
        return
    assert read_metadata(Bytes(made).root()).labels_files == (LABELS_FILE,)
    path.write_bytes(made)
    assert PackedFiles(path).names == (LABELS_FILE,)


def packed_seeds(model: bytes) -> list[bytes]:
    """Return a LiteRT file with two scores in all layouts."""
    packed = with_metadata(model, _LABELS, thresholds=(0.25, 0.5))
    cards = [
        embed_card(content, labels=_LABELS, input=_TAKES, output="final_result")
        for content in (model, packed)
    ]
    return [with_metadata(model, _LABELS), packed, *cards]
