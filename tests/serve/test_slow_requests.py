"""No request blocks another, and the server ends although it is busy."""

from __future__ import annotations

import base64
import io
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from tests.pictures import encoded
from tests.serve.running import Server, running
from tests.support import Trained

PREDICT = "/v1/models/model:predict"


def plain_text(side: int) -> bytes:
    """Return an image that Pillow reads number by number, for seconds."""
    return f"P3 {side} {side} 255\n".encode() + b"7 " * (3 * side * side)


def slow_images(count: int) -> list[bytes]:
    """Return images of some seconds each."""
    return [plain_text(2800)] * count


def row(content: bytes) -> str:
    return json.dumps({"instances": [{"b64": base64.b64encode(content).decode()}]})


class Asking(threading.Thread):
    """A request that is sent in the background; ``status`` is None until it is answered."""

    def __init__(self, server: Server, body: str) -> None:
        super().__init__(daemon=True)
        self._server, self._body = server, body
        self.status: int | None = None

    def run(self) -> None:
        with suppress(OSError):
            self.status = self._server.ask("POST", PREDICT, self._body)[0]


@contextmanager
def asked(server: Server, bodies: list[str]) -> Iterator[list[Asking]]:
    """Send requests at the same time."""
    threads = [Asking(server, body) for body in bodies]
    for thread in threads:
        thread.start()
    yield threads


@pytest.fixture
def photo(trained: Trained) -> bytes:
    return sorted(trained.photos.rglob("*.jpg"))[-1].read_bytes()


def wait_until_busy(server: Server) -> None:
    """Wait until decoding has begun."""
    before = server.processor_seconds()
    if not before:
        time.sleep(1)
        return
    while server.processor_seconds() < before + 0.6:
        time.sleep(0.05)


@pytest.mark.slow
def test_slow_images_delay_no_other_request(trained: Trained, photo: bytes) -> None:
    with running("--graph", trained.graph, "--max_bytes", 128 << 20) as server:
        assert server.ask("POST", PREDICT, row(photo))[0] == 200
        with asked(server, [row(image) for image in slow_images(3)]) as threads:
            wait_until_busy(server)
            assert server.ask("GET", "/v1/models/model")[0] == 200
            assert server.ask("GET", "/")[0] == 200
            assert server.ask("POST", PREDICT, row(photo))[0] == 200
            assert server.ask("POST", "/label", photo)[0] == 200
            # They are still at work.
            assert all(thread.is_alive() for thread in threads)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_busy_server_ends_at_once(trained: Trained, number: signal.Signals) -> None:
    with running("--graph", trained.graph, "--max_bytes", 128 << 20) as server:
        bodies = [row(image) for image in slow_images(2)]
        with asked(server, bodies) as threads:
            wait_until_busy(server)
            code, err = server.stop(number)
            for thread in threads:
                thread.join(20)
    # It did not wait for the images, which take seconds each.
    assert 200 not in {thread.status for thread in threads}
    assert code == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert err.strip() == {signal.SIGTERM: "Terminated.", signal.SIGINT: "Interrupted."}[number]


@pytest.mark.slow
def test_a_large_body_is_parsed_beside_other_requests(trained: Trained) -> None:
    numbers = np.full((12, 224, 224, 3), 0.123456).tolist()
    body = json.dumps({"instances": numbers})
    assert len(body) > 15_000_000
    with running("--graph", trained.graph) as server:
        with asked(server, [body]) as (thread,):
            answered = 0
            while thread.is_alive():
                assert server.ask("GET", "/v1/models/model")[0] == 200
                answered += 1
        assert thread.status == 200
    # The last one may have come after the body.
    assert answered > 3


def exchange(server: Server, head: str, body: bytes) -> bytes:
    """Send bytes as they are; return all that comes back."""
    host, port = urlsplit(server.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + body)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    return answer


@pytest.mark.parametrize("order", [0, 1])
def test_two_lengths_of_a_body_are_refused(trained: Trained, order: int) -> None:
    lengths = ["Content-Length: 4", "Transfer-Encoding: chunked"]
    if order:
        lengths.reverse()
    smuggled = b"0\r\n\r\nGET /v1/models/model HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running("--graph", trained.graph) as server:
        head = "\n".join([f"POST {PREDICT} HTTP/1.1", "Host: localhost", *lengths, "", ""])
        answer = exchange(server, head, smuggled)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"send Content-Length or Transfer-Encoding, not both" in answer
        # The connection ends there.
        assert answer.count(b"HTTP/1.1 ") == 1
        assert server.ask("GET", "/v1/models/model")[0] == 200


@pytest.mark.slow
def test_an_image_of_a_slow_format_is_labelled(trained: Trained) -> None:
    """Decoded in a child process."""
    large = encoded(Image.new("RGB", (900, 700), "green"), "JPEG2000")
    with running("--graph", trained.graph) as server:
        status, answer = server.ask("POST", "/page/label", large)
        assert status == 200
        assert answer["predictions"]
        with Image.open(io.BytesIO(base64.b64decode(answer["picture"].partition(",")[2]))) as shown:
            assert max(shown.size) == 480
