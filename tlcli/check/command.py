"""The options of ``tlcli check`` and what it prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from retrain.command import command as retrain_command
from tlcli.commands.again import command_line
from tlcli.commands.options import (
    ANY_PATH,
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
from tlcli.storage.locations import is_url, name_of, shown
from tlcli.terminal import CONTEXT_SETTINGS, is_plain, set_up_logging, write_any_name
from tlcli.text import counted

# They mean the same as for retrain, so that its vectors are found in the cache.
_IMAGES = ("image_dir", "manifest", "multi_label", "keep_label_names")
_BACKBONE = (
    *("module", "preset", "layers", "module_input", "module_output"),
    *("input_height", "input_width", "input_mean", "input_std"),
    *("precision", "trust", "model_dir", "bottleneck_dir"),
)
GROUPS = {
    "Input": _IMAGES,
    "Output": ("output_format", "output", "max_issues", "output_list", "move_to"),
    "Backbone, as for retrain": _BACKBONE,
    "Logging": LOGGING_GROUP,
}
_BY_SUFFIX = {".json": "json", ".csv": "csv", ".html": "html", ".htm": "html"}


@click.command(cls=ImageDirCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@format_option(
    *("text", "json", "csv", "html"),
    default=None,
    text="Output format; csv has one finding per row, html is one page with pictures that needs "
    "no network.  [default: by the suffix of --output, else text]",
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
@click.option(
    "--output_list",
    type=FILE_PATH,
    metavar="FILE",
    help="Write the paths that were found, one per line; of copies, all but the first.",
)
@click.option(
    "--move_to",
    type=ANY_PATH,
    metavar="DIR",
    help="Move these files below DIR, with a journal (moved.jsonl); refused where one would be "
    "overwritten.",
)
@log_options
def command(
    output_format: str | None,
    output: Path | None,
    max_issues: int | None,
    output_list: Path | None,
    move_to: Path | None,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Check labelled photos: which labels are probably wrong, and what else is odd.

    No photo is changed, and none is moved without --move_to. The vectors of a retraining with the
    same backbone are reused.

    \b
    Examples:
      tlcli check --image_dir photos
      tlcli check --image_dir photos --output check.html
      tlcli check --image_dir photos --format csv --output findings.csv
      tlcli check --manifest labels.csv --multi_label
    """
    output_format = output_format or (_BY_SUFFIX.get(output.suffix.lower()) if output else None)
    if output_format == "html" and output is None and not is_plain(sys.stdout):
        raise click.UsageError(
            "a page is no reading for a terminal; name a file, as in --output check.html"
        )
    source = options["image_dir"] or options["manifest"]
    if move_to is not None and (is_url(move_to) or (source is not None and is_url(source))):
        raise click.UsageError("--move_to moves files on this machine, not in buckets")
    if move_to is not None and options["image_dir"] is not None:
        _check_target(move_to, options["image_dir"])
        if options["multi_label"]:
            raise click.UsageError(
                "--move_to would move an image out of one of its folders and leave it in the "
                "others; with --multi_label give --output_list, or list the images with --manifest"
            )
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
    from tlcli.check.journal import JOURNAL, Journal
    from tlcli.check.moving import plan
    from tlcli.storage.objects import check_output, write

    for each in (output, output_list, None if move_to is None else move_to / JOURNAL):
        if each is not None:
            check_output(each)
    with watching(quiet, ()) as stages:
        found = check(given, stages)
        keep_limit()
    if output_format == "html":
        from tlcli.report.check_page import render

        name = name_of(source if is_url(source) else source.resolve())
        text = render(found, name, command_line(context), output)
    elif output_format == "json":
        text = to_json(found) + "\n"
    else:
        text = to_csv(found) if output_format == "csv" else to_text(found) + "\n"
    write_any_name(sys.stdout)
    if output is None:
        click.echo(text, nl=False)
    else:
        write(output, text.encode("utf-8", "surrogateescape"))
        click.echo(f"{counted(found.issues, 'finding')}\nWritten: {shown(output)}")
    if output_list is not None:
        lines = "".join(f"{path}\n" for path in found.files())
        write(output_list, lines.encode("utf-8", "surrogateescape"))
    if move_to is not None:
        folder = source if options["image_dir"] else source.parent
        moves = plan(found.files(), folder, move_to)
        journal = Journal(move_to)
        journal.move_all(moves)
        click.echo(f"Moved {counted(len(moves), 'file')}; see {journal.path}", err=True)
    if max_issues is not None and found.issues > max_issues:
        click.echo(
            f"Error: {found.issues} findings are more than --max_issues {max_issues}.", err=True
        )
        return BELOW_MINIMUM
    return 0


def _check_target(move_to: Path, image_dir: Path) -> None:
    """Refuse to move files of an archive, or into a folder that would become a label."""
    if image_dir.is_file():
        raise click.UsageError(
            f"--move_to moves files of a folder, and {image_dir} is an archive; unpack it first"
        )
    if move_to.resolve().is_relative_to(image_dir.resolve()):
        raise click.UsageError(
            f"--move_to {move_to} lies in {image_dir}, where it would become a label; name a "
            "folder outside of it"
        )


command.params[:0] = [
    each for each in retrain_command.params if each.name in (*_IMAGES, *_BACKBONE)
]
