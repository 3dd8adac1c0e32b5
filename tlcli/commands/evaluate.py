"""The options of ``tlcli evaluate`` and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tlcli.commands.options import ACCURACY, ANY_PATH, graph_options, talk_options
from tlcli.terminal import CONTEXT_SETTINGS, progress_bars, set_up_logging

BELOW_MINIMUM = 3


@click.command(context_settings=CONTEXT_SETTINGS)
@click.option(
    "--image_dir",
    type=ANY_PATH,
    required=True,
    metavar="DIR",
    help="Folder of folders: one folder of images a label.",
)
@graph_options
@click.option(
    "--min_accuracy", type=ACCURACY, metavar="P", help="Exit 3 when the accuracy is below."
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"], case_sensitive=False),
    default="text",
    show_default=True,
    help="What standard output carries.",
)
@talk_options
def command(
    image_dir: Path,
    graph: Path | None,
    min_accuracy: float | None,
    output_format: str,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Measure the accuracy of a graph, made by anyone, on labelled images.

    \b
    tlcli evaluate --graph output_graph.pb --image_dir new_photos
    """
    set_up_logging(logging_verbosity, quiet)
    from label.job import find_graph
    from tlcli.core.classifier import load
    from tlcli.core.graph_accuracy import measure

    with (
        load(find_graph(graph), **options) as classifier,
        progress_bars(quiet) as progress,
    ):
        accuracy = measure(classifier, image_dir, progress)
    click.echo(accuracy.to_json() if output_format == "json" else accuracy.to_text())
    if min_accuracy is not None and accuracy.accuracy < min_accuracy:
        click.echo(
            f"Error: the accuracy {accuracy.accuracy:.1%} is below --min_accuracy "
            f"{min_accuracy:.1%}.",
            err=True,
        )
        return BELOW_MINIMUM
    return 0
