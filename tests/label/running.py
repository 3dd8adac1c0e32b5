"""Ways to run the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from label.command import command


def invoke(*arguments: object, **options: Any) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments)], standalone_mode=False, **options)


def label(plates: Path, *arguments: object, **options: Any) -> Result:
    return invoke("--graph", plates / "graph.tflite", *arguments, **options)


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``python -m label`` as its users do."""
    return subprocess.run(
        [sys.executable, "-m", "label", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
