"""Presets from servers on this machine that answer as Kaggle and Hugging Face do."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tlcli.backbones.keras_hub.addresses import PresetAddress, preset_address
from tlcli.backbones.keras_hub.fetching import fetch
from tlcli.errors import DownloadError

FILES = {
    "config.json": b'{"registered_name": "keras_hub>ViTBackbone"}',
    "image_converter.json": b"{}",
    "model.weights.h5": bytes(range(256)) * 400,
    "README.md": b"not asked for",
}
_KAGGLE = "/api/v1/models.ModelApiService/"


class _Handler(BaseHTTPRequestHandler):
    """Answers as both sites do, also to clients that take it for their proxy."""

    files: dict[str, bytes]
    asked: list[str]
    refused: int

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = urlsplit(self.path).path
        if self.refused:
            self._send(self.refused, b'{"message": "no"}')
        elif path == f"{_KAGGLE}GetModelInstance":
            self._send(200, json.dumps({"versionNumber": 7}).encode())
        elif path != f"{_KAGGLE}DownloadModelInstanceVersion" or given["path"] not in self.files:
            self._send(404, b'{"message": "absent"}')
        else:
            self.asked.append(given["path"])
            self.send_response(302)
            self.send_header("Location", f"/stored/{given['path']}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        name = path.rpartition("/")[2]
        from_hub = path.startswith("/keras/tiny/resolve/main/")
        if from_hub and self.refused:
            self._send(self.refused, b"", **{"X-Error-Code": "GatedRepo"})
        elif from_hub and name not in self.files:
            self._send(404, b"", **{"X-Error-Code": "EntryNotFound"})
        elif from_hub or path.startswith("/stored/"):
            content = self.files[name]
            if from_hub and self.command == "GET":
                self.asked.append(name)
            tag = hashlib.sha1(content).hexdigest()
            self._send(200, content, ETag=f'"{tag}"', **{"X-Repo-Commit": "0" * 40})
        else:
            self._send(404, b"")

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def _point_to(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    # Kaggle's client knows a server on this machine, at a port that tests cannot have.
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Handler]]:
    pytest.importorskip("kagglehub", reason="needs the extra hub (keras-hub)")
    _Handler.files, _Handler.asked, _Handler.refused = dict(FILES), [], 0
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    _point_to(running.server_address[1], monkeypatch)
    yield _Handler
    running.shutdown()
    running.server_close()
    thread.join()


_ADDRESSES = ("kaggle://keras/vit/keras/tiny/3", "hf://keras/tiny")


@pytest.mark.slow
@pytest.mark.parametrize("module", [*_ADDRESSES, "kaggle://keras/vit/keras/tiny"])
def test_preset_arrives_whole_and_once(server: type[_Handler], module: str, tmp_path: Path) -> None:
    address = preset_address(module)
    folder = fetch(address, [tmp_path])

    assert {each.name: each.read_bytes() for each in folder.iterdir()} == {
        name: content for name, content in FILES.items() if name != "README.md"
    }
    assert server.asked == [name for name in FILES if name != "README.md"]
    assert fetch(address, [tmp_path]) == folder
    assert len(server.asked) == 3


@pytest.mark.slow
@pytest.mark.parametrize("module", _ADDRESSES)
def test_preset_of_several_weight_files(
    server: type[_Handler], module: str, tmp_path: Path
) -> None:
    server.files["model_00000.weights.h5"] = server.files.pop("model.weights.h5")
    listed = {"weight_map": {"/a": "model_00000.weights.h5"}}
    server.files["model.weights.json"] = json.dumps(listed).encode()

    folder = fetch(preset_address(module), [tmp_path])

    assert sorted(each.name for each in folder.iterdir()) == [
        "config.json", "image_converter.json", "model.weights.json", "model_00000.weights.h5",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("module", _ADDRESSES)
def test_what_is_no_preset(server: type[_Handler], module: str, tmp_path: Path) -> None:
    del server.files["model.weights.h5"]
    with pytest.raises(DownloadError, match=r"it has no model.weights.json, so it is no preset"):
        fetch(preset_address(module), [tmp_path])
    server.files.clear()
    with pytest.raises(DownloadError, match=r"it has no config.json, so it is no preset"):
        fetch(preset_address(module), [tmp_path / "other"])
    server.files["config.json"] = b'{"model_type": "dinov2"}'
    with pytest.raises(DownloadError, match=r"it is a model of the transformers library"):
        fetch(preset_address(module), [tmp_path / "third"])


@pytest.mark.slow
@pytest.mark.parametrize("module", _ADDRESSES)
def test_models_that_ask_for_consent(server: type[_Handler], module: str, tmp_path: Path) -> None:
    server.refused = 403
    with pytest.raises(DownloadError, match=r"asks for a login or for consent: accept"):
        fetch(preset_address(module), [tmp_path])


@pytest.mark.parametrize("module", _ADDRESSES)
def test_without_a_network_one_sentence(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kagglehub", reason="needs the extra hub (keras-hub)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        # Without listening: it refuses, and no other program can take the port.
        port = free.getsockname()[1]
        _point_to(port, monkeypatch)
        with pytest.raises(DownloadError, match=r"connection is refused; without a network give"):
            fetch(preset_address(module), [tmp_path])


@pytest.mark.parametrize(
    ("address", "place"),
    [
        (PresetAddress("keras_hub:tiny", "kaggle", "keras/vit/keras/tiny/1"), "models/tiny"),
        (
            PresetAddress("keras_hub:tiny", "kaggle", "keras/vit/keras/tiny/1"),
            "kagglehub/models/keras/vit/keras/tiny/1",
        ),
        (
            PresetAddress("hf://keras/tiny", "hf", "keras/tiny"),
            "hf/hub/models--keras--tiny/snapshots/abc",
        ),
    ],
)
def test_presets_on_this_machine_need_no_network(
    address: PresetAddress, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    folder = tmp_path / place
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    refs = tmp_path / "hf" / "hub" / "models--keras--tiny" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("abc")

    assert fetch(address, [tmp_path / "models"]) == folder
