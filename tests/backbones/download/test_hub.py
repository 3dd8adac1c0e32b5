from __future__ import annotations

import io
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.backbones import modules
from tlcli.backbones.download import http as downloads
from tlcli.backbones.download import hub
from tlcli.backbones.model_options import ModelOptions
from tlcli.backbones.resolve import resolve
from tlcli.errors import DownloadError


class Server:
    """A server on this machine: paths to archives, and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.missing = 0  # bytes that are announced and never sent
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                content = outer.files.get(self.path.partition("?")[0])
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content) + outer.missing))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "TFHUB_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    running = Server()
    yield running
    running.close()


def _archive(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(folder, arcname=".")
    return content.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("write", [modules.write_hub1, modules.write_hub2])
def test_module_is_fetched_once_and_read(
    server: Server, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    server.files["/module/1"] = _archive(write(tmp_path / "written"))
    url = f"{server.url}/module/1"
    places = tmp_path / "models"

    backbone = resolve(url, ModelOptions(input_height=modules.SIDE), model_dir=places)

    batch = modules.images()
    np.testing.assert_allclose(modules.run(backbone, batch), modules.expected(batch), atol=1e-5)
    assert backbone.name == url
    assert server.asked == ["/module/1?tf-hub-format=compressed"]
    again = resolve(url, ModelOptions(input_height=modules.SIDE), model_dir=places)
    assert again.fingerprint == backbone.fingerprint
    assert len(server.asked) == 1


def _link(name: str, target: str) -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        archive.addfile(entry)

    return add


def _file(name: str) -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"evil"))

    return add


@pytest.mark.parametrize(
    "entry", [_file("../../escaped"), _file("variables/../../../escaped"), _link("a", "/etc")]
)
def test_archive_that_leaves_its_folder_is_refused(
    server: Server, tmp_path: Path, entry: Callable[[tarfile.TarFile], None]
) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        entry(archive)
    server.files["/evil"] = content.getvalue()

    with pytest.raises(DownloadError, match="was refused"):
        hub.fetch(f"{server.url}/evil", [tmp_path / "models"])

    assert not list(tmp_path.rglob("escaped"))
    assert not [path for path in (tmp_path / "models").rglob("*") if path.suffix != ".lock"][1:]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, r"answers 404"),
        (b"<html>not here</html>", "not a tar archive"),
        (b"", "not a tar archive"),
    ],
)
def test_failed_download_is_one_sentence(
    server: Server, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        server.files["/module"] = content

    with pytest.raises(DownloadError, match=reason) as caught:
        hub.fetch(f"{server.url}/module", [tmp_path])

    assert "\n" not in str(caught.value)
    assert "efficientnet_lite0" in str(caught.value)


def test_archive_cut_short_leaves_nothing(server: Server, tmp_path: Path) -> None:
    whole = _archive(modules.write_hub2(tmp_path / "written"))
    server.files["/module"] = whole[: len(whole) // 2]

    with pytest.raises(DownloadError, match="archive"):
        hub.fetch(f"{server.url}/module", [tmp_path / "models"])
    server.files["/module"] = whole
    assert (hub.fetch(f"{server.url}/module", [tmp_path / "models"])).is_dir()


def test_archive_cut_between_two_files_leaves_nothing(server: Server, tmp_path: Path) -> None:
    """Nothing in a tar archive without compression tells that it goes on."""
    model = modules.write_hub2(tmp_path / "written")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(model / "saved_model.pb", arcname="saved_model.pb")
        cut = archive.offset
        archive.add(model / "variables", arcname="variables")
    server.files["/module"] = content.getvalue()[:cut]
    server.missing = len(content.getvalue()) - cut

    with pytest.raises(DownloadError, match="ended before"):
        hub.fetch(f"{server.url}/module", [tmp_path / "models"])
    assert not list((tmp_path / "models").rglob("saved_model.pb"))
    server.files["/module"], server.missing = content.getvalue(), 0
    folder = hub.fetch(f"{server.url}/module", [tmp_path / "models"])
    assert (folder / "variables" / "variables.index").is_file()


def test_archive_without_a_model_is_not_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "written").mkdir()
    (tmp_path / "written" / "README").write_text("nothing")
    server.files["/module"] = _archive(tmp_path / "written")

    for _ in range(2):
        with pytest.raises(DownloadError, match="no SavedModel"):
            hub.fetch(f"{server.url}/module", [tmp_path / "models"])
    assert len(server.asked) == 2


def test_refused_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        # Without listening: it refuses, and no other program can take the port.
        port = free.getsockname()[1]
        with pytest.raises(DownloadError, match="connection is refused"):
            hub.fetch(f"http://127.0.0.1:{port}/module", [tmp_path])


def test_server_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "READ_SECONDS", 0.2)
    monkeypatch.delenv("http_proxy", raising=False)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/module"
        with pytest.raises(DownloadError, match="does not answer"):
            hub.fetch(url, [tmp_path])


def test_name_that_cannot_be_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(DownloadError, match=r"kaggle\.com.*cannot be resolved.*offline"):
        hub.fetch("google/mobilenet-v2/tensorFlow2/100-224-feature-vector/2", [tmp_path])


def test_slow_name_server_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: released.wait(300))

    with pytest.raises(DownloadError, match="does not answer"):
        hub.fetch("https://example.org/module", [tmp_path])
    released.set()


def test_hand_placed_kaggle_module_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("network"))
    handle = "google/mobilenet-v2/tensorFlow2/035-20-feature-vector/2"
    modules.write_hub2(tmp_path / handle)

    backbone = resolve(handle, model_dir=tmp_path)

    assert (backbone.height, backbone.licence) == (20, "Apache-2.0")
