"""The options of ``tlcli check`` and what it prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from retrain.command import command as retrain_command
from tlcli.commands.options import (
    FILE_PATH,
    LOGGING_GROUP,
    ImageDirCommand,
    WholeNumber,
    format_option,
    from_home,
    log_options,
)
from tlcli.commands.stages import watching
from tlcli.errors import BELOW_MINIMUM
from tlcli.storage.locations import shown
from tlcli.terminal import CONTEXT_SETTINGS, set_up_logging, write_any_name

# They mean the same as for retrain, so that its vectors are found in the cache.
_IMAGES = ("image_dir", "manifest", "keep_label_names")
_BACKBONE = (
    *("module", "preset", "layers", "module_input", "module_output"),
    *("input_height", "input_width", "input_mean", "input_std"),
    *("precision", "trust", "model_dir", "bottleneck_dir"),
)
GROUPS = {
    "Input": _IMAGES,
    "Output": ("output_format", "output", "max_issues"),
    "Backbone, as for retrain": _BACKBONE,
    "Logging": LOGGING_GROUP,
}
_BY_SUFFIX = {".json": "json", ".csv": "csv"}


@click.command(cls=ImageDirCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@format_option(
    *("text", "json", "csv"),
    default=None,
    text="Output format; csv has one finding per row.  [default: by the suffix of --output, else "
    "text]",
)
@click.option(
    "--output",
    type=FILE_PATH,
    metavar="FILE",
    help="Output file.  [default: standard output]",
)
@click.option(
    "--max_issues",
    type=WholeNumber(min=0),
    metavar="N",
    help="Exit with code 3 if there are more findings.",
)
@log_options
def command(
    output_format: str | None,
    output: Path | None,
    max_issues: int | None,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Check labelled photos: which labels are probably wrong, and what else is odd.

    No photo is changed. The vectors of a retraining with the same backbone are reused.

    \b
    Examples:
      tlcli check --image_dir photos
      tlcli check --image_dir photos --format csv --output findings.csv
    """
    output_format = output_format or (_BY_SUFFIX.get(output.suffix.lower()) if output else None)
    set_up_logging(logging_verbosity, quiet)
    if options["module"]:
        options["module"] = from_home(options["module"])
    context = click.get_current_context()
    by_default = click.core.ParameterSource.DEFAULT
    given = {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) is not by_default
    }
    from tlcli.cache.limit import keep_limit
    from tlcli.check.formats import to_csv, to_json, to_text
    from tlcli.check.job import check
    from tlcli.storage.objects import write

    with watching(quiet, ()) as stages:
        found = check(given, stages)
        keep_limit()
    if output_format == "json":
        text = to_json(found) + "\n"
    else:
        text = to_csv(found) if output_format == "csv" else to_text(found) + "\n"
    write_any_name(sys.stdout)
    if output is None:
        click.echo(text, nl=False)
    else:
        write(output, text.encode("utf-8", "surrogateescape"))
        click.echo(f"{found.issues} findings\nWritten: {shown(output)}")
    if max_issues is not None and found.issues > max_issues:
        click.echo(
            f"Error: {found.issues} findings are more than --max_issues {max_issues}.", err=True
        )
        return BELOW_MINIMUM
    return 0


command.params[:0] = [
    each for each in retrain_command.params if each.name in (*_IMAGES, *_BACKBONE)
]
