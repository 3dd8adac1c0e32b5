"""The options of ``tlcli evaluate`` and what it prints."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcli.commands.again import command_line, program
from tlcli.commands.machines.options import cluster_options
from tlcli.commands.options import (
    ACCURACY,
    ANY_PATH,
    FILE_PATH,
    GRAPH_GROUP,
    LOGGING_GROUP,
    SPREADSHEET,
    ImageDirCommand,
    find_graph,
    format_option,
    graph_options,
    log_options,
)
from tlcli.errors import BELOW_MINIMUM, GraphError
from tlcli.runners.machines import Machines
from tlcli.storage.locations import is_url, name_of, shown
from tlcli.terminal import (
    CONTEXT_SETTINGS,
    is_plain,
    progress_bars,
    say_below_minimum,
    set_up_logging,
    write_any_name,
)
from tlcli.text import counted

if TYPE_CHECKING:
    from tlcli.core.evaluation.graph_accuracy import GraphAccuracy

_log = logging.getLogger("tlcli")
_BY_SUFFIX = {".json": "json", ".csv": "csv", ".html": "html", ".htm": "html"}


GROUPS = {
    "Input": ("image_dir", "manifest"),
    "Output": ("output_format", "output", "spreadsheet"),
    "Measuring": (
        *("unknown_dir", "compare", "compare_labels"),
        *("min_accuracy", "min_map", "gate"),
    ),
    "Graph": GRAPH_GROUP,
    "Many machines": ("runner", "address"),
    "Logging": LOGGING_GROUP,
}


@click.command(cls=ImageDirCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@click.option(
    "--image_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder with one subfolder of images per label, also in a bucket (s3://, gs://), or a zip "
    "or tar archive of it; of train, val and test folders, test is evaluated.  [required unless "
    "--manifest]",
)
@click.option(
    "--manifest",
    type=ANY_PATH,
    metavar="FILE",
    help="Table of the images in place of --image_dir: CSV, TSV or JSON lines with path, label "
    "and, optionally, split, of which test is evaluated.",
)
@graph_options
@click.option(
    "--unknown_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder of images of other subjects, at any depth: report how many of them the graph "
    "calls unknown, and how many of the labelled images. For frozen graphs of tlcli.",
)
@click.option(
    "--compare",
    type=ANY_PATH,
    metavar="GRAPH",
    help="Run a second graph on the same images: both accuracies, the images on which they "
    "differ, and the significance of the difference (McNemar's exact test). Its layers and sizes "
    "are inferred; --batch_size and --trust apply to both.",
)
@click.option(
    "--compare_labels",
    type=ANY_PATH,
    metavar="PATH",
    help="Labels file of the second graph.  [default: as for --labels]",
)
@click.option(
    "--min_accuracy",
    type=ACCURACY,
    metavar="P",
    help="Exit with code 3 if the accuracy of --graph is lower (0.9 or 90%); with several labels "
    "per image, the proportion of images whose labels are all right.",
)
@click.option(
    "--min_map",
    type=ACCURACY,
    metavar="P",
    help="With several labels per image: exit with code 3 if the mean average precision is lower.",
)
@click.option(
    "--gate",
    type=click.Choice(("unseen", "all"), case_sensitive=False),
    help="Images that --min_accuracy and --min_map are for: those that did not train the graph, "
    "by its model card, or all.  [default: unseen]",
)
@format_option(
    *("text", "json", "csv", "html"),
    default=None,
    text="Output format; csv has one value per row, html is one page that needs no network.  "
    "[default: by the suffix of --output, else text]",
)
@click.option(
    "--output",
    type=FILE_PATH,
    metavar="FILE",
    help="Output file; standard output then has the accuracy only.  [default: standard output]",
)
@SPREADSHEET
@cluster_options("images are labelled")
@log_options
def command(
    image_dir: Path | None,
    manifest: Path | None,
    graph: Path | None,
    unknown_dir: Path | None,
    compare: Path | None,
    compare_labels: Path | None,
    min_accuracy: float | None,
    min_map: float | None,
    gate: str | None,
    output_format: str | None,
    output: Path | None,
    spreadsheet: bool,
    runner: str,
    address: str | None,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Measure the accuracy of a graph from any tool on labelled images.

    \b
    Examples:
      tlcli evaluate --image_dir new_photos
      tlcli evaluate --image_dir new_photos --output evaluation.html
      tlcli evaluate --image_dir new_photos --graph new.pb --compare old.pb
    """
    if compare_labels is not None and compare is None:
        raise click.UsageError("--compare_labels is of the second graph; name that by --compare")
    if gate is not None and min_accuracy is None and min_map is None:
        raise click.UsageError("--gate is for --min_accuracy P and --min_map P")
    gates_all = gate == "all"
    output_format = _format(output_format, output)
    if spreadsheet and output_format != "csv":
        raise click.UsageError("--spreadsheet is for --format csv")
    if (image_dir is None) == (manifest is None):
        raise click.UsageError(
            "name the labelled images by one of the two: --image_dir DIR or --manifest FILE"
        )
    if unknown_dir is not None:
        if compare is not None:
            raise click.UsageError("--unknown_dir is for one graph; leave --compare out")
        options["unknown"] = True
    machines = Machines(runner, address)
    machines.check()
    if runner == "ray":
        if compare is not None:
            raise click.UsageError("--compare runs on one machine; leave --runner ray out")
        if image_dir is not None and not is_url(image_dir) and image_dir.is_file():
            raise click.UsageError(
                "--runner ray reads images on several machines, and --image_dir is an archive; "
                "unpack it on a drive that all share"
            )
    set_up_logging(logging_verbosity, quiet)
    from tlcli.commands.multi_label.evaluating import (
        Asked,
        check_single,
        evaluate_several,
        has_several_labels,
    )
    from tlcli.core.classifier.loading import load
    from tlcli.core.data.held_out import images_to_evaluate
    from tlcli.core.evaluation import accuracy_tables
    from tlcli.storage.objects import check_output, write

    if output is not None:
        check_output(output)
    if compare is not None and not is_url(compare) and not compare.exists():
        raise GraphError(f"there is no graph at {compare}; check --compare")
    comparison = None
    with ExitStack() as stack:
        first = stack.enter_context(load(find_graph(graph), **options))
        if has_several_labels(first):
            others = {"--compare": compare, "--unknown_dir": unknown_dir}
            used = {name: value is not None for name, value in others.items()}
            check_single({**used, "--runner ray": runner == "ray"})
            several = Asked(
                *(image_dir, manifest, output_format, output, spreadsheet),
                *(min_accuracy, min_map, gates_all),
            )
            with progress_bars(quiet) as progress:
                return evaluate_several(first, several, progress)
        if min_map is not None:
            raise click.UsageError(
                f"--min_map is for several labels per image, and {first.graph} gives one; give "
                "--min_accuracy"
            )
        graphs = [first]
        images = images_to_evaluate(image_dir, manifest)
        if machines.by_shards:
            from tlcli.commands.machines.evaluating import measure_on
            from tlcli.commands.machines.model import Model

            model = Model.of(find_graph(graph), options)
            with progress_bars(quiet) as progress:
                accuracy = measure_on(machines, model, first, images, progress)
        elif compare is None:
            from tlcli.core.evaluation.graph_accuracy import measure_accuracy

            with progress_bars(quiet) as progress:
                accuracy = measure_accuracy(first, images, progress)
        else:
            from tlcli.core.evaluation.comparison import compare as compare_graphs

            shared = {name: options[name] for name in ("batch_size", "trust")}
            second = stack.enter_context(load(compare, labels=compare_labels, **shared))
            with progress_bars(quiet) as progress:
                comparison = compare_graphs(first, second, images, progress)
            accuracy = comparison.first
            graphs.append(second)
        if unknown_dir is not None:
            from tlcli.core.evaluation.evaluating import measure_unknown

            with progress_bars(quiet) as progress:
                found = measure_unknown(first, unknown_dir, progress)
            accuracy = replace(accuracy, unknown=found)
        if output_format == "html":
            from tlcli.report.evaluation_page import RunFacts, render
            from tlcli.report.evaluation_pictures import Pictures

            created = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
            again = command_line(click.get_current_context())
            source = image_dir or manifest or Path()
            name = name_of(source if is_url(source) else source.resolve())
            facts = RunFacts(name, created, again, min_accuracy, gates_all)
            # The graphs are still open: they make the heat maps.
            text = render(accuracy, comparison, facts, Pictures(output, graphs))
    if output_format == "csv":
        text = accuracy_tables.to_csv(accuracy, comparison, spreadsheet)
    elif output_format == "json":
        text = accuracy_tables.to_json(accuracy, comparison) + "\n"
    elif output_format == "text":
        text = accuracy_tables.to_text(accuracy, comparison) + "\n"
    write_any_name(sys.stdout)
    if output is not None:
        write(output, text.encode("utf-8", "surrogateescape"))
        click.echo("\n".join(accuracy_tables.headlines(accuracy, comparison)))
        click.echo(f"Written: {shown(output)}")
    else:
        if output_format == "text" and accuracy.misclassified:
            changed = {"output": "evaluation.html", "output_format": None}
            page = command_line(click.get_current_context(), program(), **changed)
            text += f"\nTo see the images it got wrong: {page}\n"
        click.echo(text, nl=False)
    return 0 if min_accuracy is None else _checked(accuracy, min_accuracy, gates_all)


