"""An S3 server on loopback behind a proxy that fails as buckets do, and counts requests."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
# Read back from the server's own memory; they open nothing.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "loopback",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret-of-anyone",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Faults:
    """What the proxy does to requests of objects.

    Attributes:
        throttled: how many requests get a 503 first.
        broken: how many bodies of objects break in the middle.
        denied: keys that contain this are refused.
        requests: (method, key) of every request.
    """

    throttled: int = 0
    broken: int = 0
    denied: str = ""
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        self.throttled = self.broken = 0
        self.denied = ""
        self.requests.clear()

    def of(self, method: str, path: str) -> str:
        """Return what happens to a request: "", "throttle", "break" or "deny"."""
        key = unquote(path.partition("?")[0])
        with self.lock:
            self.requests[method, key] += 1
            if self.denied and self.denied in key:
                return "deny"
            if self.throttled > 0:
                self.throttled -= 1
                return "throttle"
            if self.broken > 0 and method == "GET" and "list-type" not in path:
                self.broken -= 1
                return "break"
        return ""

    def count(self, method: str, suffix: str = "") -> int:
        """Return how many requests of a method there were for keys that end so."""
        return sum(
            number
            for (each, key), number in self.requests.items()
            if each == method and key.endswith(suffix)
        )


@dataclass(frozen=True)
class Bucket:
    """A bucket on the server.

    Attributes:
        name: of the bucket.
        client: of boto3, straight to the server.
        faults: of the proxy, for what tlcli asks.
    """

    name: str
    client: Any
    faults: Faults

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)

    def put_tree(self, folder: Path, prefix: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def names(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return [each["Key"] for page in pages for each in page.get("Contents", ())]


def _handler(port: int, faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = self.chunks()
            fault = faults.of(self.command, self.path)
            if fault in ("throttle", "deny"):
                code, content = (503, SLOW_DOWN) if fault == "throttle" else (403, DENIED)
                self.send_response(code)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)
                return
            with connection(port) as server:
                headers = {
                    name: value
                    for name, value in self.headers.items()
                    if name.lower() not in ("transfer-encoding", "content-length", "expect")
                }
                server.request(self.command, self.path, body or None, headers)
                got = server.getresponse()
                content = got.read()
                self.send_response(got.status)
                for name, value in got.getheaders():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                size = got.getheader("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", size or str(len(content)))
                self.end_headers()
                if fault == "break":
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    self.close_connection = True
                    with suppress(OSError):
                        self.connection.shutdown(socket.SHUT_RDWR)
                elif self.command != "HEAD":
                    self.wfile.write(content)

        def chunks(self) -> bytes:
            found = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = answer

    return Handler


@contextmanager
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def proxy(port: int, faults: Faults) -> Iterator[str]:
    """Yield the address of a proxy in front of a server."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *arguments: Any) -> None:
            pass  # clients that go away

    server = Server(("127.0.0.1", 0), _handler(port, faults))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _read(folder: Path) -> str:
    return (folder / "moto.log").read_text(errors="replace")


@contextmanager
def s3_server(folder: Path) -> Iterator[int]:
    """Yield the port of an S3 server process, once it answers."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with (folder / "moto.log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **CREDENTIALS}
        )
    try:
        end = time.monotonic() + 300
        # It takes a free port and prints it: one that was free before may be taken by then.
        while not (told := re.search(r"Running on http://[\d.]+:(\d+)", _read(folder))):
            assert server.poll() is None, _read(folder)
            assert time.monotonic() < end, f"the S3 server does not answer: {_read(folder)}"
            time.sleep(0.1)
        port = int(told[1])
        yield port
    finally:
        server.terminate()
        server.wait()
