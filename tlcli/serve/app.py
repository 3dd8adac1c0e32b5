"""The routes of the server.

    GET   /                                     the page
    POST  /page/label                           for the page: one image file, with pictures
    POST  /label                                one image file: its best labels
    GET   /v1/models/NAME                       as in TensorFlow Serving, like the following
    GET   /v1/models/NAME/metadata
    POST  /v1/models/NAME:predict               JSON, or one image file with an image type

A version may be given (/versions/1); there is one. `/label` takes `?top_k=N&threshold=P`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tlcli.errors import ImageError
from tlcli.serve import predict
from tlcli.serve.asked import (
    Query,
    Shown,
    check_image_type,
    check_json_type,
    hint_of_form,
    is_image_type,
)
from tlcli.serve.guard import App, Bodies
from tlcli.serve.limits import Limits, RequestError
from tlcli.serve.model import ServedModel
from tlcli.serve.page import policy, render
from tlcli.serve.responses import ERROR_HANDLERS, error_response, guarded, json_response
from tlcli.serve.threads import Threads

_MODEL_PATH = re.compile(
    r"(?P<name>[^/:]+)(?:/versions/(?P<version>[^/:]+)|/labels/(?P<label>[^/:]+))?"
    r"(?P<end>/metadata|:[a-z]+)?"
)


def make_app(
    model: ServedModel,
    limits: Limits,
    shown: Shown = Shown(),  # noqa: B008 - frozen
    allowed_hosts: Iterable[str] = (),
) -> App:
    """Return the ASGI application.

    Args:
        model: to serve.
        limits: of requests.
        shown: which labels the page and `/label` return.
        allowed_hosts: host names of the server, in addition to IP addresses and localhost.
    """
    views = _Views(model, limits, shown)
    app = Starlette(
        routes=[
            Route("/", views.page, methods=["GET"]),
            Route("/page/label", views.page_label, methods=["POST"]),
            Route("/label", views.label, methods=["POST"]),
            Route("/v1/models/{path:path}", views.models, methods=["GET", "POST"]),
        ],
        exception_handlers=ERROR_HANDLERS,
    )
    app.router.redirect_slashes = False
    return guarded(app, tuple(allowed_hosts))


class _Views:
    def __init__(self, model: ServedModel, limits: Limits, shown: Shown) -> None:
        self._model = model
        self._limits = limits
        self._default = shown
        self._bodies = Bodies(limits)
        # One: parsing takes many times a body's size.
        self._parser = Threads("tlcli-parse", 1)

    async def page(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        return Response(
            render(self._model, self._limits, self._default, nonce),
            media_type="text/html",
            headers=policy(nonce),
        )

    async def page_label(self, request: Request) -> Response:
        mapped = Query(request.query_params).index("map", len(self._model.labels))
        async with self._bodies.body(request) as content:
            try:
                return json_response(await self._model.show(content, self._default.top_k, mapped))
            except ImageError as error:
                # Shown by the page; a status of 400 would add an error to the browser's console.
                return error_response(200, str(error))

    async def label(self, request: Request) -> Response:
        shown = Query(request.query_params).shown(self._default)
        async with self._bodies.body(request) as content:
            check_image_type(request.headers)
            try:
                return json_response(await self._model.label(content, shown.top_k, shown.threshold))
            except ImageError as error:
                raise ImageError(f"{error}{hint_of_form(request.headers)}") from error

    async def models(self, request: Request) -> Response:
        found = _MODEL_PATH.fullmatch(request.path_params["path"])
        if found is None:
            raise RequestError(404, "there is nothing at this address")
        model = self._model
        if found["name"] != model.name:
            raise RequestError(404, f"there is no model {found['name']!r}, only {model.name!r}")
        if found["version"] not in (None, predict.VERSION) or found["label"] is not None:
            raise RequestError(404, f"the model has one version, {predict.VERSION}")
        end = found["end"] or ""
        method = "POST" if end.startswith(":") else "GET"
        if request.method != method and (request.method, method) != ("HEAD", "GET"):
            raise RequestError(405, f"ask this address by {method}", {"Allow": method})
        if end == "":
            return json_response(predict.status_of_model())
        if end == "/metadata":
            return json_response(
                predict.metadata_of_model(model.name, model.labels, model.height, model.width)
            )
        if end != ":predict":
            raise RequestError(400, f"{end[1:]} is not offered; ask for predict")
        async with self._bodies.body(request) as body:
            if is_image_type(request.headers):
                parsed = predict.PredictRequest((body,), by_row=True)
            else:
                check_json_type(request.headers)
                parsed = await self._parser.run(
                    *(predict.read_request, body, model.height, model.width),
                    self._limits.max_instances,
                )
            results = await model.predict(parsed.instances)
        return json_response(predict.write_answer(results, parsed.by_row))
