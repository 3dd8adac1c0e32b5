"""TensorFlow Serving's JSON: every form of request, every way to get it wrong."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from tlcli.serve.limits import RequestError
from tlcli.serve.predict import metadata_of_model, read_request, status_of_model, write_answer

B64 = {"b64": base64.b64encode(b"file").decode()}
PIXELS = [[[0.0, 0.5, 1.0]] * 2] * 2


def read(content: Any, most: int = 4) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_request(body, 2, 2, most)


@pytest.mark.parametrize(
    ("request_body", "by_row"),
    [
        ({"instances": [B64, B64]}, True),
        ({"instances": [{"image_bytes": B64}, B64]}, True),
        ({"signature_name": "encoded", "instances": [{"image_bytes": B64}, B64]}, True),
        ({"signature_name": "serving_default", "instances": [B64, B64]}, True),
        ({"signature_name": "", "instances": [B64, B64]}, True),
        ({"inputs": [B64, B64]}, False),
        ({"inputs": {"image_bytes": [B64, B64]}}, False),
        ({"signature_name": "encoded", "inputs": {"image_bytes": [B64, B64]}}, False),
    ],
)
def test_files(request_body: Any, by_row: bool) -> None:
    asked = read(request_body)
    assert asked.instances == (b"file", b"file")
    assert asked.by_row is by_row


def test_a_single_input_stands_alone() -> None:
    assert read({"inputs": B64}).instances == (b"file",)
    assert read({"inputs": {"image_bytes": B64}}).instances == (b"file",)


@pytest.mark.parametrize(
    "request_body",
    [
        {"instances": [PIXELS]},
        {"instances": [{"image": PIXELS}]},
        {"signature_name": "serving_default", "instances": [{"image": PIXELS}]},
        {"inputs": [PIXELS]},
        {"inputs": {"image": [PIXELS]}},
    ],
)
def test_numbers(request_body: Any) -> None:
    [found] = read(request_body).instances
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(PIXELS, np.float32))


@pytest.mark.parametrize(
    ("request_body", "reason"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe{", "no JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"instances": [' + b"9" * 5000 + b"]}", "no JSON|not 2 rows|neither"),
        (b'{"instances": [[[[NaN, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]]}', "not finite"),
        (b'{"instances": [[[[1e99, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]]}', "not finite"),
        ([B64], "no JSON object"),
        ({}, 'either "instances"'),
        ({"instances": [B64], "inputs": [B64]}, 'either "instances"'),
        ({"instances": B64}, "no list"),
        ({"instances": []}, "no instances"),
        ({"inputs": []}, "no instances"),
        ({"instances": [B64] * 5}, "send up to 4"),
        ({"instances": [B64, {"b64": "a&b"}]}, "instance 2: its b64 is no base64"),
        ({"instances": [{"b64": "Zg"}]}, "no base64"),
        ({"instances": [{"b64": "ü"}]}, "no base64"),
        ({"instances": [{"b64": 5}]}, "no base64"),
        ({"instances": [{"b64": "", "x": 1}]}, "needs one of"),
        ({"instances": [{"jpeg": B64}]}, "needs one of"),
        ({"instances": [{"image": B64}]}, 'no {"b64": TEXT}'),
        ({"instances": [{"image_bytes": PIXELS}]}, "which image files are sent in"),
        ({"signature_name": "encoded", "instances": [PIXELS]}, "which image files are sent in"),
        ({"signature_name": "other", "instances": [B64]}, "serving_default, encoded"),
        ({"signature_name": ["encoded"], "instances": [B64]}, "serving_default, encoded"),
        ({"inputs": {"image": [PIXELS], "image_bytes": [B64]}}, "needs one input"),
        ({"inputs": {"jpeg": [B64]}}, "needs one input"),
        ({"instances": ["text"]}, "neither an image file"),
        ({"instances": [3]}, "neither an image file"),
        ({"instances": [None]}, "neither an image file"),
        ({"instances": [[[1, 2], [3]]]}, "not 2 rows of 2 pixels"),
        ({"instances": [[[[0, 0, 0]]]]}, r"but int64 \[1, 1, 3\]"),
        ({"instances": [[[["a", "b", "c"]] * 2] * 2]}, "not 2 rows of 2 pixels"),
        ({"instances": [[[[True, False, True]] * 2] * 2]}, "but bool"),
        ({"instances": [[[[10**400, 0, 0]] * 2] * 2]}, "but object"),
    ],
)
def test_what_is_refused(request_body: Any, reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        read(request_body)
    assert caught.value.status == 400


def test_answers() -> None:
    assert write_answer([[0.25, 0.75]], True) == {"predictions": [[0.25, 0.75]]}
    assert write_answer([[1.0], "not an image"], False) == {
        "outputs": [[1.0], {"error": "not an image"}]
    }
    with pytest.raises(RequestError, match=r"^instance 1: not an image \(and 1 more\)$"):
        write_answer(["not an image", "empty file"], True)


def test_status_and_metadata() -> None:
    [version] = status_of_model()["model_version_status"]
    assert (version["version"], version["state"]) == ("1", "AVAILABLE")
    found = metadata_of_model("flowers", ["rose", "tulip"], 224, 192)
    assert found["model_spec"] == {"name": "flowers", "signature_name": "", "version": "1"}
    assert found["metadata"]["labels"] == ["rose", "tulip"]
    signatures = found["metadata"]["signature_def"]["signature_def"]
    image = signatures["serving_default"]["inputs"]["image"]
    assert [side["size"] for side in image["tensor_shape"]["dim"]] == ["-1", "224", "192", "3"]
    assert signatures["encoded"]["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
    assert signatures["encoded"]["outputs"]["prediction"]["dtype"] == "DT_FLOAT"


def test_the_signatures_are_those_of_the_saved_model() -> None:
    from tlcli.core.export import saved_model
    from tlcli.serve import predict

    assert predict.SIGNATURES == {
        "serving_default": saved_model.IMAGE,
        "encoded": saved_model.IMAGE_BYTES,
    }
    assert predict.PREDICTION == saved_model.PREDICTION
