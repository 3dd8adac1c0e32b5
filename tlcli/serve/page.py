"""The page: one response with styles, script and the model's facts."""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING, Any

from tlcli.core.images.formats import IMAGE_SUFFIXES
from tlcli.report.page import json_for_html
from tlcli.serve.asked import Shown
from tlcli.serve.limits import Limits

if TYPE_CHECKING:
    from tlcli.serve.model import ServedModel

FOLDER_SUFFIXES = (*IMAGE_SUFFIXES, ".ico")
"""Files of a folder that are labelled, as by ``tlcli label DIR``."""
# Requests at once: some are decoded while others run. Browsers send six to one server.
_PARALLEL = 4


def policy(nonce: str, images: str = "blob: data:") -> dict[str, str]:
    """Return the headers that allow a page exactly what it needs, images from these sources."""
    parts = (
        "default-src 'none'",
        f"script-src 'nonce-{nonce}'",
        f"style-src 'nonce-{nonce}'",
        f"img-src {images}",
        "media-src blob: mediastream:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
    return {
        "Content-Security-Policy": "; ".join(parts),
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    }


def render(model: ServedModel, limits: Limits, shown: Shown, nonce: str) -> str:
    """Return the page as HTML."""
    facts = {
        "maxBytes": limits.max_bytes,
        "parallel": _PARALLEL,
        "suffixes": list(FOLDER_SUFFIXES),
    }
    return str(
        _template().render(
            nonce=nonce,
            about=model.about,
            threshold=f"{(shown.threshold or 0) * 100:.6g}",
            labels=[label.encode("utf-8", "replace").decode() for label in model.labels],
            no_heat_maps=model.no_heat_maps,
            heat_map_layers=model.heat_map_layers,
            facts=json_for_html(facts),
            script=_file("page.js"),
            style=_file("page.css"),
        )
    )


@functools.cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_file("page.html"))


@functools.cache
def _file(name: str) -> str:
    return resources.files("tlcli.serve").joinpath(name).read_text("utf-8")
