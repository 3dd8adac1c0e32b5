"""Who may ask and how much: hosts, origins, sizes, times, and the headers of every answer."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import anyio

from tlcli.serve.answers import RequestError
from tlcli.serve.limits import Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# Answers are nobody else's business: no other site may read, frame or keep them.
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
    """Return the host of a ``Host`` header in lower case, without port and brackets; "" if bad."""
    try:
        parts = urlsplit(f"//{header}")
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        return ""
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        return ""
    return (parts.hostname or "").rstrip(".")


def is_allowed_host(header: str, names: Iterable[str]) -> bool:
    """Return whether a request that was sent to this ``Host`` meant this server.

    A page of another site may have its own name resolve to this machine and then read the
    answers (DNS rebinding), but the browser still sends that name. An address cannot be
    rebound, so addresses are fine, and of names "localhost" and ``names``.
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
    """Refuse requests that another site makes a browser send.

    Args:
        headers: a mapping that ignores case.
        names: as of `is_allowed_host`.

    Raises:
        RequestError: 403.
    """
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
    """Bodies of requests within the limits, a few at a time in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0

    @contextlib.asynccontextmanager
    async def body(self, request: Any) -> AsyncIterator[bytes]:
        """Yield the body of a ``starlette.requests.Request``; it counts until the block ends.

        Raises:
            RequestError: 408 too slow, 413 too large, 503 too many at once.
        """
        held: list[bytes] = []
        try:
            await self._read(request, held)
            yield b"".join(held)
        finally:
            self._bytes -= sum(map(len, held))

    async def _read(self, request: Any, held: list[bytes]) -> None:
        limit, size = self._limits.max_bytes, 0
        declared = request.headers.get("content-length", "")
        # Python makes no integers of thousands of digits.
        if re.fullmatch("[0-9]+", declared) and (len(declared) > 20 or int(declared) > limit):
            # Who waits for permission ("Expect") has sent nothing yet.
            if "expect" not in request.headers:
                await _discard(request, limit)
            raise self._too_large()
        try:
            with anyio.fail_after(self._limits.body_seconds):
                async for chunk in request.stream():
                    held.append(chunk)
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
    """Read what is still to come, within bounds.

    Closing a connection with bytes unread resets it, and the sender might never see why.
    """
    size = 0
    with anyio.move_on_after(_UNREAD_SECONDS):
        while size <= most:
            message = await request.receive()
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
