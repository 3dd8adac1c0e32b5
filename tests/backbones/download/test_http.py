from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tlcli.backbones.download.http import RemoteFile, download
from tlcli.errors import DownloadError, OutputError

CONTENT = bytes(range(256)) * 4000


class _Handler(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/absent":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/short" else CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    _Handler.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def _get(url: str, place: Path, checksum: str = "") -> Path:
    return download(RemoteFile(url, "the file", "put it there", checksum), place)


def test_file_arrives_whole_with_progress(url: str, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    place = tmp_path / "models" / "file"

    remote = RemoteFile(f"{url}/file", "the file", "", hashlib.sha256(CONTENT).hexdigest())
    download(remote, place, lambda *step: seen.append(step))

    assert place.read_bytes() == CONTENT
    assert seen[-1] == ("the file", len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("algorithm", [hashlib.md5, hashlib.sha256])
def test_file_of_another_checksum_is_refused(url: str, tmp_path: Path, algorithm: object) -> None:
    wrong = algorithm(b"other").hexdigest()  # type: ignore[operator]

    with pytest.raises(DownloadError, match=r"not the published file.*; put it there"):
        _get(f"{url}/file", tmp_path / "file", wrong)
    assert not (tmp_path / "file").exists()


def test_file_cut_short_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"1,000 of 1,024,000 bytes|broke"):
        _get(f"{url}/short", tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == [".file.lock"]


def test_absent_file_is_one_sentence(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"from 127\.0\.0\.1:\d+: the server answers 404"):
        _get(f"{url}/absent", tmp_path / "file")


def test_refused_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        # Without listening: it refuses, and no other program can take the port.
        port = free.getsockname()[1]
        with pytest.raises(DownloadError, match="the connection is refused"):
            _get(f"http://127.0.0.1:{port}/file", tmp_path / "file")


def test_several_at_once_download_once(url: str, tmp_path: Path) -> None:
    place = tmp_path / "file"
    threads = [
        threading.Thread(target=_get, args=(f"{url}/file", place), daemon=True) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert place.read_bytes() == CONTENT
    assert _Handler.asked == ["/file"]


def test_several_processes_download_once(url: str, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from tlcli.backbones.download.http import RemoteFile, download\n"
        "download(RemoteFile(sys.argv[1], 'it', ''), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, f"{url}/file", str(tmp_path / "file")]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [each.wait() for each in running] == [0, 0, 0]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert _Handler.asked == ["/file"]


def test_folder_that_cannot_be_written(url: str, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file")

    with pytest.raises(OutputError, match="cannot write"):
        _get(f"{url}/file", tmp_path / "blocked" / "file")
