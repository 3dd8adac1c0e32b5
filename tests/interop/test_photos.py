"""Photo files to scores in Python: each client's own reading and resizing against `tlcli label`."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.interop.agreement import check
from tests.interop.conftest import QUIET, Flowers
from tests.support import ROOT

pytestmark = [
    pytest.mark.slow,
    # The clients' own warnings are theirs.
    pytest.mark.filterwarnings("ignore"),
]

DOCUMENT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, flags=re.DOTALL | re.MULTILINE)
# Runs programs of the document: the second once, the others for each photo, as "photo.jpg".
REPEATED = """
import io, json, os, sys
given, found, out, names = json.load(sys.stdin), [], sys.stdout, {}
reads, loads, runs = (compile(text, "program", "exec") for text in given)
exec(loads, names)
for path in sys.argv[1:]:
    if os.path.lexists("photo.jpg"):
        os.remove("photo.jpg")
    os.symlink(path, "photo.jpg")
    sys.stdout = io.StringIO()
    exec(reads, names)
    exec(runs, names)
    sys.stdout = out
    if "scores" in names:
        found.append(dict(zip(names["labels"], map(float, names["scores"]))))
    else:  # MediaPipe's own
        found.append({each.category_name: each.score for each in names["found"].categories})
print(json.dumps(found))
"""
# The file of examples/clients/raspberry_pi, where neither tlcli nor TensorFlow is to be had.
ALONE = """
import json, runpy, sys
from pathlib import Path
sys.modules.update(dict.fromkeys(["tlcli", "retrain", "label", "tensorflow", "keras"]))
example = runpy.run_path(sys.argv[1])
labeller = example["Labeller"](Path(sys.argv[2]))
print(json.dumps([dict(labeller.scores(Path(name))) for name in sys.argv[3:]]))
"""


def program_with(*parts: str) -> str:
    """Return the program of the document that has all of some texts in it."""
    [found] = [each for each in PROGRAMS[1:] if all(part in each for part in parts)]
    return found


def halves(program: str) -> tuple[str, str]:
    """Return the statements before the first that concerns a photo, and the others."""
    parts = [ast.get_source_segment(program, node) or "" for node in ast.parse(program).body]
    first = next(n for n, part in enumerate(parts) if re.search(r"images|photo\b", part))
    return "\n".join(parts[:first]), "\n".join(parts[first:])


def python(program: str, *arguments: object, given: str = "", cwd: Path | None = None) -> Any:
    """Run a program and return what it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        input=given, cwd=cwd, env=QUIET, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture
def workplace(flowers: Flowers, tmp_path: Path) -> Path:
    """Return a folder that looks like the one of the document."""
    for path in flowers.folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.mark.parametrize(
    ("client", "package", "parts"),
    [
        ("onnx_runtime", "onnxruntime", ("import onnxruntime",)),
        ("opencv", "cv2", ("cv2.imread",)),
        ("saved_model", "tensorflow", ('signatures["encoded"]',)),
        ("mediapipe", "mediapipe", ("import mediapipe",)),
    ],
)
def test_a_program_of_the_document(
    client: str, package: str, parts: tuple[str, ...], flowers: Flowers, workplace: Path
) -> None:
    pytest.importorskip(package)
    given = json.dumps([PROGRAMS[0], *halves(program_with(*parts))])
    found = python(REPEATED, *flowers.photos, given=given, cwd=workplace)
    check(client, flowers.rows(found), flowers.scores)


def test_mediapipe_with_a_picture_that_is_resized(flowers: Flowers, workplace: Path) -> None:
    pytest.importorskip("mediapipe")
    program = program_with("import mediapipe")
    [image] = re.findall(r"`(mediapipe\.Image\(.*\))`", DOCUMENT)
    load, run = halves(program.replace('mediapipe.Image.create_from_file("photo.jpg")', image))
    assert image in run
    given = json.dumps([PROGRAMS[0], load, run])
    photos = flowers.photos[::5]
    found = flowers.rows(python(REPEATED, *photos, given=given, cwd=workplace))
    np.testing.assert_allclose(found, flowers.scores[::5], atol=0.001, rtol=0)


@pytest.mark.parametrize(
    ("client", "ending"),
    [("litert", ""), ("litert_float16", "-float16"), ("litert_int8", "-int8")],
)
def test_the_program_for_small_computers(flowers: Flowers, client: str, ending: str) -> None:
    example = ROOT / "examples" / "clients" / "raspberry_pi" / "label.py"
    model = flowers.folder / f"output_graph{ending}.tflite"
    found = python(ALONE, example, model, *flowers.photos)
    check(client, flowers.rows(found), flowers.scores)


def test_the_command_for_small_computers(flowers: Flowers, workplace: Path) -> None:
    folder = ROOT / "examples" / "clients" / "raspberry_pi"
    [block] = re.findall(r"^```bash\n(.*?)^```", (folder / "README.md").read_text(), re.M | re.S)
    install, command = block.splitlines()
    assert install == "pip install ai-edge-litert numpy pillow"
    (workplace / "photo.jpg").symlink_to(flowers.photos[0])
    arguments = command.split()[2:]
    done = subprocess.run(
        [sys.executable, str(folder / "label.py"), *arguments],
        cwd=workplace, env=QUIET, capture_output=True, text=True, check=True,
    )  # fmt: skip
    best = flowers.scores[0].argmax()
    assert done.stdout == f"photo.jpg: {flowers.labels[best]} ({flowers.scores[0, best]:.3f})\n"
