"""How a command ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tlcli.terminal import say_below_minimum

_PROGRAM = """
import click
from tlcli.terminal import run

@click.command()
def command():
    try:
        raise KeyboardInterrupt
    finally:
        {cleaning}

run(command, "program")
"""


@pytest.mark.parametrize("cleaning", ["pass", "open(-1)", "raise ValueError('x')"])
def test_an_error_while_an_interrupt_is_answered_is_an_interrupt(cleaning: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(cleaning=cleaning)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (130, "Interrupted.")


@pytest.mark.parametrize(
    ("accuracy", "minimum", "said"),
    [
        (0.5, 0.9, "Error: the test accuracy 50.0% is below --min_accuracy 90.0%."),
        (0.89996, 0.9, "Error: the test accuracy 89.996% is below --min_accuracy 90.000%."),
        (None, 0.9, "Error: there is no test accuracy to compare with --min_accuracy."),
    ],
)
def test_why_a_command_ends_with_3(
    accuracy: float | None, minimum: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say_below_minimum("test accuracy", accuracy, minimum)
    assert capsys.readouterr().err == said + "\n"


_CALLBACK = """
import os, signal, sys, time, weakref
import click
from tlcli.terminal import run

class Thing:
    pass

@click.command()
def command():
    thing = Thing()
    kept = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.{name}))
    del thing
    time.sleep(30)

run(command, "program")
"""


@pytest.mark.parametrize(
    ("name", "code", "said"), [("SIGINT", 130, "Interrupted."), ("SIGTERM", 143, "Terminated.")]
)
def test_a_signal_in_a_callback_is_not_lost(name: str, code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CALLBACK.format(name=name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr.strip()) == (code, said)


_ENDLESS = """
import hashlib, threading
import click
from tlcli import terminal
from tlcli.runtime.watchdog import watchdog

terminal._PATIENCE = 0.3

@click.command()
def command():
    # Said when the main thread is inside.
    threading.Timer(0.5, print, ["ready"], {"flush": True}).start()
    # One call into a library that no signal ends, like a graph with an endless loop.
    with watchdog:
        hashlib.pbkdf2_hmac("sha512", b"", b"", 1 << 30)

terminal.run(command, "program")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(
    ("number", "code", "text"),
    [(signal.SIGINT, 130, "Interrupted.\n"), (signal.SIGTERM, 143, "Terminated.\n")],
)
def test_a_signal_ends_a_run_that_does_not_end(number: int, code: int, text: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            _, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    assert (process.returncode, errors) == (code, text)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize("moment", ["import", "callback"])
def test_ctrl_c_during_the_first_imports_is_one_word(tmp_path: Path, moment: str) -> None:
    interrupt = "os.kill(os.getpid(), signal.SIGINT)"
    if moment == "callback":  # Python can only print what comes up there, and goes on
        interrupt = f"s = {{0}}; r = weakref.ref(s, lambda _: {interrupt}); del s"
    (tmp_path / "click.py").write_text(f"import os, signal, time, weakref\n{interrupt}\n")
    done = subprocess.run(
        [sys.executable, "-m", "tlcli", "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")
