"""LiteRT files with signature, metadata and labels."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from tests.core.export.test_tflite import graph
from tests.litert.metadata.test_writing import quantised
from tlcli.core.export import tflite
from tlcli.core.export.packing import with_metadata
from tlcli.errors import DataError, GraphError
from tlcli.litert.interpreter import LiteRTEngine

LABELS = ("daisy", "데이지", "שלום")


def read(content: bytes, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name).decode("utf-8")


@pytest.mark.parametrize("operation", ["Relu", "Softplus"])
def test_files_of_both_converters_get_labels_and_run(operation: str) -> None:
    model = tflite.convert(graph(operation))
    content = with_metadata(model, LABELS)
    assert content == with_metadata(model, LABELS)
    assert read(content, "labels.txt") == "daisy\n데이지\nשלום\n"
    image = np.random.default_rng(0).random((1, 8, 10, 3), np.float32)
    np.testing.assert_array_equal(LiteRTEngine(content).run(image), LiteRTEngine(model).run(image))


def test_a_quantised_file_gets_them() -> None:
    assert read(with_metadata(quantised("UINT8"), LABELS), "labels.txt").split("\n")[1] == "데이지"


def test_thresholds_are_a_calibration_that_changes_no_score() -> None:
    content = with_metadata(tflite.convert(graph()), LABELS, thresholds=(0.5, 0.25, 0.1))
    assert read(content, "score_calibration.txt") == "1,1,0,0.5\n1,1,0,0.25\n1,1,0,0.1"


def test_labels_of_an_earlier_time_are_replaced() -> None:
    model = tflite.convert(graph())
    again = with_metadata(with_metadata(model, LABELS), ["a", "b", "c"])
    with zipfile.ZipFile(io.BytesIO(again)) as archive:
        assert archive.namelist() == ["labels.txt"]
    assert read(again, "labels.txt") == "a\nb\nc\n"


def test_what_does_not_fit_is_one_sentence() -> None:
    model = tflite.convert(graph())
    with pytest.raises(GraphError, match="gives 3 scores for 2 labels"):
        with_metadata(model, ["a", "b"])
    with pytest.raises(DataError, match="line break"):
        with_metadata(model, ["a", "b", "c\nd"])
    with pytest.raises(GraphError, match="can be given no metadata"):
        with_metadata(b"no model", LABELS)
