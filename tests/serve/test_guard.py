"""Which requests are refused: by host, origin, size and time."""

from __future__ import annotations

import asyncio

import pytest

from tests.serve.asking import PREDICT, application, ask, ask_async, picture, rows
from tlcli.serve.guard import host_of, is_allowed_host
from tlcli.serve.limits import Limits


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("LocalHost.:80", "localhost"),
        ("127.0.0.1:8501", "127.0.0.1"),
        ("[::1]:8501", "::1"),
        ("a.example", "a.example"),
        ("", ""),
        ("a:port", ""),
        ("user@127.0.0.1", ""),
        ("127.0.0.1/x", ""),
        ("[::1", ""),
    ],
)
def test_host_of(header: str, host: str) -> None:
    assert host_of(header) == host


def test_allowed_hosts() -> None:
    for header in ("localhost:1", "127.0.0.1", "[::1]:8501", "192.168.1.7:8501"):
        assert is_allowed_host(header, ())
    for header in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""):
        assert not is_allowed_host(header, ("mine.local",))
    assert is_allowed_host("Mine.local:8501", ("mine.LOCAL",))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": ""}, 403),
        ({"host": "mine.local"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": ""}, 403),
        ({"origin": "http://localhost:9999"}, 403),
        ({"origin": "http://localhost:8501"}, 200),
    ],
)
def test_other_sites_are_refused(headers: dict[str, str], status: int) -> None:
    app = application(allowed_hosts=["mine.local"])
    assert ask(app, "POST", PREDICT, rows(picture()), headers).status == status
    for path in ("/label", "/page/label", PREDICT):
        image = {**headers, "content-type": "image/png"}
        assert ask(app, "POST", path, picture(), image).status == status


def test_bodies_that_are_too_large() -> None:
    app = application(Limits(max_bytes=1000))
    assert ask(app, "POST", "/label", picture()).status == 200
    for body, headers in (
        (b"", {"content-length": "1001"}),
        (b"", {"content-length": "9" * 5000}),
        ([b"x" * 600] * 2, {}),
        ([b"x" * 600] * 3, {"content-length": "10"}),
        ([b"x" * 600] * 50, {"transfer-encoding": "chunked"}),
    ):
        found = ask(app, "POST", "/label", body, headers)
        assert found.status == 413
        assert "larger than 1000 bytes" in found.json["error"]


def test_bodies_that_drip() -> None:
    app = application(Limits(body_seconds=0.05))
    found = asyncio.run(ask_async(app, "POST", "/label", [b"x", None]))
    assert found.status == 408
    assert ask(app, "POST", "/label", picture()).status == 200


def test_too_many_bodies_at_once() -> None:
    app = application(Limits(max_bytes=1000, in_flight=2, body_seconds=0.2))

    async def everyone() -> list[int]:
        slow = [ask_async(app, "POST", "/label", [b"x" * 900, None]) for _ in range(2)]
        late = ask_async(app, "POST", "/label", b"x" * 900)
        return [found.status for found in await asyncio.gather(*slow, late)]

    assert asyncio.run(everyone()) == [408, 408, 503]
    assert ask(app, "POST", "/label", picture()).status == 200
