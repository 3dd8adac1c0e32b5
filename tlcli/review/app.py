"""The routes of a review, and the key that all of them ask for.

    GET   /?key=KEY                      sets the cookie and leads to the page
    GET   /                              the page
    GET   /cards?kind=KIND&page=N        one page of findings or changes, as JSON
    GET   /picture/CHECK/CARD/PHOTO      a small picture of a photo
    GET   /changed/NUMBER                a small picture of a photo that was moved
    POST  /decide                        keep, move, remove or undo, as JSON
    POST  /check                         check again

Photos are named by numbers, never by paths. The key keeps other users of this machine out.
"""

from __future__ import annotations

import asyncio
import hmac
import io
import json
import secrets
from collections.abc import Callable
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tlcli.core.images.decoding import open_image
from tlcli.core.images.thumbnails import picture
from tlcli.errors import TlcliError
from tlcli.review.cards import KINDS
from tlcli.review.page import Facts, render
from tlcli.review.session import CHANGES, ConflictError, Decision, Review
from tlcli.serve.guard import App, Bodies, Receive, Send
from tlcli.serve.limits import Limits, RequestError
from tlcli.serve.page import policy
from tlcli.serve.responses import ERROR_HANDLERS, error_response, guarded, json_response
from tlcli.serve.threads import Threads

_ACTIONS = ("keep", "move", "remove", "undo")
# Of decoders: a slow photo must not keep the others of a page waiting.
_DECODERS = 8
_SIDE = 400
_KEPT_PICTURES = 400
_NO_PICTURE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="160" height="120"><rect width="160" '
    b'height="120" fill="#8883"/><path d="M55 35 105 85M105 35 55 85" stroke="#888" '
    b'stroke-width="4"/></svg>'
)


def make_app(
    review: Review, facts: Facts, limits: Limits, key: str, allowed_hosts: tuple[str, ...] = ()
) -> App:
    """Return the ASGI application of a review.

    Args:
        review: of the photos.
        facts: what the page states.
        limits: of requests and images.
        key: that the first address carries.
        allowed_hosts: names of this server besides IP addresses and localhost.
    """
    views = _Views(review, facts, limits)
    app = Starlette(
        routes=[
            Route("/", views.page, methods=["GET"]),
            Route("/cards", views.cards, methods=["GET"]),
            Route("/picture/{check}/{card:int}/{photo:int}", views.picture, methods=["GET"]),
            Route("/changed/{number:int}", views.changed, methods=["GET"]),
            Route("/decide", views.decide, methods=["POST"]),
            Route("/check", views.check, methods=["POST"]),
        ],
        exception_handlers={**ERROR_HANDLERS, TlcliError: _on_refusal},
    )
    app.router.redirect_slashes = False
    return guarded(_locked(app, key), allowed_hosts)


def _locked(app: Starlette, key: str) -> Any:
    """Let only those in who know the key; the first address sets it as a cookie."""

    async def locked(scope: Any, receive: Receive, send: Send) -> None:
        request = Request(scope)
        name = f"tlcli-review-{request.url.port or 80}"
        response: Response
        if request.url.path == "/" and _is(request.query_params.get("key", ""), key):
            # Cookies are shared by all ports of a machine, hence the port in the name.
            cookie = f"{name}={key}; Path=/; HttpOnly; SameSite=Strict"
            response = RedirectResponse("/", 303, {"Set-Cookie": cookie})
        elif not _is(_cookie(request, name), key):
            response = error_response(
                403, "open the address that tlcli serve printed; it contains a key"
            )
        elif request.method == "POST" and request.headers.get("origin") is None:
            response = error_response(403, "decisions are taken from this server's own page only")
        else:
            await app(scope, receive, send)
            return
        await response(scope, receive, send)

    return locked


def _is(given: str, key: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), key.encode())


def _cookie(request: Request, name: str) -> str:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(request.headers.get("cookie", ""))
    except Exception:  # what is no cookie is none
        return ""
    return cookies[name].value if name in cookies else ""


async def _on_refusal(request: Request, error: TlcliError) -> Response:
    # Shown by the page; any other status would add an error to the browser's console.
    return json_response({"error": str(error), "conflict": isinstance(error, ConflictError)})


