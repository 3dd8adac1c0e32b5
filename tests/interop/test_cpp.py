"""The C++ program of examples/clients/cpp, compiled as its README says."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.interop.agreement import check
from tests.interop.conftest import Flowers
from tests.support import ROOT

pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples" / "clients" / "cpp"
HEADERS = Path("/usr/include/opencv4/opencv2/imgcodecs.hpp")
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled program."""
    if shutil.which("g++") is None or not HEADERS.exists():
        pytest.skip("apt-get install g++ libopencv-imgcodecs-dev: no compiler, or no OpenCV for it")
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    folder = tmp_path_factory.mktemp("cpp")
    shutil.copyfile(FOLDER / "label.cpp", folder / "label.cpp")
    run("".join(commands()[:-1]), folder)
    return folder / "label"


def commands() -> list[str]:
    """Return the commands of the README without the installation, each with its line end."""
    [block] = re.findall(r"^```bash\n(.*?)^```", (FOLDER / "README.md").read_text(), re.M | re.S)
    lines = re.findall(r"(?:.*\\\n)*.+\n", block)
    return [line for line in lines if not line.startswith("pip install")]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env={**os.environ, "PATH": PATH},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.mark.parametrize("kind", ["pb", "tflite", "onnx", "xml"])
def test_the_best_label_and_its_score(program: Path, flowers: Flowers, kind: str) -> None:
    command = commands()[-1].replace("output_graph.pb", f"output_graph.{kind}").split()
    assert command[0] == "./label"
    command = [str(program), *command[1:-1], *map(str, flowers.photos)]
    done = subprocess.run(command, cwd=flowers.folder, capture_output=True, text=True, check=True)
    found, expected = np.zeros_like(flowers.scores), np.zeros_like(flowers.scores)
    lines = done.stdout.splitlines()
    for number, (path, line) in enumerate(zip(flowers.photos, lines, strict=True)):
        name, score = re.fullmatch(rf"{re.escape(str(path))}: (.*) \((.*)\)", line).groups()
        best = flowers.labels.index(name)
        found[number, best] = float(score)
        expected[number, best] = flowers.scores[number, best]
    assert (found.argmax(axis=1) == flowers.scores.argmax(axis=1)).all()
    check("cpp", found, expected)


def test_what_is_wrong_is_said(program: Path, flowers: Flowers, tmp_path: Path) -> None:
    def ended(*arguments: object) -> tuple[int, str]:
        done = subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr

    text = tmp_path / "text.jpg"
    text.write_text("text")
    labels = flowers.folder / "output_labels.txt"
    assert ended(flowers.folder / "output_graph.pb", labels, text)[1].endswith(": not an image\n")
    assert ended(tmp_path / "none.pb", labels, text)[0] == 1
    assert ended() == (2, f"usage: {program} GRAPH LABELS IMAGE ...\n")
