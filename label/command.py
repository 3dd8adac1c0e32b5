"""The options of ``tlcli label`` and what it prints."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    GroupedCommand,
    WholeNumber,
    find_graph,
    format_option,
    from_home,
    graph_options,
    log_options,
)
from tlcli.errors import OutputError
from tlcli.runners.machines import Machines
from tlcli.storage.locations import text_of
from tlcli.terminal import (
    CONTEXT_SETTINGS,
    is_plain,
    progress_bars,
    set_up_logging,
    takes_colour,
    write_any_name,
)
from tlcli.text import counted, printable, table

if TYPE_CHECKING:
    from label.explaining import Explainer
    from label.sharded.job import Call
    from label.sorting import Sorter
    from tlcli.core.classifier.outputs import Prediction

# Those of `label.formats` and `label.sharded.part_files`, which are not imported to show the help.
FORMATS = ("text", "json", "jsonl", "csv")
PART_FORMATS = ("jsonl", "parquet")
GROUPS = {
    "Input": ("images",),
    "Output": (
        *("top_k", "threshold", "output_format", "spreadsheet"),
        *("sort_into", "link", "explain", "suggest", "output_list"),
    ),
    "Many machines": ("output", "runner", "address", "num_shards", "shard_index"),
    "Graph": (*GRAPH_GROUP, "describe"),
    "Logging": LOGGING_GROUP,
}


@click.command(cls=GroupedCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@click.argument("more_images", nargs=-1, metavar="[IMAGE]...", shell_complete=complete_files)
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="X",
    shell_complete=complete_files,
    help="Image to label: a file, a folder (recursive), a URL (s3://, gs://, https://), a quoted "
    "pattern, @LIST (a file of paths) or - (paths on standard input). Repeatable; --image itself "
    "may be left out.",
)
@graph_options
@click.option(
    "--num_top_predictions",
    "--top_k",
    "top_k",
    type=WholeNumber(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Labels per image, best first.",
)
@format_option(
    *(*FORMATS, "parquet"),
    default=None,
    text="Output format; with --output jsonl or parquet.  [default: text, with --output jsonl]",
)
@click.option(
    "--threshold",
    type=SCORE,
    metavar="P",
    help="Omit lower scores; an image without a score of at least P is unsure (0.8 or 80%).  "
    "[default: omit none]",
)
@SPREADSHEET
@click.option(
    "--sort_into",
    type=ANY_PATH,
    metavar="DIR",
    help="Copy each image into DIR/LABEL, or into DIR/unsure if its best score is below "
    "--threshold. Existing files stay: a duplicate name gets a number.",
)
@click.option(
    "--link",
    is_flag=True,
    help="With --sort_into: make hard links instead of copies, or symbolic links across file "
    "systems.",
)
@click.option(
    "--explain",
    type=ANY_PATH,
    metavar="DIR",
    help="Write one picture per image into DIR: the image, a heat map of the regions that "
    "contributed to its best label, and the scores.",
)
@click.option(
    "--suggest",
    type=WholeNumber(min=1),
    metavar="N",
    help="Print only the N images that a person should label next, the most useful first: those "
    "of which the graph is unsure, in different ways.",
)
@click.option(
    "--output_list",
    type=FILE_PATH,
    metavar="FILE",
    help="With --suggest: write the paths of these images to FILE, one per line.",
)
@click.option(
    "--describe",
    is_flag=True,
    help="Print what the graph takes and returns, and where each part is known from; no image is "
    "needed.",
)
@click.option(
    "--output",
    type=ANY_PATH,
    metavar="DIR",
    help="Write the predictions into part files in DIR, also in a bucket (s3://, gs://); what is "
    "there is not labelled again.",
)
@cluster_options("images are labelled")
@shard_options(
    "Number of jobs that share the images; without --shard_index, label what has no part yet.",
    "Label the images of this job, 0 to --num_shards - 1.",
)
@log_options
def command(
    images: tuple[str, ...],
    more_images: tuple[str, ...],
    graph: Path | None,
    top_k: int,
    output_format: str | None,
    threshold: float | None,
    spreadsheet: bool,
    sort_into: Path | None,
    link: bool,
    explain: Path | None,
    suggest: int | None,
    output_list: Path | None,
    describe: bool,
    output: Path | None,
    runner: str,
    address: str | None,
    num_shards: int | None,
    shard_index: int | None,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Label images with a retrained graph, made by tlcli or by any of the original tools.

    \b
    Examples:
      tlcli label new.jpg
      tlcli label photos --graph old/graph.pb --format csv > scores.csv
      tlcli label photos --sort_into sorted --threshold 80%
      tlcli label unlabelled --suggest 50
      tlcli label --describe --graph model.tflite
      tlcli label s3://bucket/photos --output s3://bucket/labels --runner ray
    """
    if describe:
        set_up_logging(logging_verbosity, quiet)
        _describe(graph, output_format or "text", options)
        return 0
    if not images and not more_images:
        raise click.UsageError(
            "no image was named; give files, folders or patterns, with or without --image"
        )
    if "" in (*images, *more_images):  # an unset variable in a shell script
        raise click.UsageError("the name of an image is empty; give a file, folder or pattern")
    if spreadsheet and output_format != "csv":
        raise click.UsageError("--spreadsheet is for --format csv")
    if link and sort_into is None:
        raise click.UsageError("--link is for --sort_into DIR")
    if output_list is not None and suggest is None:
        raise click.UsageError("--output_list is for --suggest N")
    if suggest is not None and (sort_into is not None or explain is not None):
        raise click.UsageError(
            "--suggest chooses among all images, which --sort_into and --explain would write one "
            "by one; run them on --output_list FILE afterwards, as @FILE"
        )
    machines = Machines(runner, address, num_shards, shard_index)
    machines.check()
    if output is None:
        if machines.by_shards:
            asked = "--runner ray" if runner == "ray" else "--num_shards"
            raise click.UsageError(f"{asked} writes part files; name their folder by --output DIR")
        if output_format == "parquet":
            raise click.UsageError("--format parquet is for part files; add --output DIR")
    elif output_format not in (None, *PART_FORMATS):
        raise click.UsageError(
            f"part files are written as jsonl or parquet, and --format is {output_format}"
        )
    elif (sort_into, explain, suggest) != (None, None, None):
        raise click.UsageError(
            "--output writes part files alone; leave --sort_into, --explain and --suggest out, or "
            "run the command twice"
        )
    set_up_logging(logging_verbosity, quiet)
    # @LIST: the path of a list follows the sign.
    arguments = [
        f"@{from_home(each[1:])}" if each.startswith("@") else from_home(each)
        for each in (*images, *more_images)
    ]
    if output is not None:
        from label.formats import OutputStyle
        from label.sharded.job import Call
        from label.sharded.labelling import Target

        style = OutputStyle(output_format or "jsonl", top_k, threshold)
        target = Target(text_of(output), style)
        return _label_shards(Call(find_graph(graph), options, target, machines), arguments, quiet)
    if sys.stdout is None:
        raise OutputError(
            "standard output is closed, and predictions are written there; redirect it, as in "
            "> predictions.txt"
        )
    from label.formats import OutputStyle
    from label.job import Images, label_images
    from tlcli.core.classifier.loading import load

    write_any_name(sys.stdout)
    for option, folder in (("--sort_into", sort_into), ("--explain", explain)):
        if folder is not None:
            from label.sorting import check_output_folder

            check_output_folder(folder, arguments, option)
    found = Images(arguments)
    with ExitStack() as stack:
        classifier = stack.enter_context(load(find_graph(graph), **options))
        sorter = explainer = None
        if sort_into is not None:
            from label.sorting import Sorter

            sorter = stack.enter_context(Sorter(sort_into, classifier.labels, link, threshold))
        if explain is not None:
            from label.explaining import Explainer

            explainer = stack.enter_context(Explainer(classifier, explain, top_k, options))
        # Results on the terminal already show the progress.
        progress = stack.enter_context(progress_bars(quiet or not is_plain(sys.stdout)))
        total = found.listed() if progress is not None and not is_plain(sys.stderr) else 0
        tally = _Tally(progress, total, sorter, explainer, threshold)
        outcome = label_images(
            classifier,
            found,
            sys.stdout,
            OutputStyle(
                output_format or "text",
                top_k,
                threshold,
                takes_colour(sys.stdout),
                spreadsheet,
                suggest,
            ),
            tally.add,
        )
    if output_list is not None:
        _write_list(output_list, outcome.suggested)
    total = outcome.labelled + outcome.failed
    if sorter is not None or explainer is not None or (total > 1 and not is_plain(sys.stderr)):
        tally.report()
    if not total:
        logging.getLogger("tlcli").info("standard input named no images")
    if total == 1 and outcome.reason is not None:
        click.echo(f"Error: {printable(outcome.reason)}", err=True)
    elif outcome.failed:
        click.echo(f"Error: {outcome.failed} of {total} images could not be labelled", err=True)
    if sorter is not None and sorter.failed:
        click.echo(f"Error: {counted(sorter.failed, 'image')} could not be sorted", err=True)
    return 1 if outcome.failed or (sorter is not None and sorter.failed) else 0


