"""The page of a review: one response with its styles and script; the findings follow as JSON."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from tlcli.report.page import json_for_html


@dataclass(frozen=True)
class Facts:
    """What the page states.

    Attributes:
        folder: name of the folder of photos.
        removed: where removed photos go.
        journal: path of the journal.
        retrain: the command for retraining.
    """

    folder: str
    removed: str
    journal: str
    retrain: str


def render(facts: Facts, labels: Sequence[str], nonce: str) -> str:
    """Return the page as HTML."""
    style = _file("tlcli.serve", "page.css") + _file("tlcli.review", "page.css")
    return str(
        _template().render(
            nonce=nonce,
            facts=facts,
            labels=json_for_html({"labels": list(labels)}),
            script=_file("tlcli.review", "page.js"),
            style=style,
        )
    )


@functools.cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_file("tlcli.review", "page.html"))


@functools.cache
def _file(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text("utf-8")
