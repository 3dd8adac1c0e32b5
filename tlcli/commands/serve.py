"""The options of ``tlcli serve`` and what it prints."""

from __future__ import annotations

import importlib.util
import re
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from tlcli.commands.options import (
    GRAPH_GROUP,
    LOGGING_GROUP,
    SCORE,
    GroupedCommand,
    WholeNumber,
    find_graph,
    graph_options,
    log_options,
)
from tlcli.errors import TlcliError
from tlcli.terminal import CONTEXT_SETTINGS, set_up_logging

DEFAULT_PORT = 8501  # the REST port of TensorFlow Serving


def _name(value: str) -> str:
    """Check the name of a model, which is part of its URL."""
    if not re.fullmatch("[A-Za-z0-9._-]+", value):
        raise click.BadParameter(f"{value!r} is no name; use letters, digits, '.', '_' and '-'")
    return value


GROUPS = {
    "Server": ("host", "port", "name", "allowed_hosts", "max_bytes", "max_pixels"),
    "Labels": ("top_k", "threshold", "unknown"),
    "Graph": GRAPH_GROUP,
    "Logging": LOGGING_GROUP,
}


@click.command(cls=GroupedCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@graph_options
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 admits other machines, without a password.",
)
@click.option(
    "--port",
    type=WholeNumber(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0 for any free port.",
)
@click.option(
    "--name",
    type=_name,
    metavar="NAME",
    help="Name of the model on the page and in /v1/models/NAME. [default: model; on the page that "
    "of its folder]",
)
@click.option(
    "--num_top_predictions",
    "--top_k",
    "top_k",
    type=WholeNumber(min=1, max=100),
    metavar="N",
    help="Labels per image on the page and in /label, best first.  [default: 5; with several "
    "labels per image, all that reach their thresholds]",
)
@click.option(
    "--threshold",
    type=SCORE,
    metavar="P",
    help="An image without a score of at least P is unsure (0.8 or 80%); the page can change it.",
)
@click.option(
    "--unknown",
    is_flag=True,
    help="Also say which images are unknown: like none that the graph was trained on. For frozen "
    "graphs of tlcli.",
)
@click.option(
    "--max_bytes",
    type=WholeNumber(min=1024, max=1 << 30),
    default=32 << 20,
    show_default=True,
    metavar="N",
    help="Largest request in bytes.",
)
@click.option(
    "--max_pixels",
    type=WholeNumber(min=1),
    default=100_000_000,
    show_default=True,
    metavar="N",
    help="Largest image in pixels.",
)
@click.option(
    "--allow_host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Further host name to accept in requests, such as my-computer.local. Repeatable.",
)
@log_options
def command(
    graph: Path | None,
    host: str,
    port: int,
    name: str | None,
    top_k: int | None,
    threshold: float | None,
    max_bytes: int,
    max_pixels: int,
    allowed_hosts: tuple[str, ...],
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Serve a page for trying a graph, and the REST API of TensorFlow Serving.

    \b
    Examples:
      tlcli serve
      tlcli serve --graph output_graph.pb --port 8080 --threshold 80%
    """
    set_up_logging(logging_verbosity, quiet)
    check_extra()
    from tlcli.serve.about import DEFAULT_NAME
    from tlcli.serve.app import make_app
    from tlcli.serve.asked import Shown
    from tlcli.serve.limits import Limits
    from tlcli.serve.model import open_model
    from tlcli.serve.server import address_of, is_loopback, open_socket, serve

    limits = Limits(max_bytes=max_bytes, max_pixels=max_pixels)
    with closing(open_model(find_graph(graph), name, limits.max_pixels, **options)) as model:
        app = make_app(model, limits, Shown(top_k, threshold), allowed_hosts)
        listening = open_socket(host, port)
        address = address_of(listening)

        def announce() -> None:
            click.echo(f"Open {address} in a browser; Ctrl-C ends it.")
            click.echo(f"Programs: POST {address}/v1/models/{name or DEFAULT_NAME}:predict")
            if not is_loopback(listening.getsockname()[0]):
                click.echo(
                    f"Warning: other machines reach {host} too, and nothing asks them for a "
                    "password.",
                    err=True,
                )

        serve(app, listening, limits, announce)
    return 0


def check_extra() -> None:
    """Raise TlcliError, which names the command to run, if the server's packages are missing."""
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise TlcliError("tlcli serve needs two more packages; run: pip install 'tlcli[serve]'")
