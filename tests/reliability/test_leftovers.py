"""What a killed command leaves of temporary files is removed by the next run that writes there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import Trained, tlcli
from tlcli.system.atomic_files import TEMPORARY_PREFIX

if os.name != "posix":
    pytest.skip("needs SIGKILL", allow_module_level=True)

# A command that is killed while it writes its output.
_KILLED = """
import os, signal, sys
from pathlib import Path
folder = Path(sys.argv.pop(1)).resolve()

def kill(event, arguments):
    if event == "os.rename" and Path(os.fsdecode(arguments[1])).parent == folder:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
from tlcli.cli import main
main()
"""


def killed(folder: Path, *arguments: object) -> None:
    """Run a command that is killed when its first file in a folder is complete."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder), *map(str, arguments)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert leftovers(folder)


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(f"{TEMPORARY_PREFIX}*"))


@pytest.mark.slow
def test_of_label_explain(trained: Trained, tmp_path: Path) -> None:
    photos = sorted(trained.photos.rglob("*.jpg"))[-3:]
    explain = ("label", "--graph", trained.graph, "--explain", tmp_path, *photos)
    killed(tmp_path, *explain)
    run = tlcli(*explain)
    assert run.code == 0, run.err
    assert len(list(tmp_path.iterdir())) == 3
    assert not leftovers(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "accuracy.csv",
        pytest.param("accuracy.html", marks=pytest.mark.slow),
        pytest.param("accuracy.json", marks=pytest.mark.slow),
    ],
)
def test_of_evaluate_output(trained: Trained, tmp_path: Path, name: str) -> None:
    evaluate = ("evaluate", "--graph", trained.graph, "--image_dir", trained.photos)
    killed(tmp_path, *evaluate, "--output", tmp_path / name)
    run = tlcli(*evaluate, "--output", tmp_path / name)
    assert run.code == 0, run.err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_those_of_a_running_command_stay(trained: Trained, tmp_path: Path) -> None:
    sleeper = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nfrom pathlib import Path\n"
            "from tlcli.system.atomic_files import temporary_folder\n"
            "with temporary_folder(Path(sys.argv[1])): time.sleep(120)\n",
            str(tmp_path),
        ]
    )
    try:
        while not leftovers(tmp_path):
            assert sleeper.poll() is None
            time.sleep(0.05)
        photo = sorted(trained.photos.rglob("*.jpg"))[-1]
        run = tlcli("label", "--graph", trained.graph, "--explain", tmp_path, photo)
        assert run.code == 0, run.err
        assert len(leftovers(tmp_path)) == 1
    finally:
        sleeper.kill()
        sleeper.wait()
