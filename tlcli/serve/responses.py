"""What every server of this package does: refuses other sites, adds headers, answers errors."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tlcli.errors import GraphError, ImageError
from tlcli.serve.asked import BY_CURL
from tlcli.serve.guard import HEADERS, App, Message, Receive, Send, check_sender
from tlcli.serve.limits import RequestError

_log = logging.getLogger("tlcli")


def guarded(app: Starlette, allowed_hosts: tuple[str, ...]) -> App:
    """Return an application that checks the sender first and adds headers to every response."""

    async def checked(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            check_sender(Request(scope).headers, allowed_hosts)
        except RequestError as error:
            response = error_response(error.status, str(error), error.headers)
            await response(scope, receive, send_with_headers)
            return
        # Starlette responds to unexpected errors, see `_on_bug`, and raises them again for the log.
        with contextlib.suppress(Exception):
            await app(scope, receive, send_with_headers)

    return checked


def json_response(
    content: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return JSON as a response."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    # The response must be UTF-8 even if a label is not valid text.
    body = text.encode("utf-8", "replace")
    return Response(body, status, headers, "application/json")


def error_response(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return a sentence for the sender as JSON."""
    return json_response({"error": message}, status, headers)


async def _on_request_error(request: Request, error: RequestError) -> Response:
    return error_response(error.status, str(error), error.headers)


async def _on_http_error(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    message = error.detail
    if error.status_code == 404:
        message = "there is nothing at this address"
    elif error.status_code == 405:
        message = f"this address takes {headers.get('Allow', 'another method')}"
        if "POST" in message:
            message += f"; with curl: {BY_CURL}"
    return error_response(error.status_code, message, headers)


async def _on_image_error(request: Request, error: ImageError) -> Response:
    return error_response(400, str(error))


async def _on_graph_error(request: Request, error: GraphError) -> Response:
    _log.error("%s", error)
    return error_response(500, str(error))


async def _on_disconnect(request: Request, error: ClientDisconnect) -> Response:
    return error_response(400, "the request was cut short")  # no client is left to read it


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("unexpected %s: %s", type(error).__name__, error)
    _log.debug("where it came from", exc_info=error)
    return error_response(
        500, f"unexpected {type(error).__name__}; the server's terminal says more"
    )


ERROR_HANDLERS: dict[Any, Any] = {
    RequestError: _on_request_error,
    HTTPException: _on_http_error,
    ImageError: _on_image_error,
    GraphError: _on_graph_error,
    ClientDisconnect: _on_disconnect,
    Exception: _on_bug,
}
"""For `Starlette`: errors as JSON with one sentence."""
