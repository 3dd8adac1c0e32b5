"""The packages `retrain` and `label` beside modules of the same names that users have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TLCLI = Path(sys.executable).with_name("tlcli")
HIDDEN = "hides the package '{}' of tlcli: rename it"


def run(folder: Path, *command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def label_script(tmp_path: Path) -> Path:
    (tmp_path / "label.py").write_text("print('a script of the user')\n")
    return tmp_path


def test_the_command_runs_beside_a_script_of_the_same_name(label_script: Path) -> None:
    done = run(label_script, TLCLI, "label", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: tlcli label")


def test_a_script_that_hides_the_package_is_named_and_not_run(label_script: Path) -> None:
    for done in (
        run(label_script, sys.executable, "-m", "tlcli", "label", "--help"),
        run(label_script, TLCLI, "label", "--help", PYTHONPATH=str(label_script)),
    ):
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert str(label_script / "label.py") in done.stderr
        assert HIDDEN.format("label") in done.stderr
        assert done.stdout == ""


def test_a_package_that_hides_the_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "label").mkdir()
    (tmp_path / "label" / "__init__.py").write_text("")
    done = run(tmp_path, TLCLI, "label", "--help", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert HIDDEN.format("label") in done.stderr


def test_a_folder_of_photos_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "label").mkdir()
    done = run(tmp_path, sys.executable, "-m", "tlcli", "label", "--help")
    assert done.returncode == 0, done.stderr


def test_a_program_called_retrain_is_named_and_not_run_twice(tmp_path: Path) -> None:
    program = tmp_path / "retrain.py"
    program.write_text("import tlcli\nprint('runs')\ntlcli.retrain('photos')\n")
    done = run(tmp_path, sys.executable, program)
    assert done.returncode == 1
    assert done.stdout == "runs\n"
    assert HIDDEN.format("retrain") in done.stderr.splitlines()[-1]


def test_a_users_own_module_stays_first(label_script: Path) -> None:
    program = label_script / "program.py"
    program.write_text("import label, tlcli\nprint(label.__file__)\n")
    done = run(label_script, sys.executable, program)
    assert done.stdout.splitlines() == ["a script of the user", str(label_script / "label.py")]
