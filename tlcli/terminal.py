"""What every command shares with the terminal: exit codes, log lines, progress bars.

Standard output carries results; everything here writes to standard error.
"""

from __future__ import annotations

import difflib
import errno
import io
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from tlcli.errors import INTERRUPTED, TERMINATED, TlcliError
from tlcli.runtime.blas_threads import let_idle_threads_sleep
from tlcli.runtime.watchdog import watchdog
from tlcli.system.memory import bound_memory
from tlcli.text import harmless, redacted

if TYPE_CHECKING:
    from tlcli.progress import Bar, Progress

LOG_LEVELS = ("DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL")
"""The names the originals took for ``--logging_verbosity``, and Python's own."""

# A batch takes less; a graph with an endless loop never ends.
_PATIENCE = 5.0

# Options are written with underscores; hyphens are taken too.
CONTEXT_SETTINGS: dict[str, Any] = {
    "token_normalize_func": lambda token: token.replace("-", "_"),
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
}


class Terminated(BaseException):
    """SIGTERM, raised where the program stands so that temporary files are removed."""


# What an interrupted command left, in sentences.
_kept: list[str] = []


@contextmanager
def naming_what_is_kept(kept: Callable[[], str]) -> Iterator[None]:
    """Follow "Interrupted." by the sentence of ``kept`` where the block is interrupted."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Terminated) or _is_of_interrupt(error):
            _kept[:] = [kept()]
        raise


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _watch_signals() -> None:
    """End the process when a signal is not answered because TensorFlow runs a graph without end.

    Python handles signals between two of its own instructions, and a run is one of them.
    """
    try:
        given, taken = os.pipe()
        os.set_blocking(taken, False)
        signal.set_wakeup_fd(taken, warn_on_full_buffer=False)
    except (OSError, ValueError, AttributeError):  # not the main thread, or Windows
        return
    threading.Thread(target=_watch, args=(given,), daemon=True, name="tlcli-signals").start()


def _watch(given: int) -> None:
    endings: dict[int, int] = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
    while number := os.read(given, 1):
        code = endings.get(number[0])
        if code is None or not watchdog.inside:
            continue
        before = watchdog.count
        time.sleep(_PATIENCE)
        if watchdog.inside and watchdog.count == before:
            # Whatever is left behind is what a SIGKILL leaves: the next run removes it.
            os.write(2, b"Interrupted.\n" if code == INTERRUPTED else b"Terminated.\n")
            os._exit(code)


def _keep_signals() -> None:
    """Give a signal again whose exception came up where Python can only print it.

    That is in callbacks, such as those of an import. The run would go on to its end.
    """
    numbers = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}
    others = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        number = numbers.get(unraisable.exc_type)
        if number is None:
            others(unraisable)
            return
        # Not at once: it would come up in here.
        again = threading.Timer(0.02, _send, (number,))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook


def _send(number: int) -> None:
    if os.name == "posix":
        os.kill(os.getpid(), number)
    else:  # there it would end the process at once
        signal.raise_signal(number)


def set_up_logging(verbosity: str = "INFO", quiet: bool = False) -> None:
    """Send the log lines of tlcli to standard error, as bare lines.

    Args:
        verbosity: one of `LOG_LEVELS`, in any case.
        quiet: only warnings and errors, whatever ``verbosity`` is.
    """
    level = logging.getLevelName(verbosity.upper())
    if quiet:
        level = max(level, logging.WARNING)
    handler = _LineHandler(sys.stderr)
    handler.setFormatter(_LineFormatter())
    logger = logging.getLogger("tlcli")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level)


class _LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to standard error; above the bar while there is one."""

    bar: Bar | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self.bar is None:
            super().emit(record)
        else:
            self.bar.write_line(self.format(record))


class _LineFormatter(logging.Formatter):
    """The message alone; warnings are marked, so that a reader of CI logs finds them.

    Names of files come from anywhere: none of them steers the terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        message = harmless(redacted(record.getMessage()))
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
    click.echo(f"Error: {harmless(redacted(text))}", err=True)
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

    0 done, 1 a `TlcliError` or what the system refused, 2 a usage error, 3 below
    ``--min_accuracy`` (the command returns it), 130 interrupted. No traceback is shown
    unless ``--logging_verbosity DEBUG`` was given.
    """
    stdout = sys.stdout
    try:
        try:
            set_up_logging()
            signal.signal(signal.SIGTERM, _terminate)
            _watch_signals()
            _keep_signals()
            bound_memory()
            let_idle_threads_sleep()
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            code = command.main(prog_name=program, standalone_mode=False)
        except Exception as error:
            if _is_of_interrupt(error):
                raise KeyboardInterrupt from error
            raise
    except click.exceptions.Exit as stop:
        leave(stop.exit_code)
    except click.ClickException as error:
        _with_suggestions(error).show()
        leave(error.exit_code)
    except SystemExit:
        # When nobody reads its output any more, click replaces the stream and ends the process.
        if sys.stdout is not stdout:
            leave(0)
        raise
    except (click.Abort, KeyboardInterrupt):
        click.echo(" ".join(["Interrupted.", *_kept]), err=True)
        leave(INTERRUPTED)
    except Terminated:
        click.echo(" ".join(["Terminated.", *_kept]), err=True)
        leave(TERMINATED)
    except TlcliError as error:
        fail(error, error.exit_code)
    except BrokenPipeError:
        _drop_stdout()
        leave(0)
    except Exception as error:
        if is_debugging():
            traceback.print_exception(error)
        fail(_explained(error), 1)
    leave(code if isinstance(code, int) else 0)


