"""The command ``tlcli label``: what it does with its options, and what it prints."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from label.arguments.asked import Asked
from label.arguments.options import GROUPS, label_options
from tlcli.commands.options import GroupedCommand, find_graph
from tlcli.errors import OutputError
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
    from label.job import Outcome
    from label.tally import Tally


@click.command(cls=GroupedCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@label_options
def command(
    graph: Path | None,
    describe: bool,
    logging_verbosity: str,
    quiet: bool,
    **given: Any,
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
        asked, options = Asked.unchecked(given)
        _describe(graph, asked.output_format or "text", options)
        return 0
    asked, options = Asked.of(given)
    set_up_logging(logging_verbosity, quiet)
    if asked.output is not None:
        return _label_shards(asked, graph, options, quiet)
    if sys.stdout is None:
        raise OutputError(
            "standard output is closed, and predictions are written there; redirect it, as in "
            "> predictions.txt"
        )
    return _label(asked, graph, options, quiet)


def _label(asked: Asked, graph: Path | None, options: dict[str, Any], quiet: bool) -> int:
    """Write the predictions to standard output; 1 where an image has none, or was not sorted."""
    from label.formats import LABELS_SHOWN
    from label.job import Images, label_images
    from label.tally import Tally
    from tlcli.core.classifier.loading import load
    from tlcli.storage.objects import check_output

    write_any_name(sys.stdout)
    if asked.output_list is not None:
        check_output(asked.output_list)
    arguments = asked.arguments
    for option, folder in (("--sort_into", asked.sort_into), ("--explain", asked.explain)):
        if folder is not None:
            from label.sorting import check_output_folder

            check_output_folder(folder, arguments, option)
    found = Images(arguments)
    with ExitStack() as stack:
        classifier = stack.enter_context(load(find_graph(graph), **options))
        sorter = explainer = None
        if asked.sort_into is not None:
            from label.sorting import Sorter

            sorter = stack.enter_context(
                Sorter(asked.sort_into, classifier.labels, asked.link, asked.threshold)
            )
        if asked.explain is not None:
            from label.explaining import Explainer

            explainer = stack.enter_context(
                Explainer(classifier, asked.explain, asked.top_k or LABELS_SHOWN, options)
            )
        # Results on the terminal already show the progress.
        progress = stack.enter_context(progress_bars(quiet or not is_plain(sys.stdout)))
        total = found.listed() if progress is not None and not is_plain(sys.stderr) else 0
        tally = Tally(progress, total, sorter, explainer, asked.threshold)
        style = asked.style(takes_colour(sys.stdout))
        outcome = label_images(classifier, found, sys.stdout, style, tally.add)
    if asked.output_list is not None:
        _write_list(asked.output_list, outcome.suggested)
    return _report(outcome, tally)


def _report(outcome: Outcome, tally: Tally) -> int:
    total, sorter = outcome.labelled + outcome.failed, tally.sorter
    is_sorted = sorter is not None or tally.explainer is not None
    if is_sorted or (total > 1 and not is_plain(sys.stderr)):
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


def _label_shards(asked: Asked, graph: Path | None, options: dict[str, Any], quiet: bool) -> int:
    """Write part files; 1 where an image has no scores, or a shard no part."""
    from label.sharded.job import Call, label_shards
    from label.sharded.labelling import Target

    target = Target(text_of(asked.output or ""), asked.style())
    call = Call(find_graph(graph), options, target, asked.machines)
    with progress_bars(quiet) as progress:
        result = label_shards(call, asked.arguments, progress)
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
