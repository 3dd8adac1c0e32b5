"""How a command ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
