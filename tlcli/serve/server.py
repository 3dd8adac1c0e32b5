"""The process: a socket, and the server on it until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from tlcli.errors import TlcliError
from tlcli.serve.guard import App
from tlcli.serve.limits import Limits

# Seconds for running requests to end after a signal; two seconds later the process is gone.
_GRACE = 0.7


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        TlcliError: the address is not one of this machine, or is in use.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TlcliError(
            f"there is no address {host!r} on this machine: {reason}; give --host 127.0.0.1, "
            "or 0.0.0.0 to let other machines ask"
        ) from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError as error:
        found.close()
        raise TlcliError(
            f"cannot listen on {host}, port {port}: {error.strerror or error}; choose another "
            "with --port, or --port 0 for any free one"
        ) from error
    return found


def address_of(listening: socket.socket) -> str:
    """Return the address to type into a browser."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # every address of the machine, this one among them
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    return host.lower() in ("::1", "localhost") or host.startswith("127.")


def serve(app: App, listening: socket.socket, limits: Limits, ready: Callable[[], None]) -> None:
    """Serve until a signal arrives, which is then raised as usual.

    Args:
        app: the ASGI application.
        listening: from `open_socket`; closed afterwards.
        limits: of connections.
        ready: called once requests are accepted.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    import uvicorn

    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        # The application reports errors itself, in the format of tlcli.
        logging.getLogger(name).disabled = True
    config = uvicorn.Config(
        app,
        http=_protocol_with_timeout(limits.head_seconds),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=_GRACE,  # type: ignore[arg-type, unused-ignore]
        h11_max_incomplete_event_size=32 << 10,
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(ready)
        await server.serve(sockets=[listening])

    with listening:
        asyncio.run(run())


def _protocol_with_timeout(seconds: float) -> Any:
    """Return uvicorn's HTTP/1.1 protocol plus a timeout for the head of a request.

    uvicorn limits the idle time between two requests, but neither the time before the first
    request nor a head that arrives slowly.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class ProtocolWithTimeout(H11Protocol):  # type: ignore[misc, unused-ignore]
        _head_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._restart_timer()

        def handle_events(self) -> None:
            super().handle_events()
            self._restart_timer()

        def connection_lost(self, error: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(error)

        def _restart_timer(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_timer()
            elif self._head_timer is None and not self.transport.is_closing():
                self._head_timer = self.loop.call_later(seconds, self.transport.close)

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return ProtocolWithTimeout
