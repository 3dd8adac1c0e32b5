"""The options of ``tlcli serve`` and what it prints."""

from __future__ import annotations

import importlib.util
import re
import secrets
import shlex
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tlcli.check.command import command as check_command
from tlcli.commands.options import (
    ANY_PATH,
    GRAPH_GROUP,
    LOGGING_GROUP,
    SCORE,
    GroupedCommand,
    WholeNumber,
    find_graph,
    from_home,
    graph_options,
    log_options,
)
from tlcli.commands.stages import watching
from tlcli.errors import TlcliError
from tlcli.terminal import CONTEXT_SETTINGS, set_up_logging

if TYPE_CHECKING:
    import socket

    from tlcli.serve.limits import Limits

DEFAULT_PORT = 8501  # the REST port of TensorFlow Serving


def _name(value: str) -> str:
    """Check the name of a model, which is part of its URL."""
    if not re.fullmatch("[A-Za-z0-9._-]+", value):
        raise click.BadParameter(f"{value!r} is no name; use letters, digits, '.', '_' and '-'")
    return value


# Of `tlcli check`, so that the vectors of a retraining are found in the cache.
_OF_CHECK = (
    *("module", "preset", "layers", "module_input", "module_output", "keep_label_names"),
    *("precision", "model_dir", "bottleneck_dir"),
)
# The same of a graph that is served and of a backbone.
_OF_BOTH = ("input_height", "input_width", "input_mean", "input_std", "trust")
_OF_GRAPH = ("name", "top_k", "threshold", "unknown", "max_bytes")
_OF_SERVER = ("host", "port", "allowed_hosts", "max_pixels")
GROUPS = {
    "Server": ("host", "port", "name", "allowed_hosts", "max_bytes", "max_pixels"),
    "Review of photos": ("check", "remove_to", *_OF_CHECK),
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
@click.option(
    "--check",
    type=ANY_PATH,
    metavar="DIR",
    help="In place of a graph, serve a page on which the findings of tlcli check about these "
    "photos are gone through: keep, move to another label, remove to a folder, undo.",
)
@click.option(
    "--remove_to",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder for removed photos and the journal of all moves.  [default: DIR_removed next to "
    "the photos]",
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
    check: Path | None,
    remove_to: Path | None,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Serve a page for trying a graph, and the REST API of TensorFlow Serving.

    With --check, serve a page for reviewing labelled photos instead.

    \b
    Examples:
      tlcli serve
      tlcli serve --graph output_graph.pb --port 8080 --threshold 80%
      tlcli serve --check photos
    """
    given = _given_options(check is not None)
    set_up_logging(logging_verbosity, quiet)
    check_extra()
    from tlcli.serve.limits import Limits

    if check is not None:
        # A decision is small.
        limits = Limits(max_bytes=1 << 16, max_pixels=max_pixels)
        return _review(check, remove_to, {**given, "image_dir": check}, (host, port, limits))
    for each in _OF_CHECK:
        options.pop(each)
    from tlcli.serve.about import DEFAULT_NAME
    from tlcli.serve.app import make_app
    from tlcli.serve.asked import Shown
    from tlcli.serve.model import open_model
    from tlcli.serve.server import address_of, open_socket, serve

    limits = Limits(max_bytes=max_bytes, max_pixels=max_pixels)
    with closing(open_model(find_graph(graph), name, limits.max_pixels, **options)) as model:
        app = make_app(model, limits, Shown(top_k, threshold), allowed_hosts)
        listening = open_socket(host, port)
        address = address_of(listening)

        def announce() -> None:
            click.echo(f"Open {address} in a browser; Ctrl-C ends it.")
            click.echo(f"Programs: POST {address}/v1/models/{name or DEFAULT_NAME}:predict")
            _warn(listening, host, "nothing asks them for a password")

        serve(app, listening, limits, announce)
    return 0


def _warn(listening: socket.socket, host: str, how: str) -> None:
    """Warn where other machines reach the server."""
    from tlcli.serve.server import is_loopback

    if not is_loopback(listening.getsockname()[0]):
        click.echo(f"Warning: other machines reach {host} too, and {how}.", err=True)


def _given_options(reviews: bool) -> dict[str, Any]:
    """Return the options of a check that were given; refuse those that have no effect.

    Raises:
        click.UsageError: an option of a graph with --check, or the other way round.
    """
    context = click.get_current_context()
    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }
    common = (*_OF_SERVER, *LOGGING_GROUP, "check")
    allowed = (*_OF_CHECK, *_OF_BOTH, "remove_to") if reviews else (*GRAPH_GROUP, *_OF_GRAPH)
    for name in given.keys() - {*common, *allowed}:
        (shown,) = (each.opts[0] for each in context.command.params if each.name == name)
        text = "is about a graph and has no effect with" if reviews else "has no effect without"
        raise click.UsageError(f"{shown} {text} --check")
    found = {name: given[name] for name in (*_OF_CHECK, *_OF_BOTH) if name in given}
    if found.get("module"):
        found["module"] = from_home(found["module"])
    return found


def _review(
    folder: Path, remove_to: Path | None, given: dict[str, Any], server: tuple[str, int, Limits]
) -> int:
    """Check photos and serve the page on which the findings are gone through."""
    from tlcli.check.journal import JOURNAL, Journal
    from tlcli.review.app import make_app
    from tlcli.review.checking import Stages, check_photos
    from tlcli.review.page import Facts
    from tlcli.review.places import check_folders, default_folder
    from tlcli.review.session import Review
    from tlcli.serve.server import address_of, open_socket, serve

    host, port, limits = server
    removed = default_folder(folder) if remove_to is None else remove_to.absolute()
    check_folders(folder, removed)
    context = click.get_current_context()
    # A move that was interrupted is finished before the photos are listed.
    journal = Journal(removed)
    listening = open_socket(host, port)
    with watching(context.params["quiet"], ()) as stages:
        found = check_photos(given, removed, stages)
    review = Review(found, lambda report: check_photos(given, removed, Stages(report)), journal)
    facts = Facts(folder.resolve().name, str(removed), str(journal.path), _retraining(given))
    key = secrets.token_urlsafe(24)
    app = make_app(review, facts, limits, key, tuple(context.params["allowed_hosts"]))

    def announce() -> None:
        click.echo(f"Open {address_of(listening)}/?key={key} in a browser; Ctrl-C ends it.")
        click.echo(f"Moves are written to {removed / JOURNAL} first; nothing is deleted.")
        _warn(listening, host, "the key in the address travels unencrypted")

    serve(app, listening, limits, announce)
    return 0


def check_extra() -> None:
    """Raise TlcliError, which names the command to run, if the server's packages are missing."""
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise TlcliError("tlcli serve needs two more packages; run: pip install 'tlcli[serve]'")


def _retraining(given: dict[str, Any]) -> str:
    """Return the command that retrains on the photos with the same vectors."""
    words = ["tlcli", "retrain"]
    for parameter in check_command.params:
        value = given.get(parameter.name or "")
        if value is None or value is False:
            continue
        words.append(parameter.opts[-1])
        if value is not True:
            words.append(str(value))
    return shlex.join(words)


command.params += [each for each in check_command.params if each.name in _OF_CHECK]
