"""Proposed commands run as they are printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlcli.commands import again

TLCLI = Path(sys.executable).parent / "tlcli"
# A script named like the command, so that nothing but what is asked is imported.
SCRIPT = "import sys; from tlcli.commands.again import program; print(program())"


def called(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, **environment},
    )
    return done.stdout.strip()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    folder = tmp_path / "my env" / "bin"
    folder.mkdir(parents=True)
    (folder / "tlcli").write_text(f"#!{sys.executable}\n{SCRIPT}\n")
    (folder / "tlcli").chmod(0o755)
    return folder / "tlcli"


@pytest.mark.skipif(os.name != "posix", reason="scripts of a shell")
def test_the_path_is_part_of_a_command_that_is_not_on_the_path(script: Path) -> None:
    elsewhere = {"PATH": "/usr/bin:/bin"}
    here = script.parents[2]
    assert called([str(script)], here, **elsewhere) == f"'{script}'"
    assert called(["my env/bin/tlcli"], here, **elsewhere) == "'my env/bin/tlcli'"
    on_path = {"PATH": f"{script.parent}:/usr/bin:/bin"}
    assert called([str(script)], here, **on_path) == "tlcli"
    assert called(["sh", "-c", "tlcli"], here, **on_path) == "tlcli"


def test_a_module_and_a_library_are_called_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/lib/tlcli/__main__.py"])
    monkeypatch.setattr(sys, "orig_argv", ["my env/python", "-m", "retrain"])
    again.program.cache_clear()
    assert again.program() == "'my env/python' -m tlcli"
    monkeypatch.setattr(sys, "argv", ["notebook.py"])
    again.program.cache_clear()
    assert again.program() == "tlcli"
    again.program.cache_clear()
