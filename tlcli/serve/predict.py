"""The JSON of TensorFlow Serving's REST API: parsing requests, writing responses and metadata.

Row format:     {"instances": [I, ...]}       response {"predictions": [S, ...]}
Column format:  {"inputs": X}                 response {"outputs": [S, ...]}
An image file as it is, with an image type:   response {"predictions": [S]}

An instance I is {"b64": TEXT} or {"image_bytes": {"b64": TEXT}}, the content of an image file
in base64 (signature "encoded"), or numbers [height][width][3], alone or as {"image": numbers},
in the range of the graph's input (signature "serving_default"). S is the list of the scores in
the order of the labels. X is, as in TensorFlow Serving, instances, or {NAME: instances}
with the name of the input.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from tlcli.arrays import Array
from tlcli.serve.limits import RequestError

IMAGE, IMAGE_BYTES, PREDICTION = "image", "image_bytes", "prediction"
# Signature -> its only input; the SavedModel that `tlcli retrain` writes has the same two.
SIGNATURES = {"serving_default": IMAGE, "encoded": IMAGE_BYTES}
VERSION = "1"
# Bytes. Parsing less takes some hundredths of a second.
_LONG = 1 << 20


@dataclass(frozen=True)
class PredictRequest:
    """A parsed request.

    Attributes:
        instances: the bytes of an image file, or float32 [height, width, 3], each.
        by_row: the request has "instances"; the response has "predictions".
    """

    instances: tuple[bytes | Array, ...]
    by_row: bool


def read_request(body: bytes, height: int, width: int, max_instances: int) -> PredictRequest:
    """Parse the body of a predict request for a graph with an input of height x width pixels.

    Raises:
        RequestError: 400, with the fault and its position.
    """
    given = _object(body)
    signature = given.get("signature_name", "")
    if signature not in ("", *SIGNATURES):
        _refuse(f"there is no signature {signature!r}; give one of {', '.join(SIGNATURES)}")
    by_row = "instances" in given
    if by_row == ("inputs" in given):
        _refuse('the body needs either "instances", a list, or "inputs"')
    values = given["instances"] if by_row else _columns(given["inputs"])
    if not isinstance(values, list):
        _refuse('"instances" is no list; put each image into it, also where there is one')
    if not values:
        _refuse("there are no instances")
    if len(values) > max_instances:
        _refuse(f"{len(values)} instances are too many; send up to {max_instances} at once")
    instances = tuple(
        _instance(value, number, signature, (height, width, 3))
        for number, value in enumerate(values, 1)
    )
    return PredictRequest(instances, by_row)


def write_answer(results: Sequence[list[float] | str], by_row: bool) -> dict[str, Any]:
    """Return the response: scores, or {"error": reason} for an image without any.

    Raises:
        RequestError: 400, where no image has scores.
    """
    if all(isinstance(result, str) for result in results):
        reasons = [f"instance {number}: {text}" for number, text in enumerate(results, 1)]
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise RequestError(400, reasons[0] + more)
    shown = [{"error": result} if isinstance(result, str) else result for result in results]
    return {"predictions" if by_row else "outputs": shown}


def status_of_model() -> dict[str, Any]:
    """Return the response to ``GET /v1/models/NAME``."""
    return {
        "model_version_status": [
            {
                "version": VERSION,
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


def metadata_of_model(name: str, labels: Sequence[str], height: int, width: int) -> dict[str, Any]:
    """Return the response to ``GET /v1/models/NAME/metadata``.

    In addition to TensorFlow Serving's fields it has the labels, in the order of the scores.
    """
    inputs = {
        "serving_default": {IMAGE: _tensor("DT_FLOAT", (-1, height, width, 3), IMAGE)},
        "encoded": {IMAGE_BYTES: _tensor("DT_STRING", (-1,), IMAGE_BYTES)},
    }
    signatures = {
        signature: {
            "inputs": tensors,
            "outputs": {PREDICTION: _tensor("DT_FLOAT", (-1, len(labels)), PREDICTION)},
            "method_name": "tensorflow/serving/predict",
        }
        for signature, tensors in inputs.items()
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": VERSION},
        "metadata": {"signature_def": {"signature_def": signatures}, "labels": list(labels)},
    }


def _tensor(dtype: str, sizes: tuple[int, ...], name: str) -> dict[str, Any]:
    # As text, like all 64-bit integers in protobuf's JSON.
    sides = [{"size": str(size), "name": ""} for size in sizes]
    return {
        "dtype": dtype,
        "tensor_shape": {"dim": sides, "unknown_rank": False},
        "name": f"{name}:0",
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        if len(body) < _LONG:
            given = json.loads(body)
        else:
            # In C alone, no other thread would run until the whole body is parsed.
            given = json.loads(body, parse_float=_real, parse_int=_whole)
    except RecursionError:
        _refuse("the body is nested too deeply")
    except ValueError as error:  # also for bytes that are not UTF-8
        if body.lstrip()[:1] not in (b"{", b"[", b""):
            _refuse(
                "the body is no JSON; to send an image file as it is, declare its type "
                "(Content-Type: image/jpeg)"
            )
        _refuse(f"the body is no JSON: {error}")
    if not isinstance(given, dict):
        _refuse('the body is no JSON object; send {"instances": [...]}')
    return given


def _real(text: str) -> float:
    return float(text)


def _whole(text: str) -> int:
    return int(text)


def _columns(inputs: Any) -> list[Any]:
    """Return the instances of the column format."""
    name, values = _named(inputs, f'"inputs" needs one input, "{IMAGE}" or "{IMAGE_BYTES}"')
    columns = values if isinstance(values, list) else [values]
    return columns if name is None else [{name: value} for value in columns]


def _named(value: Any, refusal: str) -> tuple[str | None, Any]:
    """Return name and content of {NAME: content}, and None and any other value itself."""
    if not isinstance(value, dict) or set(value) == {"b64"}:
        return None, value
    if len(value) != 1 or not set(value) <= {IMAGE, IMAGE_BYTES}:
        _refuse(refusal)
    return next(iter(value.items()))


def _instance(
    value: Any, number: int, signature: str, shape: tuple[int, int, int]
) -> bytes | Array:
    name, value = _named(
        value,
        f'instance {number} needs one of {{"b64": TEXT}}, '
        f'{{"{IMAGE_BYTES}": {{"b64": TEXT}}}} and {{"{IMAGE}": NUMBERS}}',
    )
    if isinstance(value, dict):
        if set(value) != {"b64"} or name == IMAGE:
            _refuse(f'instance {number} is no {{"b64": TEXT}}')
        return _decoded(value["b64"], number)
    if name == IMAGE_BYTES or signature == "encoded":
        _refuse(f'instance {number} is no {{"b64": TEXT}}, which image files are sent in')
    return _numbers(value, number, shape)


def _decoded(text: Any, number: int) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "?", validate=True)
    except (binascii.Error, ValueError):  # the second: not ASCII
        _refuse(f"instance {number}: its b64 is no base64")


def _numbers(value: Any, number: int, shape: tuple[int, int, int]) -> Array:
    height, width, _ = shape
    wanted = f"{height} rows of {width} pixels of 3 numbers"
    # Checked here, as NumPy would convert text and None to numbers.
    if not isinstance(value, list):
        _refuse(f"instance {number} is neither an image file in b64 nor {wanted}")
    try:
        found = np.array(value)
    except ValueError:  # rows of different lengths
        _refuse(f"instance {number} is not {wanted}")
    if found.shape != shape or found.dtype.kind not in "iuf":
        _refuse(f"instance {number} is not {wanted}, but {found.dtype} {list(found.shape)}")
    with np.errstate(over="ignore"):  # too large values become infinite, see below
        pixels: Array = found.astype(np.float32)
    if not np.isfinite(pixels).all():
        _refuse(f"instance {number} has numbers that are not finite")
    return pixels


def _refuse(message: str) -> NoReturn:
    raise RequestError(400, message)
