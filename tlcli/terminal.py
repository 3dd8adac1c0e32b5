"""What every command shares with the terminal: exit codes, log lines, progress bars.

Standard output carries results; everything here writes to standard error.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import click

from tlcli.errors import TlcliError

Progress = Callable[[str, int, int], None]

LOG_LEVELS = ("DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL")
"""The names the originals took for ``--logging_verbosity``, and Python's own."""

INTERRUPTED = 130
TERMINATED = 143

# Options are written with underscores; hyphens are taken too.
CONTEXT_SETTINGS: dict[str, Any] = {
    "token_normalize_func": lambda token: token.replace("-", "_"),
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}


class Terminated(BaseException):
    """SIGTERM, raised where the program stands so that temporary files are removed."""


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def set_up_logging(verbosity: str = "INFO", quiet: bool = False) -> None:
    """Send the log lines of tlcli to standard error, as bare lines.

    Args:
        verbosity: one of `LOG_LEVELS`, in any case.
        quiet: only warnings and errors, whatever ``verbosity`` says.
    """
    name = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(verbosity.upper(), verbosity.upper())
    level = logging.getLevelName(name)
    if quiet:
        level = max(level, logging.WARNING)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter())
    logger = logging.getLogger("tlcli")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)


class _LineFormatter(logging.Formatter):
    """The message alone; warnings are marked, so that a reader of CI logs finds them."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.levelno >= logging.WARNING:
            return f"{record.levelname.capitalize()}: {message}"
        return message


def is_debugging() -> bool:
    """Return whether the user asked for ``--logging_verbosity DEBUG``."""
    return logging.getLogger("tlcli").getEffectiveLevel() <= logging.DEBUG


def fail(error: BaseException, code: int) -> NoReturn:
    """Print the one sentence of ``error`` and leave with ``code``."""
    if is_debugging():
        traceback.print_exception(error)
    text = " ".join(str(error).split("\n")) or type(error).__name__
    click.echo(f"Error: {text}", err=True)
    leave(code)


def leave(code: int) -> NoReturn:
    """Flush what was written and end the process."""
    # A second Ctrl-C must not break what Python does at its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if sys.stdout is not None:  # None where the caller closed it
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    sys.exit(code)


def _drop_stdout() -> None:
    # Python flushes standard output once more at its end; without a reader that fails again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(command: click.Command, program: str) -> NoReturn:
    """Run a click command and end the process with the contract's exit code.

    0 done, 1 a `TlcliError` or what the system refused, 2 wrong use, 3 below
    ``--min_accuracy`` (the command returns it), 130 interrupted. No traceback is shown
    unless ``--logging_verbosity DEBUG`` was given.
    """
    set_up_logging()
    signal.signal(signal.SIGTERM, _terminate)
    stdout = sys.stdout
    try:
        try:
            code = command.main(prog_name=program, standalone_mode=False)
        except Exception as error:
            if _is_of_interrupt(error):
                raise KeyboardInterrupt from error
            raise
    except click.exceptions.Exit as stop:
        leave(stop.exit_code)
    except click.ClickException as error:
        error.show()
        leave(error.exit_code)
    except SystemExit:
        # When nobody reads its output any more, click replaces the stream and ends the process.
        if sys.stdout is not stdout:
            leave(0)
        raise
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        leave(INTERRUPTED)
    except Terminated:
        click.echo("Terminated.", err=True)
        leave(TERMINATED)
    except TlcliError as error:
        fail(error, error.exit_code)
    except BrokenPipeError:
        _drop_stdout()
        leave(0)
    except MemoryError as error:
        fail(TlcliError("out of memory: close other programs, or use smaller batches"), _one(error))
    except OSError as error:
        fail(_system_sentence(error), _one(error))
    except Exception as error:
        if is_debugging():
            traceback.print_exception(error)
        fail(
            TlcliError(
                f"unexpected {type(error).__name__}: {error} "
                "(run again with --logging_verbosity DEBUG and report what it prints)"
            ),
            1,
        )
    leave(code if isinstance(code, int) else 0)


def _is_of_interrupt(error: BaseException | None) -> bool:
    """Return whether an error came up while a Ctrl-C was being answered."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _one(error: BaseException) -> int:
    if is_debugging():
        traceback.print_exception(error)
    return 1


def _system_sentence(error: OSError) -> TlcliError:
    where = f" at {error.filename}" if error.filename else ""
    advice = "; make room and run again" if error.errno == errno.ENOSPC else ""
    return TlcliError(f"the system refused{where}: {error.strerror or error}{advice}")


@contextmanager
def progress_bars(quiet: bool = False) -> Iterator[Progress | None]:
    """Yield a callback that draws progress bars, or None off a terminal and when ``quiet``."""
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    # transient: a finished bar leaves the screen to the lines that matter.
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show
