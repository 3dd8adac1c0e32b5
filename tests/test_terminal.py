"""How a command ends."""

from __future__ import annotations

import subprocess
import sys

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
        (None, 0.9, "Error: there is no test accuracy to hold against --min_accuracy."),
    ],
)
def test_why_a_command_ends_with_3(
    accuracy: float | None, minimum: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say_below_minimum("test accuracy", accuracy, minimum)
    assert capsys.readouterr().err == said + "\n"