def _checked(accuracy: GraphAccuracy, minimum: float, gates_all: bool) -> int:
    """Return the exit code for an accuracy that should reach a minimum, and print why."""
    gated = accuracy if gates_all else accuracy.measured
    if gated is None:
        click.echo(
            "Error: all images trained this graph, so there is no accuracy to compare with "
            "--min_accuracy; evaluate on images that were kept apart, or add --gate all.",
            err=True,
        )
        return BELOW_MINIMUM
    low, high = gated.interval
    if low < minimum <= high:
        _log.warning(
            "%s cannot tell whether the accuracy is above or below %.1f%%: its 95%% interval is "
            "%.1f%% to %.1f%%",
            *(counted(gated.evaluation.count, "image"), 100 * minimum, 100 * low, 100 * high),
        )
    if gated.accuracy < minimum:
        part = "" if gated is accuracy else " on images that did not train the graph"
        say_below_minimum("accuracy" + part, gated.accuracy, minimum)
        return BELOW_MINIMUM
    return 0


def _format(output_format: str | None, output: Path | None) -> str:
    if output is not None and output.is_dir():
        raise click.UsageError(f"--output {output} is a folder; name a file in it")
    if output_format is None:
        return "text" if output is None else _BY_SUFFIX.get(output.suffix.lower(), "text")
    if output_format == "html" and output is None and not is_plain(sys.stdout):
        raise click.UsageError(
            "a page is no reading for a terminal; name a file, as in --output evaluation.html"
        )
    return output_format
