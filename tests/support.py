"""Running the installed command, and the folder of a finished retraining."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
# How much of an output a report shows.
SHOWN = 4000
# What the test that runs started last, with exit codes and outputs; for the report if it fails.
last_commands: deque[tuple[str, str, str]] = deque(maxlen=3)


@dataclass(frozen=True)
class Run:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return standard output as JSON."""
        return json.loads(self.out)


def tlcli(*arguments: object, cwd: Path | None = None, cache: Path | None = None) -> Run:
    """Run the installed command as a user would."""
    environment = dict(os.environ)
    if cache is not None:
        environment["TLCLI_CACHE_DIR"] = str(cache)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "tlcli"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment,
    )
    title = f"exit code {done.returncode} of tlcli {shlex.join(map(str, arguments))}"
    last_commands.append((title, done.stdout, done.stderr))
    assert "Traceback" not in done.stderr
    return Run(done.returncode, done.stdout, done.stderr)


def outputs_of(error: BaseException | None) -> list[tuple[str, str]]:
    """Return titles and texts of what the last commands printed, and one that an error names.

    An error of `subprocess.run(check=True)` does not show the output of its command.
    """
    shown = list(last_commands)
    if isinstance(error, subprocess.CalledProcessError | subprocess.TimeoutExpired):
        shown.append((str(error), _text(error.stdout), _text(error.stderr)))
    return [
        (f"{name} of {title}"[:500], text[-SHOWN:])
        for title, *texts in shown
        for name, text in zip(("stdout", "stderr"), texts, strict=True)
        if text
    ]


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


@dataclass(frozen=True)
class Trained:
    """A folder in which one retraining ran."""

    folder: Path
    run: Run

    @property
    def photos(self) -> Path:
        """Return the image folder."""
        return self.folder / "photos"

    @property
    def photo(self) -> Path:
        """Return a photo that can be read, the same on every file system."""
        return min(self.photos.rglob("aerial*.jpg"))

    @property
    def graph(self) -> Path:
        """Return the exported graph."""
        return self.folder / "output_graph.pb"

    @property
    def cache(self) -> Path:
        """Return the cache folder of the run."""
        return self.folder / "cache"


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all below it, by their names."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from commands(found, f"{name} {each}")
