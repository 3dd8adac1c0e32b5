"""Options that more than one command takes; each means the same everywhere."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from tlcli.errors import GraphError
from tlcli.terminal import LOG_LEVELS

_log = logging.getLogger("tlcli")

_Function = TypeVar("_Function", bound=Callable[..., Any])


def from_home(path: str) -> str:
    """Return a path with ``~`` at its beginning replaced by the home folder, as shells do.

    Shells leave it in ``--graph=~/new.pb`` and in quotes, and a folder named "~" would be made.
    """
    first = path.split("/", 1)[0]
    if not first.startswith("~") or os.path.lexists(first):
        return path
    return os.path.expanduser(path)  # noqa: PTH111 - leaves the rest unchanged


class _Path(click.Path):
    """A path that need not exist: the job checks it, with its own message and exit code.

    Args:
        is_file: refuse the name of a folder, which ends with a slash.
    """

    def __init__(self, *, is_file: bool = False) -> None:
        super().__init__(path_type=Path, readable=False)
        self._is_file = is_file

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":  # an unset variable of a shell script, not the current folder
            self.fail("it is empty; give a path", param, ctx)
        if isinstance(value, str):
            if self._is_file and value.endswith(("/", os.sep)):
                self.fail(f"{value} is the name of a folder; name a file in it", param, ctx)
            value = from_home(value)
        return super().convert(value, param, ctx)


class GroupedCommand(click.Command):
    """A command whose help lists the options under headings.

    Args:
        groups: heading -> names of parameters, in the order of the help. ``--help`` is added to
            the last group.
    """

    def __init__(self, *args: Any, groups: dict[str, tuple[str, ...]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.groups = groups

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; an option of another tool leads to the one that is meant."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            # An error needs the table, and no other run does.
            from tlcli.commands.other_names import meant

            options = [name for each in self.params for name in each.opts]
            text = meant(error.option_name, options)
            if text is None:
                raise
            raise click.UsageError(text, ctx) from error

    def option_groups(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """Return the rows (option, description) of the help under each heading."""
        parameters = {parameter.name: parameter for parameter in self.get_params(ctx)}
        grouped = {
            heading: help_rows(ctx, (parameters[name] for name in names))
            for heading, names in self.groups.items()
        }
        help_option = self.get_help_option(ctx)
        if help_option is not None:
            grouped[list(grouped)[-1]] += help_rows(ctx, [help_option])
        return grouped

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write every group; the descriptions of all groups start in one column."""

        def unbroken(bracket: re.Match[str]) -> str:
            return bracket[0].replace(" ", _NO_BREAK)

        groups = self.option_groups(ctx)
        names = [name for rows in groups.values() for name, _ in rows]
        width = max(len(name) for name in names if len(name) <= _COLUMN)
        for heading, rows in groups.items():
            with formatter.section(heading):
                padded = [
                    (name.ljust(width), _SHORT_BRACKET.sub(unbroken, text)) for name, text in rows
                ]
                formatter.write_dl(padded, col_max=width)
        formatter.buffer[:] = [part.replace(_NO_BREAK, " ") for part in formatter.buffer]


# Longer options have their description on the next line.
_COLUMN = 28
# "[default: 10]" and the like are not split between two lines.
_SHORT_BRACKET = re.compile(r"\[[^\]]{1,45}\]$")
_NO_BREAK = "\xa0"


def help_rows(ctx: click.Context, parameters: Iterable[click.Parameter]) -> list[tuple[str, str]]:
    """Return (option, description) of each option; default and range share one bracket."""
    records = [parameter.get_help_record(ctx) for parameter in parameters]
    return [
        (record[0].strip(), re.sub(r"\]\s+\[", "; ", record[1]))
        for record in records
        if record is not None
    ]


class ImageDirCommand(GroupedCommand):
    """A command without arguments; for stray words it names ``--image_dir``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; a word that belongs to no option is a usage error."""
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            more = f" and {len(rest) - 1} more" if len(rest) > 1 else ""
            belong = "belong" if more else "belongs"
            ctx.fail(
                f"{rest[0]!r}{more} {belong} to no option; the folder that holds one folder of "
                "images per label is given as --image_dir DIR"
            )
        return rest


# The original's first generation also took --flip_left_right=True and =False.
SWITCH: dict[str, Any] = {
    "is_flag": False,
    "flag_value": "true",
    "default": "false",
    "type": click.BOOL,
    "metavar": "",
}

DEFAULT_GRAPH = "output_graph.pb"

ANY_PATH = _Path()
FILE_PATH = _Path(is_file=True)

SPREADSHEET = click.option(
    "--spreadsheet",
    is_flag=True,
    help="Write CSV for spreadsheets: a byte order mark, by which Excel detects UTF-8, and an "
    "apostrophe before text that would be read as a formula (= + - @).",
)


def parse_accuracy(text: str) -> float:
    """Return an accuracy in 0 to 1 from "0.9" or "90%".

    Raises:
        ValueError: not a number, or outside 0 to 1.
    """
    from decimal import Decimal

    stripped = text.strip()
    try:
        # Decimal: 99.9 / 100 is more than 0.999 in binary, and 999 of 1000 would be too few.
        number = Decimal(stripped.removesuffix("%").strip())
        value = float(number.scaleb(-2) if stripped.endswith("%") else number)
    except ArithmeticError:
        raise ValueError(text) from None
    if not 0 <= value <= 1:  # also false for nan
        raise ValueError(text)
    return value


