"""Files on a web server: retried, compared with their size, and without their secrets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tlcli.errors import StorageError
from tlcli.storage.objects import entry, exists, read

CONTENT = bytes(range(256)) * 40


class Site:
    """A web server with one file, whose next answers can be made to fail."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.asked: list[tuple[str, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                site.asked.append((self.command, self.headers.get("Authorization")))
                fault = site.faults.pop(0) if site.faults else ""
                if self.path.startswith("/denied"):
                    fault = "403"
                elif not self.path.startswith("/a.jpg"):
                    fault = "404"
                if fault.isdigit():
                    self.send_error(int(fault))
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(CONTENT)))
                self.send_header("ETag", '"mark"')
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(CONTENT[: 100 if fault == "break" else None])

            do_HEAD = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_file_is_read_with_its_facts(site: Site) -> None:
    found = entry(f"http://{site.address}/a.jpg")
    assert found is not None
    assert (found.size, found.change) == (len(CONTENT), '"mark"')
    assert read(found) == CONTENT
    assert not exists(f"http://{site.address}/b.jpg")


def test_failures_of_a_server_and_broken_connections_are_retried(site: Site) -> None:
    site.faults = ["503", "break", "502", "break"]
    assert read(f"http://{site.address}/a.jpg") == CONTENT
    assert len(site.asked) == 5


def test_a_body_that_always_breaks_is_no_content(site: Site) -> None:
    site.faults = ["break"] * 9
    with pytest.raises(StorageError, match="the connection broke") as caught:
        read(f"http://{site.address}/a.jpg")
    assert caught.value.is_passing


@pytest.mark.parametrize(
    ("path", "reason"),
    [("b.jpg", "there is no such file"), ("denied.jpg", r"access is denied \(403\)")],
)
def test_refusals_are_one_sentence_without_secrets(site: Site, path: str, reason: str) -> None:
    with pytest.raises(StorageError, match=reason) as caught:
        read(f"http://me:pass-word@{site.address}/{path}?Signature=abc")
    assert str(caught.value).startswith(f"http://***@{site.address}/{path}?... cannot be read: ")
    assert site.asked[0][1] is not None  # the password went to the server alone
    assert caught.value.is_absent == (path == "b.jpg")


def test_a_server_that_is_not_there_is_one_sentence(site: Site) -> None:
    site.server.server_close()
    with pytest.raises(StorageError, match="the server cannot be reached; check the network"):
        read(f"http://{site.address}/a.jpg?token=abc")


def test_a_file_that_is_too_large_is_not_taken(site: Site) -> None:
    with pytest.raises(StorageError, match="it is larger than 0 MB"):
        read(f"http://{site.address}/a.jpg", limit=1000)
