"""Photos with known faults, the installed command on them, and a client with its key."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from tests.serve.running import Server, running
from tests.support import Trained

PRESET = ("--preset", "original")


def with_faults(trained: Trained, folder: Path) -> Path:
    """Return a folder of photos: two with a wrong label, a copy, a black and a broken one."""
    photos = folder / "photos"
    shutil.copytree(trained.photos, photos)
    pool, none = photos / "house_with_pool", photos / "house_without_pool"
    for photo in sorted(pool.glob("aerial*.jpg"))[:2]:
        photo.rename(none / f"moved_{photo.name}")
    last = sorted(pool.glob("aerial*.jpg"))[-1]
    shutil.copy(last, last.with_name(f"same_{last.name}"))
    Image.new("RGB", (300, 200)).save(none / "black.jpg")
    return photos


class Client:
    """A window: it has the key of the address that the command printed."""

    def __init__(self, server: Server) -> None:
        parts = urlsplit(server.url)
        self.url, self.home = server.url, f"http://{parts.netloc}/"
        self.host, self._key = parts.netloc, parts.query.partition("=")[2]
        self.cookie = f"tlcli-review-{parts.port}={self._key}"
        self.process = server.process

    def ask(
        self, method: str, path: str, body: Any = None, **changed: str | None
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, JSON or bytes, and headers of a response; None leaves a header out."""
        headers: dict[str, str | None] = {"Cookie": self.cookie}
        if body is not None:
            headers |= {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            sent = {name: value for name, value in headers.items() if value is not None}
            content = body if body is None or isinstance(body, str) else json.dumps(body)
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        got = {name.lower(): value for name, value in answer.getheaders()}
        is_json = got.get("content-type") == "application/json"
        return answer.status, json.loads(text) if is_json else text, got

    def cards(self, kind: str, page: int = 0) -> dict[str, Any]:
        """Return one page of findings."""
        status, found, _ = self.ask("GET", f"/cards?kind={kind}&page={page}")
        assert status == 200, found
        assert isinstance(found, dict)
        return found

    def decide(self, **asked: Any) -> dict[str, Any]:
        """Ask for a decision; return `said` or `error`."""
        status, found, _ = self.ask("POST", "/decide", asked)
        assert status == 200, found
        assert isinstance(found, dict)
        return found

    def find(self, kind: str, name: str) -> dict[str, Any]:
        """Return the photo of a finding by a part of its name, as `decide` takes it."""
        page = self.cards(kind)
        for card in page["cards"]:
            for index, photo in enumerate(card["photos"]):
                if name in photo["name"]:
                    at = {"check": page["check"], "card": card["card"], "photo": index}
                    return {**at, "seen": photo["seen"]}
        raise AssertionError(f"{name} is not among {page['cards']}")


@contextmanager
def reviewing(photos: Path, trained: Trained, *options: object) -> Iterator[Client]:
    """Run `tlcli serve --check`; the vectors of the retraining are in its cache."""
    cache = trained.cache / "bottlenecks"
    arguments = ("--check", photos.name, "--bottleneck_dir", cache, *PRESET, *options)
    with running(*arguments, cwd=photos.parent) as server:
        yield Client(server)


def files(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
