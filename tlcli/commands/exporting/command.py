"""The options of ``tlcli export`` and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcli.commands.options import (
    ANY_PATH,
    GRAPH_GROUP,
    LOGGING_GROUP,
    ImageDirCommand,
    find_graph,
    format_option,
    graph_options,
    log_options,
)
from tlcli.core.formats.kinds import KINDS
from tlcli.terminal import CONTEXT_SETTINGS, progress_bars, set_up_logging

if TYPE_CHECKING:
    from tlcli.core.formats.figures import Exports

GROUPS = {
    "Export": ("to", "output", "force", "output_format"),
    "Images to compare on": ("image_dir", "manifest"),
    "Graph": GRAPH_GROUP,
    "Logging": LOGGING_GROUP,
}


@click.command(cls=ImageDirCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@click.option(
    "--to",
    required=True,
    metavar="KIND",
    shell_complete=lambda context, parameter, text: [
        name for name in KINDS if name.startswith(text)
    ],
    help=f"Format, or several separated by commas: {', '.join(KINDS)}.",
)
@click.option(
    "--output",
    type=ANY_PATH,
    metavar="PATH",
    help="Path of the exported file or folder.  [default: beside the graph, by the graph's name]",
)
@click.option(
    "--force",
    is_flag=True,
    help="Write a file also where its scores differ from those of the graph, or its accuracy is "
    "more than half a point lower on the validation images.",
)
@click.option(
    "--image_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder of labelled images, as for retrain: its training images calibrate tflite-int8, "
    "its validation images decide whether that is accepted, its test images give the figures.  "
    "[default: that of the model card, if it is there]",
)
@click.option(
    "--manifest",
    type=ANY_PATH,
    metavar="FILE",
    help="Table of labelled images in place of --image_dir.",
)
@graph_options
@format_option("text", "json")
@log_options
def command(
    to: str,
    output: Path | None,
    force: bool,
    image_dir: Path | None,
    manifest: Path | None,
    graph: Path | None,
    output_format: str,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Write a graph in the formats of other programs, and compare each file with the graph.

    \b
    Examples:
      tlcli export --to onnx
      tlcli export --to tflite-int8,openvino --image_dir photos
      tlcli export --graph old.pb --to coreml --output App.mlpackage
    """
    set_up_logging(logging_verbosity, quiet)
    from tlcli.commands.exporting.job import export

    with progress_bars(quiet) as progress:
        exports = export(
            find_graph(graph),
            to,
            output,
            image_dir=image_dir,
            manifest=manifest,
            force=force,
            progress=progress,
            **options,
        )
    click.echo(_text(exports, output_format), nl=False)
    for reason in exports.refused.values():
        click.echo(f"Error: {reason}.", err=True)
    return 1 if exports.refused else 0


def _text(exports: Exports, output_format: str) -> str:
    if output_format == "json":
        return json.dumps(exports.to_dict(), ensure_ascii=False, indent=2) + "\n"
    if not exports.files:
        return ""
    lines = [f"Written: {each.path}" for each in exports.files]
    return "\n".join([*lines, "", *exports.lines(), ""])