class _Views:
    def __init__(self, review: Review, facts: Facts, limits: Limits) -> None:
        self._review = review
        self._facts = facts
        self._limits = limits
        self._bodies = Bodies(limits)
        self._decoders = Threads("tlcli-decode", _DECODERS)
        # One thread each, so that decisions follow one another, also those of two windows.
        self._decider = Threads("tlcli-decide", 1)
        self._checker = Threads("tlcli-check", 1)
        self._pictures: dict[tuple[Path, int], bytes] = {}
        self._task: asyncio.Task[None] | None = None

    async def page(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        text = render(self._facts, self._review.places.labels, nonce)
        return Response(text, media_type="text/html", headers=policy(nonce, "'self' data:"))

    async def cards(self, request: Request) -> Response:
        kind = request.query_params.get("kind", "")
        page = request.query_params.get("page", "0")
        if kind not in (*KINDS, CHANGES) or not (page.isascii() and page.isdigit()):
            raise RequestError(400, "give a kind of findings, and a page")
        number = int(page[:9])
        return json_response(await self._decider.run(self._review.page, kind, number))

    async def picture(self, request: Request) -> Response:
        found = request.path_params
        card = (found["check"], found["card"], found["photo"])
        return await self._thumbnail(self._review.picture, *card)

    async def changed(self, request: Request) -> Response:
        number = request.path_params["number"]
        return await self._thumbnail(self._review.changed_picture, number)

    async def decide(self, request: Request) -> Response:
        asked = await self._json(request)
        if "change" in asked:
            said = await self._decider.run(self._review.undo, _whole(asked, "change"))
            return json_response({"said": said})
        photo = None if asked.get("photo") is None else _whole(asked, "photo")
        check, label, action = (str(asked.get(name, "")) for name in ("check", "label", "action"))
        if action not in _ACTIONS or (photo is None and action not in ("keep", "undo")):
            raise RequestError(400, f"action is one of {', '.join(_ACTIONS)}")
        if photo is not None and action == "keep":
            raise RequestError(400, "a finding is kept as a whole, without a photo")
        decision = Decision(
            check, _whole(asked, "card"), photo, action, label, _whole(asked, "seen")
        )
        return json_response({"said": await self._decider.run(self._review.decide, decision)})

    async def check(self, request: Request) -> Response:
        await self._json(request)
        if self._review.checking is None:
            self._review.checking = "starting"
            self._task = asyncio.create_task(self._check_again())
        return json_response({"said": "The photos are checked again"})

    async def _check_again(self) -> None:
        found = await self._checker.run(self._review.check_again)
        self._pictures.clear()
        await self._decider.run(self._review.finish, found)

    async def _json(self, request: Request) -> dict[str, Any]:
        # No page of another site can send this type without asking first.
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise RequestError(415, "send JSON")
        async with self._bodies.body(request) as body:
            try:
                found = json.loads(body)
            except (ValueError, RecursionError):
                found = None
        if not isinstance(found, dict):
            raise RequestError(400, "send a JSON object")
        return found

    async def _thumbnail(self, find: Callable[..., Path], *arguments: Any) -> Response:
        path = await self._decider.run(find, *arguments)
        content = await self._decoders.run(self._encoded, path)
        kind = "image/svg+xml" if content is _NO_PICTURE else "image/jpeg"
        # Until the next check the picture of a number stays the same.
        return Response(content, media_type=kind, headers={"Cache-Control": "private, max-age=600"})

    def _encoded(self, path: Path) -> bytes:
        """Return a photo as a small JPEG, or a sign that there is no picture of it."""
        try:
            key = (path, path.stat().st_mtime_ns)
            found = self._pictures.get(key)
            if found is not None:
                return found
            with open_image(path, decode=False) as image:
                width, height = image.size
            small = picture(path, _SIDE) if width * height <= self._limits.max_pixels else None
        except (OSError, ValueError, TlcliError):
            return _NO_PICTURE
        if small is None:
            return _NO_PICTURE
        stream = io.BytesIO()
        small.save(stream, "JPEG", quality=85)
        if len(self._pictures) >= _KEPT_PICTURES:
            self._pictures.clear()
        self._pictures[key] = stream.getvalue()
        return stream.getvalue()


def _whole(asked: dict[str, Any], name: str) -> int:
    value = asked.get(name)
    if type(value) is not int:
        raise RequestError(400, f"{name} is no whole number")
    return value