def _proportion(noun: str) -> Callable[[Any], float]:
    """Return the type of an option that is 0.9 or 90%, with the noun for its error message."""

    def convert(value: Any) -> float:
        try:
            return parse_accuracy(str(value))
        except ValueError:
            raise click.BadParameter(
                f"{value!r} is no {noun}; give a fraction such as 0.9, or 90%"
            ) from None

    return convert


ACCURACY = _proportion("accuracy")
SCORE = _proportion("score")


class WholeNumber(click.IntRange):
    """A whole number, with its bounds in the error message."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number.

        Raises:
            click.BadParameter: it is none, or out of the range.
        """
        try:
            number = int(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not a whole number{self._bounds()}", param, ctx)
        above = self.min is not None and number < self.min
        if above or (self.max is not None and number > self.max):
            self.fail(
                f"{number} is too {'small' if above else 'large'}{self._bounds()}", param, ctx
            )
        return number

    def _bounds(self) -> str:
        if self.min is None and self.max is None:
            return ""
        if self.max is None:
            return f"; give {self.min:g} or more"
        return f"; give one from {self.min or 0:g} to {self.max:.0f}"


def whole(value: Any) -> int:
    """Convert an option to a whole number whose bounds the job checks.

    Raises:
        click.BadParameter: it is none.
    """
    number: int = WholeNumber().convert(value, None, None)
    return number


def finite(value: Any) -> float:
    """Convert an option to a finite number: with NaN or infinity every score would be NaN.

    Raises:
        click.BadParameter: it is none.
    """
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise click.BadParameter(f"{value!r} is not a number")
    return number


def format_option(
    *formats: str, default: str | None = "text", text: str = "Output format."
) -> Callable[[_Function], _Function]:
    """Return the decorator for ``--format``, which arrives as ``output_format``.

    Args:
        formats: to choose from.
        default: None where the command decides it.
        text: for the help.
    """
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(formats, case_sensitive=False),
        default=default,
        show_default=default is not None,
        help=text,
    )


_SIDE: dict[str, Any] = {"type": WholeNumber(min=1, max=8192), "metavar": "N"}
_GRAPH_OPTIONS: dict[str, dict[str, Any]] = {
    "graph": {
        "type": ANY_PATH,
        "metavar": "PATH",
        "help": "Model to run: .pb, .tflite, .keras, .h5 or a SavedModel folder, from any tool.  "
        "[default: output_graph.pb here, else in the system's temporary folder]",
    },
    "labels": {
        "type": ANY_PATH,
        "metavar": "PATH",
        "help": "Labels file with one label per line.  [default: the graph's model card, else "
        "output_labels.txt, retrained_labels.txt, labels.txt or GRAPH.txt next to it]",
    },
    "input_layer": {"metavar": "NAME", "help": "Input layer.  [default: inferred]"},
    "output_layer": {"metavar": "NAME", "help": "Output layer.  [default: inferred]"},
    "input_height": {**_SIDE, "help": "Input height in pixels.  [default: inferred]"},
    "input_width": {**_SIDE, "help": "Input width in pixels.  [default: inferred]"},
    "input_mean": {
        "type": finite,
        "metavar": "X",
        "help": "Subtracted from pixel values of 0 to 255.  [default: inferred]",
    },
    "input_std": {
        "type": finite,
        "metavar": "X",
        "help": "Divisor of pixel values, after --input_mean.  [default: inferred]",
    },
    "channel_order": {
        "type": click.Choice(("rgb", "bgr")),
        "help": "Order of the channels: red first or blue first.  [default: inferred]",
    },
    "batch_size": {
        "type": WholeNumber(min=1, max=4096),
        "metavar": "N",
        "help": "Images per batch.  [default: chosen for the graph]",
    },
    "trust": {
        "is_flag": True,
        "help": "Allow operations outside the allow-list, without a trial run in a child process.",
    },
}
GRAPH_GROUP = tuple(_GRAPH_OPTIONS)
LOGGING_GROUP = ("logging_verbosity", "quiet")


def graph_options(function: _Function) -> _Function:
    """Add the options of `GRAPH_GROUP`: a graph, its labels and its input spec."""
    # Reversed, because a decorator that is written first is applied last.
    for name, settings in reversed(_GRAPH_OPTIONS.items()):
        function = click.option(f"--{name}", **settings)(function)
    return function


def log_options(function: _Function) -> _Function:
    """Add ``--logging_verbosity`` and ``--quiet``."""
    quiet = click.option(
        "--quiet", is_flag=True, help="Log warnings and errors only; show no progress bar."
    )
    return click.option(
        "--logging_verbosity",
        type=click.Choice(LOG_LEVELS, case_sensitive=False),
        default="INFO",
        show_default=True,
        metavar="LEVEL",
        help="DEBUG (with tracebacks), INFO, WARN, ERROR or FATAL.",
    )(quiet(function))


def find_graph(graph: Path | None) -> Path:
    """Return ``graph``, else `DEFAULT_GRAPH` in the current folder or the temporary one.

    Raises:
        GraphError: none was given, and there is none in these folders.
    """
    if graph is not None:
        return graph
    default = Path(DEFAULT_GRAPH)
    if default.exists():
        return default
    import tempfile

    folders = [str(Path.cwd())]
    with contextlib.suppress(OSError):  # a machine without a temporary folder
        # Where retrain.py wrote by default.
        original = Path(tempfile.gettempdir()) / DEFAULT_GRAPH
        if original.exists():
            _log.info("Using the graph %s; name another with --graph.", original)
            return original
        folders.append(str(original.parent))
    raise GraphError(
        f"there is no {DEFAULT_GRAPH} in {' or in '.join(folders)}; name the graph with --graph, "
        "or make one with tlcli retrain"
    )