def _write_list(path: Path, images: Sequence[str]) -> None:
    """Write paths, one per line, as ``@LIST`` reads them.

    Raises:
        OutputError: the file cannot be written.
    """
    from tlcli.storage.objects import write

    write(path, b"".join(os.fsencode(image) + b"\n" for image in images))


def _label_shards(call: Call, arguments: list[str], quiet: bool) -> int:
    from label.sharded.job import label_shards

    with progress_bars(quiet) as progress:
        result = label_shards(call, arguments, progress)
    click.echo("\n".join(map(printable, result.to_text().splitlines())))
    if result.set_aside:
        click.echo(
            f"Error: {len(result.set_aside)} of {counted(result.shards, 'shard')} could not be "
            "labelled; run the command again once the cause is removed: the other parts are kept",
            err=True,
        )
    if result.errors:
        click.echo(
            f"Error: {result.errors} of {result.images} images could not be labelled; the parts "
            "with their reasons have errors in the name",
            err=True,
        )
    return 1 if result.set_aside or result.errors else 0


def _describe(graph: Path | None, output_format: str, options: dict[str, Any]) -> None:
    import json

    from tlcli.core.classifier.describing import describe, rows
    from tlcli.core.classifier.loading import load

    with load(find_graph(graph), **options) as classifier:
        if output_format == "text":
            lines = [str(classifier.graph), *table(rows(classifier), right=())]
            click.echo("\n".join(map(printable, lines)))
        else:
            click.echo(json.dumps(describe(classifier), indent=2, ensure_ascii=False))


