"""Checks of requests: hosts, origins, sizes, times; and the headers of every response."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import anyio

from tlcli.serve.limits import Limits, RequestError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# No other site may read, frame or cache the responses.
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_UNREAD_SECONDS = 2.0


def host_of(header: str) -> str:
    """Return the lower-case host of a ``Host`` header without port and brackets, or ""."""
    try:
        parts = urlsplit(f"//{header}")
        parts.port  # noqa: B018 - raises for an invalid port
    except ValueError:
        return ""
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return ""
    return (parts.hostname or "").rstrip(".")


def is_allowed_host(header: str, names: Iterable[str]) -> bool:
    """Return whether a ``Host`` header is one of this server.

    Another site can let its own name resolve to this machine and then read the responses (DNS
    rebinding), but the browser still sends that name. An IP address cannot be rebound, so all IP
    addresses are allowed, and the names "localhost" and ``names``.
    """
    host = host_of(header)
    if host == "localhost" or host in {name.lower() for name in names}:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_sender(headers: Any, names: Iterable[str]) -> None:
    """Refuse requests that a browser sends on behalf of another site.

    Args:
        headers: a mapping that ignores case.
        names: allowed host names, see `is_allowed_host`.

    Raises:
        RequestError: 403; 400 for a body of two lengths, whose end servers would see differently.
    """
    if "content-length" in headers and "transfer-encoding" in headers:
        raise RequestError(
            400,
            "send Content-Length or Transfer-Encoding, not both",
            {"Connection": "close"},
        )
    host = headers.get("host", "")
    if not is_allowed_host(host, names):
        raise RequestError(
            403,
            f"this server is not called {host_of(host) or 'that'}; ask for it by its address, or "
            "start it with --allow_host NAME",
        )
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        raise RequestError(403, "pages of other sites may not ask this server")


class Bodies:
    """Reads bodies of requests within the limits, of which a few are in memory at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0

    @contextlib.asynccontextmanager
    async def body(self, request: Any) -> AsyncIterator[bytes]:
        """Yield the body of a ``starlette.requests.Request``; it counts until the block ends.

        Raises:
            RequestError: 408 too slow, 413 too large, 503 too many at once.
        """
        chunks: list[bytes] = []
        try:
            await self._read(request, chunks)
            yield b"".join(chunks)
        finally:
            self._bytes -= sum(map(len, chunks))

    async def _read(self, request: Any, chunks: list[bytes]) -> None:
        limit, size = self._limits.max_bytes, 0
        declared = request.headers.get("content-length", "")
        # Python refuses to parse integers of thousands of digits.
        if re.fullmatch("[0-9]+", declared) and (len(declared) > 20 or int(declared) > limit):
            # A client that sent "Expect" waits for permission and has sent no body yet.
            if "expect" not in request.headers:
                await _discard(request, limit)
            raise self._too_large()
        try:
            with anyio.fail_after(self._limits.body_seconds):
                async for chunk in request.stream():
                    chunks.append(chunk)
                    size += len(chunk)
                    self._bytes += len(chunk)
                    if size > limit:
                        await _discard(request, limit)
                        raise self._too_large()
                    if self._bytes > limit * self._limits.in_flight:
                        raise RequestError(
                            503, "too many requests at once; try again", {"Retry-After": "1"}
                        )
        except TimeoutError:
            seconds = self._limits.body_seconds
            raise RequestError(408, f"the body was not there within {seconds:g} s") from None

    def _too_large(self) -> RequestError:
        return RequestError(
            413,
            f"the request is larger than {self._limits.max_bytes} bytes; send fewer images, or "
            "start the server with a larger --max_bytes",
        )


async def _discard(request: Any, most: int) -> None:
    """Read the rest of a body, within bounds.

    Closing a connection with unread bytes resets it, and the sender might never see the reason.
    """
    size = 0
    with anyio.move_on_after(_UNREAD_SECONDS):
        while size <= most:
            message = await request.receive()
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
