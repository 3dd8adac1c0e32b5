"""Google Cloud Storage, on an emulator in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tlcli.errors import OutputError, StorageError
from tlcli.storage.objects import (
    check_writable,
    entries,
    entry,
    exists,
    read,
    remove,
    write,
)

pytestmark = [
    pytest.mark.slow,
    # Of aiohttp, for the parts of gcsfs's uploads.
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]

SERVER = """
import sys, time
from gcp_storage_emulator.server import create_server
create_server("127.0.0.1", int(sys.argv[1]), in_memory=True, default_bucket="photos").start()
while True:
    time.sleep(1)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a folder in a bucket of the emulator."""
    pytest.importorskip("gcp_storage_emulator")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], stdout=log, stderr=log)
    try:
        for _ in range(300):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield "gs://photos/home"
    finally:
        server.kill()
        server.wait()


def test_objects_of_google_are_those_of_any_bucket(home: str) -> None:
    check_writable(home)
    write(f"{home}/a/한 #?%.txt", b"two")
    write(f"{home}/b.txt", iter([b"on", b"e"]))
    write(f"{home}/empty", b"")
    write(f"{home}/large", [bytes(1 << 20)] * 20)
    found = list(entries(home))
    assert [each.removeprefix(home) for each in found] == [
        *("/a/한 #?%.txt", "/b.txt", "/empty", "/large"),
    ]
    assert [len(read(each)) for each in found] == [each.size for each in found]
    before = entry(f"{home}/b.txt")
    assert before is not None
    assert before.change == found[1].change != ""
    write(f"{home}/b.txt", b"owt")
    after = entry(f"{home}/b.txt")
    assert after is not None
    assert after.change != before.change
    remove(f"{home}/b.txt")
    remove(f"{home}/b.txt")
    assert (exists(f"{home}/b.txt"), exists(home)) == (False, True)

    with pytest.raises(StorageError, match="there is no such object"):
        read(f"{home}/absent")
    for work in (
        lambda: read("gs://no-such-bucket/a.txt"),
        lambda: list(entries("gs://no-such-bucket/a")),
        lambda: write("gs://no-such-bucket/a.txt", b"one"),
        lambda: check_writable("gs://no-such-bucket/a"),
    ):
        with pytest.raises((StorageError, OutputError), match="no bucket 'no-such-bucket'"):
            work()
