"""What ``tlcli retrain`` prints at its end."""

from __future__ import annotations

import importlib.util
import logging
import shlex
import shutil
from typing import TYPE_CHECKING

import click

from tlcli.commands.again import program
from tlcli.commands.stages import link, shows_summary
from tlcli.errors import BELOW_MINIMUM
from tlcli.storage.locations import shown
from tlcli.terminal import say_below_minimum
from tlcli.text import harmless, wrapped

if TYPE_CHECKING:
    from retrain.result import RetrainResult

logger = logging.getLogger("tlcli")

# Columns; narrower lines are harder to read than broken ones.
_NARROW = 40


def print_result(result: RetrainResult, output_format: str, misclassified: bool) -> int:
    """Print a result to standard output and return the exit code.

    Args:
        result: of the run.
        output_format: "text" or "json".
        misclassified: whether the misclassified test images were asked for.
    """
    # An explicit request, so --quiet does not hide it.
    if misclassified and not logger.isEnabledFor(logging.INFO):
        from retrain.testing import misclassified_lines

        for line in misclassified_lines(result.misclassified):
            click.echo(harmless(line), err=True)
    if output_format == "json":
        click.echo(result.to_json())
    elif shows_summary(output_format):
        click.echo(summary(result))
    else:
        click.echo(result.to_text(program=program()))
    refused = () if result.exports is None else result.exports.refused.values()
    for reason in refused:
        click.echo(f"Error: {reason}.", err=True)
    below = result.below_minimum()
    for figure in below:
        say_below_minimum(*figure)
    return 1 if refused else BELOW_MINIMUM if below else 0


def summary(result: RetrainResult) -> str:
    """Return the summary for a terminal: the figures, the report's address, the next commands.

    The accuracy comes last of the figures: what is above may be off the screen.
    """
    from retrain.result import next_command

    accuracy, _, details = result.figures().partition("\n\n")
    figures = f"{details}\n\n{accuracy}"
    lines = ["", wrapped(figures, max(_NARROW, shutil.get_terminal_size().columns))]
    report = result.outputs.get("report")
    if report is not None:
        lines += ["", f"Report: {link(report)}"]
    following = next_command(result, program())
    if following is not None:
        lines += ["", f"Next:   {following}"]
        # The page needs an extra.
        if importlib.util.find_spec("uvicorn") is not None:
            graph = shlex.quote(f"--graph={shown(result.outputs['graph'])}")
            lines.append(f"        {program()} serve {graph}")
    return "\n".join(lines)
