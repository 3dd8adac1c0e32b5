"""The options of ``tlcli label`` and what it prints."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import click

from tlcli.commands.options import FINITE, complete_files, graph_options, talk_options
from tlcli.terminal import CONTEXT_SETTINGS, set_up_logging

FORMATS = ("text", "json", "jsonl", "csv")


@click.command(context_settings=CONTEXT_SETTINGS)
@click.argument("more_images", nargs=-1, metavar="[IMAGE]...", shell_complete=complete_files)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="X",
    shell_complete=complete_files,
    help="Image to label: a file, a folder (recursive), a quoted pattern, @LIST (a file of "
    "paths) or - (paths on standard input). May be given several times, and without --image.",
)
@graph_options
@click.option(
    "--num_top_predictions",
    "--top_k",
    "top_k",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Labels to print of each image, best first.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(FORMATS, case_sensitive=False),
    default="text",
    show_default=True,
    help="What standard output carries.",
)
@click.option(
    "--threshold",
    type=FINITE,
    default=0.0,
    show_default=True,
    metavar="P",
    help="Scores below are not printed.",
)
@talk_options
def command(
    images: tuple[str, ...],
    more_images: tuple[str, ...],
    graph: Path | None,
    top_k: int,
    output_format: str,
    threshold: float,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Label images with a retrained graph, made by tlcli or by any of the original tools.

    \b
    tlcli label --image new.jpg
    tlcli label --graph old/graph.pb photos --format csv > scores.csv
    """
    if not images and not more_images:
        raise click.UsageError(
            "no image was named; give files, folders or patterns, with or without --image"
        )
    set_up_logging(logging_verbosity, quiet)
    from label.job import Images, find_graph, label_images
    from tlcli.core.classifier import load

    _write_any_name(sys.stdout)
    with load(find_graph(graph), **options) as classifier:
        outcome = label_images(
            classifier,
            Images([*images, *more_images]),
            sys.stdout,
            output_format=output_format,
            top_k=top_k,
            threshold=threshold,
        )
    total = outcome.labelled + outcome.failed
    if total == 1 and outcome.reason is not None:
        click.echo(f"Error: {outcome.reason}", err=True)
    elif outcome.failed:
        click.echo(f"Error: {outcome.failed} of {total} images could not be labelled", err=True)
    return 1 if outcome.failed else 0


def _write_any_name(stream: Any) -> None:
    """Let names of files pass that the terminal's encoding cannot hold; they keep their bytes."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
