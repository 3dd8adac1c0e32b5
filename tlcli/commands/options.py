"""Options that more than one command takes; each means the same everywhere."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tlcli.errors import GraphError
from tlcli.terminal import LOG_LEVELS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_log = logging.getLogger("tlcli")

_Function = TypeVar("_Function", bound=Callable[..., Any])


def from_home(path: str) -> str:
    """Return a path with ``~`` at its beginning as a shell spells it out.

    Shells do not in ``--graph=~/new.pb``, nor in quotes, where a folder named "~" would be made.
    """
    first = path.split("/", 1)[0]
    if not first.startswith("~") or os.path.lexists(first):
        return path
    return os.path.expanduser(path)  # noqa: PTH111 - keeps the spelling


class _Place(click.Path):
    """A path; what is wrong with it is said by the job, in one sentence and with its exit code.

    Args:
        is_file: it cannot be a folder.
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


class ImageDirCommand(click.Command):
    """A command that takes no arguments, and says where the folder of images goes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; what no option takes is a usage error."""
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


def complete_files(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete the names of files."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def complete_backbones(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the names of backbones; where none fits, those of files."""
    from click.shell_completion import CompletionItem

    from tlcli.backbones.catalogue import entries

    found = [
        CompletionItem(
            entry.name, help=f"{entry.height} x {entry.width}, D {entry.bottleneck_size}"
        )
        for entry in entries().values()
        if entry.name.startswith(incomplete) and (entry.listed or incomplete)
    ]
    return found or complete_files(ctx, param, incomplete)


# The original's first generation also took --flip_left_right=True and =False.
SWITCH: dict[str, Any] = {
    "is_flag": False,
    "flag_value": "true",
    "default": "false",
    "type": click.BOOL,
    "metavar": "",
}

ANY_PATH = _Place()
FILE_PATH = _Place(is_file=True)

SPREADSHEET = click.option(
    "--spreadsheet",
    is_flag=True,
    help="Make csv open well in a spreadsheet: a byte order mark, by which Excel knows UTF-8, and "
    "an apostrophe before text that would be taken for a formula (= + - @).",
)


def parse_accuracy(text: str) -> float:
    """Return an accuracy in 0 to 1 from "0.9" or "90%".

    Raises:
        ValueError: not a number, or outside 0 to 1.
    """
    from decimal import Decimal

    spelled = text.strip()
    try:
        # Decimal: 99.9 / 100 is more than 0.999 in binary, and 999 of 1000 would be too few.
        number = Decimal(spelled.removesuffix("%").strip())
        value = float(number.scaleb(-2) if spelled.endswith("%") else number)
    except ArithmeticError:
        raise ValueError(text) from None
    if not 0 <= value <= 1:  # also false for nan
        raise ValueError(text)
    return value


class _Share(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A fraction from 0 to 1 such as 0.9, or a percentage such as 90%."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, (int, float)):
            value = str(value)
        try:
            return parse_accuracy(value)
        except ValueError:
            self.fail(
                f"{value!r} is no {self.name}; give a fraction such as 0.9, or 90%", param, ctx
            )


ACCURACY = _Share("accuracy")
SCORE = _Share("score")


class _Finite(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """A finite number; "nan" and "inf" would turn every score into nonsense."""

    name = "float"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


FINITE = _Finite()


def _decorate(options: list[Callable[[_Function], _Function]], function: _Function) -> _Function:
    # Reversed: click lists options in the order in which they stand above the function.
    for option in reversed(options):
        function = option(function)
    return function


def graph_options(function: _Function) -> _Function:
    """Add the options that name a graph, its labels and what it is fed.

    They arrive as ``graph``, ``labels``, ``input_layer``, ``output_layer``, ``input_height``,
    ``input_width``, ``input_mean``, ``input_std``, ``batch_size`` and ``trust``.
    """
    return _decorate(
        [
            click.option(
                "--graph",
                type=ANY_PATH,
                metavar="PATH",
                help="Graph to run: .pb, .tflite or a SavedModel folder, made by anyone.  "
                "[default: output_graph.pb here, else in the system's temporary folder]",
            ),
            click.option(
                "--labels",
                type=ANY_PATH,
                metavar="PATH",
                help="Labels file, one label a line.  [default: the graph's model card, else "
                "output_labels.txt, retrained_labels.txt, labels.txt or GRAPH.txt beside it]",
            ),
            click.option(
                "--input_layer", metavar="NAME", help="Where images go in.  [default: inferred]"
            ),
            click.option(
                "--output_layer", metavar="NAME", help="Where scores come out.  [default: inferred]"
            ),
            click.option(
                "--input_height",
                type=click.IntRange(min=1, max=8192),
                metavar="N",
                help="Input height in pixels.  [default: inferred]",
            ),
            click.option(
                "--input_width",
                type=click.IntRange(min=1, max=8192),
                metavar="N",
                help="Input width in pixels.  [default: inferred]",
            ),
            click.option(
                "--input_mean",
                type=FINITE,
                metavar="X",
                help="Subtracted from pixels of 0 to 255.  [default: inferred]",
            ),
            click.option(
                "--input_std",
                type=FINITE,
                metavar="X",
                help="Pixels are divided by this after --input_mean.  [default: inferred]",
            ),
            click.option(
                "--batch_size",
                type=click.IntRange(min=1, max=4096),
                metavar="N",
                help="Images run at once.  [default: chosen for the graph]",
            ),
            click.option(
                "--trust",
                is_flag=True,
                help="Run a graph with operations that inference does not need.",
            ),
        ],
        function,
    )


def talk_options(function: _Function) -> _Function:
    """Add ``--logging_verbosity`` and ``--quiet``."""
    return _decorate(
        [
            click.option(
                "--logging_verbosity",
                type=click.Choice(LOG_LEVELS, case_sensitive=False),
                default="INFO",
                show_default=True,
                help="Lowest level of log lines; DEBUG also shows tracebacks.",
            ),
            click.option(
                "--quiet", is_flag=True, help="Only warnings and errors on standard error."
            ),
        ],
        function,
    )


DEFAULT_GRAPH = "output_graph.pb"


def find_graph(graph: Path | None) -> Path:
    """Return the graph to use: ``graph``, else the default's place, else the original's.

    Raises:
        GraphError: none was given and none lies there.
    """
    if graph is not None:
        return graph
    here = Path(DEFAULT_GRAPH)
    if here.exists():
        return here
    places = [str(Path.cwd())]
    try:
        # Where retrain.py wrote by default.
        there = Path(tempfile.gettempdir()) / DEFAULT_GRAPH
    except OSError:  # a machine without a temporary folder
        pass
    else:
        if there.exists():
            _log.info("Using the graph %s; name another with --graph.", there)
            return there
        places.append(str(there.parent))
    raise GraphError(
        f"there is no {DEFAULT_GRAPH} in {' or in '.join(places)}; name the graph with --graph, "
        "or make one with tlcli retrain"
    )
