"""The requests of docs/serving.md and of examples/clients/serving, sent to `tlcli serve`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.running import Server, running
from tests.support import ROOT, Trained, tlcli

pytestmark = pytest.mark.slow

FOLDER = ROOT / "examples" / "clients" / "serving"
BLOCK = re.compile(r"^```bash\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
ADDRESS = "http://127.0.0.1:8501"  # of `tlcli serve` by default


@pytest.fixture(scope="module")
def server(trained: Trained) -> Iterator[Server]:
    with running("--graph", trained.graph) as found:
        yield found


@pytest.fixture(scope="module")
def photos(trained: Trained) -> list[Path]:
    return [
        next(iter(sorted((trained.photos / name).glob("aerial_*"))))
        for name in ("house_with_pool", "house_without_pool")
    ]


@pytest.fixture
def workplace(trained: Trained, photos: list[Path], tmp_path: Path) -> Path:
    """Return a folder as the documents have it."""
    for name in ("output_graph.pb", "output_labels.txt"):
        (tmp_path / name).symlink_to(trained.folder / name)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "ask.py").symlink_to(FOLDER / "ask.py")
    for name in ("new.jpg", "photo.jpg"):
        (tmp_path / name).symlink_to(photos[0])
    return tmp_path


def ask(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / "ask.py"), *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def best(trained: Trained, photos: list[Path]) -> list[tuple[str, float]]:
    """Return what `tlcli label` says first of each photo."""
    lines = tlcli("label", "--graph", trained.graph, *photos, "--format", "jsonl").out.splitlines()
    firsts = [json.loads(line)["predictions"][0] for line in lines]
    return [(first["label"], first["score"]) for first in firsts]


def commands(document: Path) -> list[str]:
    """Return the requests of a document; servers and installations are left out."""
    text = "".join(BLOCK.findall(document.read_text(encoding="utf-8")))
    lines = re.findall(r"(?:.*(?:\\|\|)\n)*.+\n", text)
    return [line for line in lines if line.startswith(("curl", "printf", "python"))]


@pytest.mark.parametrize("how", [[], ["--numbers"]], ids=["files", "numbers"])
def test_ask(server: Server, trained: Trained, photos: list[Path], how: list[str]) -> None:
    labels = trained.folder / "output_labels.txt"
    done = ask("--url", server.url, "--labels", labels, *how, *photos)
    assert done.stderr == ""
    expected = [
        f"{path}: {label} ({score:.3f})"
        for path, (label, score) in zip(photos, best(trained, photos), strict=True)
    ]
    assert done.stdout.splitlines() == expected


def test_ask_says_what_is_wrong(server: Server, photos: list[Path], tmp_path: Path) -> None:
    done = ask("--url", server.url, "--name", "other", photos[0])
    assert done.returncode == 1
    assert done.stderr == "404: there is no model 'other', only 'model'\n"
    text = tmp_path / "text.jpg"
    text.write_text("text")
    done = ask("--url", server.url, text, photos[0])
    assert done.stdout.splitlines()[0] == f"{text}: not an image"
    done = ask("--url", "http://127.0.0.1:9", photos[0])
    assert done.stderr.startswith("no server at http://127.0.0.1:9")


def test_the_commands_of_the_documents(
    server: Server, trained: Trained, photos: list[Path], workplace: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    [(label, score)] = best(trained, photos[:1])
    found = [*commands(ROOT / "docs" / "serving.md"), *commands(FOLDER / "README.md")]
    assert [line.split()[0] for line in found] == [
        *("curl", "curl", "printf", "python", "python", "curl", "python"),
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in found:
        command = line.replace(ADDRESS, server.url)
        if line.startswith("python"):
            command = f"{command.rstrip()} --url {server.url}"
        done = subprocess.run(
            ["bash", "-c", command], cwd=workplace, env={**os.environ, "PATH": path},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        if line.startswith("python"):
            assert done.stdout.endswith(f": {label} ({score:.3f})\n")
        elif "/label" in line:
            [first, *_] = json.loads(done.stdout)["predictions"]
            assert first == {"label": label, "score": score}
        else:
            [scores] = json.loads(done.stdout)["predictions"]
            assert max(scores) == score
