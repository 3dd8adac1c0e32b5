"""Running the installed command, and the folder of a finished retraining."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]


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
    assert "Traceback" not in done.stderr
    return Run(done.returncode, done.stdout, done.stderr)


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
