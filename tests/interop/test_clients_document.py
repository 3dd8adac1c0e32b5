"""Every program in docs/clients.md runs as it stands and finds the label that tlcli finds."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import tlcli
from tlcli.core.images.preprocessing import Preprocessing

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
PICTURE, *BLOCKS = [match.groups() for match in BLOCK.finditer(DOCUMENT.read_text("utf-8"))]
PROGRAMS = [text for language, text in BLOCKS if language == "python"]
EXPORT = "tlcli export --graph output_graph.pb --to onnx"
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, float]:
    """Return a folder with a photo and all outputs, and the photo's best label and score."""
    from tlcli.backbones import efficientnet_lite
    from tlcli.core.export import tflite
    from tlcli.core.export.frozen_graph import (
        ClassifierGraph,
        append_final_layer,
        serialise,
        write_labels,
    )
    from tlcli.core.export.packing import with_metadata
    from tlcli.core.export.saved_model import write_saved_model
    from tlcli.core.export.unknown_nodes import append_unknown
    from tlcli.core.final_layer.samples import Samples
    from tlcli.core.final_layer.sgd import FinalLayer
    from tlcli.core.unknown.fitting import fit_unknown
    from tlcli.runtime.tensorflow import GraphEngine

    folder = tmp_path_factory.mktemp("document")
    y, x = np.mgrid[0:300, 0:400]
    waves = [np.sin(x / 40 + k) + np.cos(y / (30 + 9 * k)) for k in range(3)]
    Image.fromarray((127 + 60 * np.stack(waves, axis=-1)).astype(np.uint8)).save(
        folder / "photo.jpg", quality=95
    )
    backbone = efficientnet_lite.find("efficientnet_lite0")
    loaded = backbone.load_graph()
    network = Preprocessing("tlcli-1", backbone.height, backbone.width)
    image = network.scale(network.read(folder / "photo.jpg")[None])
    with GraphEngine(loaded.graph, "Placeholder", loaded.output) as engine:
        vector = engine.run(image)
    weights = np.random.default_rng(0).normal(0, 1, (vector.shape[1], 5))
    weights *= 2 / (vector @ weights).std()
    layer = FinalLayer(weights.astype(np.float32), np.zeros(5, np.float32))
    labels = [f"label {number}" for number in range(5)]
    graph = append_final_layer(loaded, layer)
    classifier = ClassifierGraph(graph, 224, 224)
    near = vector + np.random.default_rng(1).normal(0, 0.1, (40, vector.shape[1]))
    known = fit_unknown(Samples(near.astype(np.float32), np.arange(40) % 2))
    assert known is not None
    content = append_unknown(serialise(graph), known)
    assert content is not None
    (folder / "output_graph.pb").write_bytes(content)
    write_labels(folder / "output_labels.txt", labels)
    (folder / "output_graph.tflite").write_bytes(with_metadata(tflite.convert(classifier), labels))
    write_saved_model(folder / "saved_model", classifier, labels)
    if installed("tf2onnx"):
        assert tlcli(*EXPORT.split()[1:], cwd=folder).code == 0
    [scores] = layer.probabilities(vector)
    return folder, labels[scores.argmax()], float(scores.max())


def test_the_document_has_its_programs() -> None:
    assert PICTURE[0] == "python"
    assert len(PROGRAMS) == 9
    exports = re.findall(r"^tlcli export.*$", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE)
    assert set(exports) == {EXPORT}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda text: text.split()[1])
def test_program(program: str, workplace: tuple[Path, str, float]) -> None:
    folder, label, score = workplace
    module = program.split()[1].partition(".")[0]
    if not installed(module) or (".onnx" in program and not installed("tf2onnx")):
        pytest.skip(f"{module} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", PICTURE[1] + program],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found, _, given = done.stdout.strip().rpartition(" ")
    assert found == label
    # The own resizing of OpenCV and MediaPipe and TensorFlow's own decoder are near, others exact.
    assert float(given) == pytest.approx(score, abs=0.05)