@dataclass
class _Tally:
    """Sorts, explains and counts the predictions, and reports the counts at the end."""

    progress: Any
    total: int
    sorter: Sorter | None
    explainer: Explainer | None
    threshold: float | None = None
    done: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, prediction: Prediction) -> None:
        """Sort and explain one image."""
        self.done += 1
        if self.progress is not None:
            self.progress("labelling", self.done, self.total)
        if prediction.label is None or prediction.score is None:
            return
        unsure = self.threshold is not None and prediction.score < self.threshold
        self.labels[f"unsure, below {self.threshold:g}" if unsure else prediction.label] += 1
        if self.sorter is not None:
            self.sorter.put(prediction.image, prediction.label, prediction.score)
        if self.explainer is not None:
            self.explainer.write(prediction)

    def report(self) -> None:
        """Log how many images of each label there were."""
        logger = logging.getLogger("tlcli")
        heading, counts = "label", self.labels
        if self.sorter is not None:
            heading, counts = f"in {self.sorter.folder}", self.sorter.counts
        rows = [(name, str(count)) for name, count in counts.most_common()]
        if rows:
            logger.info("%s", "\n".join(["", *table([(heading, "images"), *rows])]))
        if self.explainer is not None:
            logger.info("Pictures in %s: %d", self.explainer.folder, self.explainer.written)
