"""A graph that needs no file, and a client that needs no socket."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from tlcli.core.classifier.classifier import Classifier, ImageInput
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.serve.about import about
from tlcli.serve.app import make_app
from tlcli.serve.limits import Limits
from tlcli.serve.model import ServedModel

COLOURS = ("red", "green", "blue")
PREDICT = "/v1/models/colours:predict"


class Colours:
    """Gives the share of each colour; [n, h, w, 3] to [n, 3]."""

    def __init__(self) -> None:
        self.at_work = 0

    def run(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self.at_work += 1
        assert self.at_work == 1, "two threads at once"
        means = batch.mean(axis=(1, 2)) + 1e-6
        self.at_work -= 1
        return np.asarray(means / means.sum(axis=1, keepdims=True), np.float32)

    def close(self) -> None:
        return


class Mapper:
    """Maps whose only warm place is in the upper row, in the column of the label."""

    shown: tuple[bool, ...] = ()

    def maps(self, batch: np.ndarray[Any, Any], labels: Sequence[int]) -> np.ndarray[Any, Any]:
        found = np.zeros((len(batch), 4, 4), np.float32)
        found[:, 0, labels[0]] = 1
        return found

    def close(self) -> None:
        return


def model(
    mapper: Any = "it is a test",
    max_pixels: int = 1_000_000,
    preprocessing: Literal["tlcli-1", "label_image"] = "tlcli-1",
    engine: Any = None,
    thresholds: Sequence[float] = (),
) -> ServedModel:
    classifier = Classifier(
        Path("colours.pb"),
        COLOURS,
        engine or Colours(),
        ImageInput(Preprocessing(preprocessing, 4, 4), batch_size=8),
    )
    if thresholds:
        classifier.use_thresholds(thresholds)
    return ServedModel(classifier, about(classifier, "colours"), max_pixels, mapper)


def application(limits: Limits | None = None, mapper: Any = "it is a test", **options: Any) -> Any:
    limits = limits or Limits(max_bytes=100_000, max_pixels=1_000_000)
    return make_app(model(mapper, limits.max_pixels), limits, **options)


def picture(colour: str = "red", side: int = 8, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, kind)
    return buffer.getvalue()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: Any,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] = b"",
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send one request; a body of several chunks is sent as such, None in it hangs for ever."""
    return asyncio.run(ask_async(app, method, path, body, headers))


async def ask_async(
    app: Any,
    method: str,
    address: str,
    body: bytes | Iterable[bytes | None] = b"",
    headers: dict[str, str] | None = None,
) -> Answer:
    path, _, query = address.partition("?")
    chunks = iter([body] if isinstance(body, bytes) else body)
    sent = {"host": "localhost:8501", **(headers or {})}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "server": ("127.0.0.1", 8501),
        "client": ("127.0.0.1", 1),
    }
    messages: list[Any] = []

    async def receive() -> Any:
        chunk = next(chunks, b"")
        if chunk is None:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": chunk, "more_body": chunk != b"" and many}

    many = not isinstance(body, bytes)

    async def send(message: Any) -> None:
        messages.append(message)

    await app(scope, receive, send)
    start = messages[0]
    return Answer(
        start["status"],
        {name.decode(): value.decode() for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in messages[1:]),
    )


def rows(*files: bytes) -> bytes:
    instances = [{"b64": base64.b64encode(file).decode()} for file in files]
    return json.dumps({"instances": instances}).encode()
