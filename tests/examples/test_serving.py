"""The files of examples/serving, each run as its README says."""

from __future__ import annotations

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import Chromium, find
from tests.serve.running import Server, running
from tests.support import ROOT, Trained, tlcli

FOLDER = ROOT / "examples" / "serving"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


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


def python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FOLDER / script), *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def best(trained: Trained, photos: list[Path]) -> list[tuple[str, float]]:
    """Return what `tlcli label` says first of each photo."""
    lines = tlcli("label", "--graph", trained.graph, *photos, "--format", "jsonl").out.splitlines()
    firsts = [json.loads(line)["predictions"][0] for line in lines]
    return [(first["label"], first["score"]) for first in firsts]


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--numbers"]], ids=["files", "numbers"])
def test_ask(server: Server, trained: Trained, photos: list[Path], how: list[str]) -> None:
    labels = trained.folder / "output_labels.txt"
    done = python("ask.py", "--url", server.url, "--labels", labels, *how, *photos)
    assert done.stderr == ""
    expected = [
        f"{path}: {label} ({score:.3f})"
        for path, (label, score) in zip(photos, best(trained, photos), strict=True)
    ]
    assert done.stdout.splitlines() == expected


@pytest.mark.slow
def test_ask_says_what_is_wrong(server: Server, photos: list[Path], tmp_path: Path) -> None:
    done = python("ask.py", "--url", server.url, "--name", "other", photos[0])
    assert done.returncode == 1
    assert done.stderr == "404: there is no model 'other', only 'model'\n"
    text = tmp_path / "text.jpg"
    text.write_text("text")
    done = python("ask.py", "--url", server.url, text, photos[0])
    assert done.stdout.splitlines()[0] == f"{text}: not an image"
    done = python("ask.py", "--url", "http://127.0.0.1:9", photos[0])
    assert done.stderr.startswith("no server at http://127.0.0.1:9")


@pytest.mark.slow
def test_the_command_for_curl(server: Server, trained: Trained, photos: list[Path]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    [command] = re.findall(r"^printf .*?^```", README, flags=re.DOTALL | re.MULTILINE)
    command = command.removesuffix("```").replace("new.jpg", str(photos[0]))
    command = command.replace("http://localhost:8501", server.url)
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, cwd=trained.folder
    )
    [scores] = json.loads(done.stdout)["predictions"]
    assert max(scores) == best(trained, photos)[0][1]


@pytest.mark.slow
def test_litert_alone_gives_the_scores_of_label(trained: Trained, photos: list[Path]) -> None:
    done = python("label_with_litert.py", trained.folder / "output_graph.tflite", *photos)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{path}: {label} ({score:.3f})"
        for path, (label, score) in zip(photos, best(trained, photos), strict=True)
    ]
    assert "usage" in python("label_with_litert.py").stderr


@pytest.mark.slow
def test_what_the_programs_read_is_in_the_card(trained: Trained) -> None:
    card: Any = json.loads((trained.folder / "output_graph.json").read_text(encoding="utf-8"))
    kotlin = (FOLDER / "android" / "ImageLabeller.kt").read_text(encoding="utf-8")
    assert isinstance(card["labels"], list)
    assert re.findall(r'card\.getJSONArray\("(\w+)"\)', kotlin) == ["labels"]
    found = re.findall(r'getJSONObject\("(\w+)"\)\.getInt\("(\w+)"\)', kotlin)
    assert [card[outer][inner] for outer, inner in found] == [224, 224]
    assert card["input"]["range"] == [0, 1]


def test_the_conversion_is_the_one_that_is_tested() -> None:
    clients = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    [command] = re.findall(r"^python -m tf2onnx.*$", README, flags=re.MULTILINE)
    assert command in clients


@pytest.fixture
def website(trained: Trained, tmp_path: Path) -> Iterator[str]:
    """Serve examples/serving/browser with the graph as ONNX in it; return its address."""
    modules = FOLDER / "browser" / "node_modules"
    if not (modules / "onnxruntime-web").is_dir():
        pytest.skip(f"no onnxruntime-web: run npm install onnxruntime-web in {modules.parent}")
    pytest.importorskip("tf2onnx")
    folder = tmp_path / "browser"
    folder.mkdir()
    for path in [*(FOLDER / "browser").glob("*.*"), trained.folder / "output_graph.json"]:
        shutil.copyfile(path, folder / path.name)
    (folder / "node_modules").symlink_to(modules)
    [command] = re.findall(r"^python (-m tf2onnx.*)$", README, flags=re.MULTILINE)
    arguments = command.replace("output_graph.onnx", str(folder / "output_graph.onnx")).split()
    subprocess.run([sys.executable, *arguments], cwd=trained.folder, check=True)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            return

    make = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


@pytest.mark.slow
def test_onnx_in_a_browser(
    website: str, trained: Trained, photos: list[Path], tmp_path: Path
) -> None:
    program = find()
    if program is None:
        pytest.skip("no Chromium on this machine")
    with Chromium(program, tmp_path / "profile") as page:
        page.open(website)
        status = "document.getElementById('status').textContent"
        page.wait(f"{status} === 'Ready'")
        for path, (label, score) in zip(photos, best(trained, photos), strict=True):
            page.run(
                "document.getElementById('status').textContent = '';"
                "document.getElementById('scores').replaceChildren()"
            )
            page.choose_files("#file", path)
            page.wait(f"{status} !== ''")
            assert page.run(status) == label
            first = page.run("document.querySelector('#scores li').textContent")
            # The browser resizes in its own way.
            found = float(first.removeprefix(label).rstrip("%")) / 100
            assert found == pytest.approx(score, abs=0.05)
        assert page.complaints == []
        assert all(url.startswith((website, "about:", "data:", "blob:")) for url in page.requested)
