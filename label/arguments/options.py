"""The options of ``tlcli label``, as click takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tlcli.commands.completion import complete_files
from tlcli.commands.machines.options import cluster_options, shard_options
from tlcli.commands.options import (
    ANY_PATH,
    FILE_PATH,
    GRAPH_GROUP,
    LOGGING_GROUP,
    SCORE,
    SPREADSHEET,
    WholeNumber,
    format_option,
    graph_options,
    log_options,
)

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Those of `label.formats` and `label.sharded.part_files`, which are not imported to show the help.
FORMATS = ("text", "json", "jsonl", "csv")
PART_FORMATS = ("jsonl", "parquet")
GROUPS = {
    "Input": ("images",),
    "Output": (
        *("top_k", "threshold", "unknown", "output_format", "spreadsheet"),
        *("sort_into", "link", "explain", "suggest", "output_list"),
    ),
    "Many machines": ("output", "runner", "address", "num_shards", "shard_index"),
    "Graph": (*GRAPH_GROUP, "describe"),
    "Logging": LOGGING_GROUP,
}

# In the order of the help.
_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.argument("more_images", nargs=-1, metavar="[IMAGE]...", shell_complete=complete_files),
    click.option(
        "--image",
        "images",
        multiple=True,
        metavar="X",
        shell_complete=complete_files,
        help="Image to label: a file, a folder (recursive), a URL (s3://, gs://, https://), a "
        "quoted pattern, @LIST (a file of paths) or - (paths on standard input). Repeatable; "
        "--image itself may be left out.",
    ),
    graph_options,
    click.option(
        "--num_top_predictions",
        "--top_k",
        "top_k",
        type=WholeNumber(min=1),
        metavar="N",
        help="Labels per image, best first.  [default: 5; with several labels per image, all that "
        "reach their thresholds]",
    ),
    format_option(
        *(*FORMATS, "parquet"),
        default=None,
        text="Output format; with --output jsonl or parquet.  [default: text, with --output jsonl]",
    ),
    click.option(
        "--threshold",
        type=SCORE,
        metavar="P",
        help="Omit lower scores; an image without a score of at least P is unsure (0.8 or 80%).  "
        "[default: omit none]",
    ),
    click.option(
        "--unknown",
        is_flag=True,
        help="Also say which images are unknown: like none that the graph was trained on. For "
        "frozen graphs of tlcli.",
    ),
    SPREADSHEET,
    click.option(
        "--sort_into",
        type=ANY_PATH,
        metavar="DIR",
        help="Copy each image into DIR/LABEL, or into DIR/unsure if its best score is below "
        "--threshold, or into DIR/unknown with --unknown. Existing files stay: a duplicate name "
        "gets a number.",
    ),
    click.option(
        "--link",
        is_flag=True,
        help="With --sort_into: make hard links instead of copies, or symbolic links across file "
        "systems.",
    ),
    click.option(
        "--explain",
        type=ANY_PATH,
        metavar="DIR",
        help="Write one picture per image into DIR: the image, a heat map of the regions that "
        "contributed to its best label, and the scores.",
    ),
    click.option(
        "--suggest",
        type=WholeNumber(min=1),
        metavar="N",
        help="Print only the N images that a person should label next, the most useful first: "
        "those of which the graph is unsure, in different ways.",
    ),
    click.option(
        "--output_list",
        type=FILE_PATH,
        metavar="FILE",
        help="With --suggest: write the paths of these images to FILE, one per line.",
    ),
    click.option(
        "--describe",
        is_flag=True,
        help="Print what the graph takes and returns, and where each part is known from; no image "
        "is needed.",
    ),
    click.option(
        "--output",
        type=ANY_PATH,
        metavar="DIR",
        help="Write the predictions into part files in DIR, also in a bucket (s3://, gs://); what "
        "is there is not labelled again.",
    ),
    cluster_options("images are labelled"),
    shard_options(
        "Number of jobs that share the images; without --shard_index, label what has no part yet.",
        "Label the images of this job, 0 to --num_shards - 1.",
    ),
    log_options,
)


def label_options(function: _Function) -> _Function:
    """Add all options of the command."""
    # Reversed, because a decorator that is written first is applied last.
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
