"""LiteRT files of tlcli without their model card: labelled by their metadata alone."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.core.export.test_tflite import graph
from tests.litert.metadata.test_writing import packed, schema, unpacked
from tlcli.core.classifier import trial
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.loading import load
from tlcli.core.export import tflite
from tlcli.core.export.embedded_card import embed_card, read_embedded_card
from tlcli.core.export.model_card import CardInput
from tlcli.core.export.packing import with_metadata
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.model_spec.origins import OWN_METADATA
from tlcli.errors import DataError, GraphError
from tlcli.litert.metadata.archive import append_files, split_files

LABELS = ("daisy", "데이지", "שלום")
TAKES = CardInput(height=8, width=10, preprocessing=Preprocessing("tlcli-1", 8, 10).to_dict())
THRESHOLDS = (0.0521, 0.5, 0.95)


def of_bytes(kind: str) -> bytes:
    """Return a file whose input takes the integers of pixels, as quantisers make it."""
    model = unpacked(tflite.convert(graph()))
    [network] = model.subgraphs
    tensor, operator, code = schema.TensorT(), schema.OperatorT(), schema.OperatorCodeT()
    tensor.name, tensor.shape, tensor.buffer = "pixels", [1, 8, 10, 3], 0
    tensor.type = getattr(schema.TensorType, kind)
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = [1 / 255]
    tensor.quantization.zeroPoint = [-128 if kind == "INT8" else 0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 2
    operator.opcodeIndex = len(model.operatorCodes)
    operator.inputs, operator.outputs = [len(network.tensors)], [int(network.inputs[0])]
    network.inputs = [len(network.tensors)]
    network.tensors.append(tensor)
    network.operators.insert(0, operator)
    model.operatorCodes.append(code)
    return packed(model)


def without_card(content: bytes) -> bytes:
    """Return the file as a program leaves it that writes the zip again, without its comment."""
    return append_files(*split_files(content))


def photos() -> list[bytes]:
    """Return a large photo that lies on its side, and a drawing with holes."""
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    streams = [io.BytesIO(), io.BytesIO()]
    pixels = random.integers(0, 256, (6, 8, 4), np.uint8)
    photo = Image.fromarray(pixels[..., :3]).resize((80, 60))
    photo.save(streams[0], "JPEG", exif=exif)
    Image.fromarray(pixels).resize((40, 30)).save(streams[1], "PNG")
    return [stream.getvalue() for stream in streams]


def found(classifier: Classifier) -> list[Any]:
    with classifier:
        return [(each.scores, each.unsure) for each in classifier.label(photos())]


@pytest.mark.parametrize(
    ("content", "thresholds"),
    [
        (lambda: tflite.convert(graph()), ()),
        (lambda: tflite.convert(graph(activation="sigmoid")), THRESHOLDS),
        (lambda: of_bytes("INT8"), ()),
        (lambda: of_bytes("UINT8"), ()),
    ],
    ids=["softmax", "several labels", "int8", "uint8"],
)
def test_a_file_without_its_card_is_labelled_alike(
    tmp_path: Path, content: Any, thresholds: tuple[float, ...]
) -> None:
    path, bare = tmp_path / "graph.tflite", tmp_path / "bare" / "graph.tflite"
    made = with_metadata(content(), LABELS, thresholds=thresholds)
    known: Any = {"labels": LABELS, "input": TAKES, "output": "final_result"}
    path.write_bytes(embed_card(made, **known, thresholds=thresholds))
    bare.parent.mkdir()
    bare.write_bytes(without_card(path.read_bytes()))
    assert read_embedded_card(path) is not None
    assert read_embedded_card(bare) is None
    with load(bare) as classifier:
        assert classifier.labels == LABELS
        assert classifier.spec.origin == OWN_METADATA
        assert not classifier.spec.assumed
    expected = found(load(path))
    assert found(load(bare)) == expected
    if thresholds:
        # Some labels are below theirs, or the thresholds would not show.
        assert {len(scores) for scores, _ in expected} != {len(LABELS)}


def test_metadata_of_tlcli_spare_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(trial, "require_pass", lambda each, *_: tried.append(each.name))
    path = tmp_path / "graph.tflite"
    path.write_bytes(with_metadata(tflite.convert(graph()), LABELS))
    load(path).close()
    assert tried == [str(path)]


def test_thresholds_that_the_zip_lacks_are_no_thresholds(tmp_path: Path) -> None:
    path = tmp_path / "graph.tflite"
    content = tflite.convert(graph(activation="sigmoid"))
    model, files = split_files(with_metadata(content, LABELS, thresholds=THRESHOLDS))
    for calibration in ({}, {"score_calibration.txt": b"2,1,0,0.5\n2,1,0,0.5\n2,1,0,0.5"}):
        path.write_bytes(append_files(model, {"labels.txt": files["labels.txt"], **calibration}))
        with load(path) as classifier:
            # Those of any file that ends in a sigmoid.
            assert classifier.thresholds == dict.fromkeys(LABELS, 0.5)


def test_packed_labels_that_are_no_text_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "graph.tflite"
    model, _ = split_files(with_metadata(tflite.convert(graph()), LABELS))
    for wrong in (b"caf\xe9\n" * 3, b"a\0b\nc\nd\n", b""):
        path.write_bytes(append_files(model, {"labels.txt": wrong}))
        with pytest.raises(DataError, match=r"^labels\.txt in .*") as error:
            load(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_among_packed_labels_is_one_sentence(tmp_path: Path, method: int) -> None:
    path = tmp_path / "graph.tflite"
    model, _ = split_files(with_metadata(tflite.convert(graph()), LABELS))
    path.write_bytes(model)
    with zipfile.ZipFile(path, "a", method) as archive, archive.open("labels.txt", "w") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    # It claims to be small.
    size, claimed = ((each).to_bytes(4, "little") for each in (64 << 20, 6))
    path.write_bytes(model + path.read_bytes()[len(model) :].replace(size, claimed))
    with pytest.raises(GraphError, match="no labels for"):
        load(path)


def test_lies_in_the_end_of_the_zip_leave_a_file_without_labels(tmp_path: Path) -> None:
    path = tmp_path / "graph.tflite"
    made = with_metadata(tflite.convert(graph()), LABELS)
    end = len(made) - 22
    for at in range(end, len(made)):
        for value in (0x00, 0x7F, 0xFF):
            content = bytearray(made)
            content[at] = value
            path.write_bytes(content)
            try:
                load(path, trust=True).close()
            except GraphError as error:
                assert "labels" in str(error)  # noqa: PT017