def _with_suggestions(error: click.ClickException) -> click.ClickException:
    """Return the error; for an unknown option, with similar ones and those that contain its name.

    click suggests less similar names too, and for ``--steps`` that is ``--help``.
    """
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return error
    part = error.option_name.lstrip("-").replace("-", "_")
    options = [name for each in error.ctx.command.params for name in each.opts if "--" in name]
    found = [name for name in options if part in name] if len(part) > 2 else []
    alike = difflib.get_close_matches(error.option_name, options, cutoff=0.8)
    if not (alike or found):
        return error
    names = ", ".join(repr(name) for name in dict.fromkeys([*alike, *found]))
    return click.UsageError(f"{error.message} Did you mean {names}?", error.ctx)


def _is_of_interrupt(error: BaseException | None) -> bool:
    """Return whether an error came up while a Ctrl-C was being answered."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _explained(error: Exception) -> TlcliError:
    """Return the sentence for an error that tlcli did not raise itself."""
    if isinstance(error, MemoryError):
        return TlcliError("out of memory: close other programs, or use smaller batches")
    if isinstance(error, OSError):
        where = f" at {error.filename}" if error.filename else ""
        advice = "; make room and run again" if error.errno == errno.ENOSPC else ""
        return TlcliError(f"the system refused{where}: {error.strerror or error}{advice}")
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return TlcliError(
            "the system allows no more threads; close other programs or raise the limit (ulimit -u)"
        )
    return TlcliError(
        f"unexpected {type(error).__name__}: {error} "
        "(run again with --logging_verbosity DEBUG and report what it prints)"
    )


def say_below_minimum(
    what: str, accuracy: float | None, minimum: float, option: str = "--min_accuracy"
) -> None:
    """Say on standard error, ``--quiet`` or not, why a command ends with exit code 3.

    Args:
        what: the accuracy in words.
        accuracy: 0 to 1; None where there was nothing to measure it on.
        minimum: also a proportion, 0 to 1.
        option: that gave the minimum.
    """
    if accuracy is None:
        click.echo(f"Error: there is no {what} to compare with {option}.", err=True)
        return
    digits = 1
    # 89.96% must not read as "90.0% is below 90.0%".
    while digits < 6 and f"{accuracy:.{digits}%}" == f"{minimum:.{digits}%}":
        digits += 1
    click.echo(
        f"Error: the {what} {accuracy:.{digits}%} is below {option} {minimum:.{digits}%}.",
        err=True,
    )


def is_plain(stream: TextIO | None) -> bool:
    """Return whether a stream takes bare lines only: no terminal, or one that cannot draw."""
    try:
        return stream is None or not stream.isatty() or os.environ.get("TERM") in ("dumb", "")
    except ValueError:  # closed
        return True


def takes_colour(stream: TextIO | None) -> bool:
    """Return whether to write colours: on a terminal, unless NO_COLOR is set.

    ``NO_COLOR`` (any value), ``TERM=dumb`` and ``CLICOLOR=0`` say no.
    """
    refused = bool(os.environ.get("NO_COLOR")) or os.environ.get("CLICOLOR") == "0"
    return not refused and not is_plain(stream)


def write_any_name(stream: Any) -> None:
    """Let names of files pass that the terminal's encoding cannot hold; they keep their bytes."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")


@contextmanager
def progress_bars(quiet: bool = False, in_bytes: bool = False) -> Iterator[Progress | None]:
    """Yield a callback that shows how far long stages are, or None when ``quiet``.

    A bar on a terminal; elsewhere, and where ``TERM`` is "dumb", a log line each ten seconds.
    """
    if quiet or sys.stderr is None:
        yield None
        return
    if is_plain(sys.stderr):
        from tlcli.progress import Lines

        yield Lines(logging.getLogger("tlcli"), in_bytes).show
        return
    with bar_below_log(in_bytes) as bar:
        yield bar.show


@contextmanager
def bar_below_log(in_bytes: bool = False) -> Iterator[Bar]:
    """Yield a bar on the last line of the terminal; log lines go above it."""
    from tlcli.progress import Bar

    bar = Bar(sys.stderr, takes_colour(sys.stderr), in_bytes)
    found = logging.getLogger("tlcli").handlers
    handlers = [handler for handler in found if isinstance(handler, _LineHandler)]
    for handler in handlers:
        handler.bar = bar
    try:
        yield bar
    finally:
        for handler in handlers:
            handler.bar = None
        bar.close()
