"""TensorFlow is not imported where nothing needs it: that alone saves seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

# Told by the command itself, at its end: what was imported, whatever became of it.
PROGRAM = """
import sys
from tlcli.cli import main
sys.argv = ["tlcli", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(sorted({"tensorflow", "keras", "tf_keras"} & set(sys.modules)))
"""


def imported(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imports")
    script = str(ROOT / "examples" / "draw_houses.py")
    subprocess.run(
        [sys.executable, script, "--output", str(folder / "photos"), "--count", "12"], check=True
    )
    return folder


@pytest.mark.slow
def test_neither_a_cold_nor_a_warm_retraining_needs_tensorflow(folder: Path) -> None:
    options = ("retrain", "--image_dir", "photos", "--how_many_training_steps", "20")
    assert imported(folder, *options) == "[]"
    assert (folder / "output_graph.tflite").is_file()
    graph = (folder / "output_graph.pb").read_bytes()
    model = (folder / "output_graph.tflite").read_bytes()
    assert imported(folder, *options) == "[]"  # every vector is in the cache
    assert (folder / "output_graph.pb").read_bytes() == graph
    assert (folder / "output_graph.tflite").read_bytes() == model
    # What the second run took both from.
    assert len(list(Path(os.environ["TLCLI_CACHE_DIR"], "graphs").iterdir())) == 2
    photo = min((folder / "photos" / "house_with_pool").iterdir())
    assert imported(folder, "label", "--image", str(photo)) == "[]"


@pytest.mark.slow
def test_a_kept_keras_network_needs_no_tensorflow_either(folder: Path, tmp_path: Path) -> None:
    written = (
        "import sys, keras\n"
        "keras.utils.set_random_seed(0)\n"
        "layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 3, activation='relu'),"
        " keras.layers.GlobalAveragePooling2D()]\n"
        "keras.Sequential(layers).save(sys.argv[1])\n"
    )
    network = str(tmp_path / "network.keras")
    subprocess.run([sys.executable, "-c", written, network], check=True, capture_output=True)
    graph = tmp_path / "output_graph.pb"
    options = ("retrain", "--image_dir", "photos", "--how_many_training_steps", "20")
    options += ("--module", network, "--output_graph", str(graph))
    assert "tensorflow" in imported(folder, *options)
    files = [graph, graph.with_suffix(".tflite")]
    first = [path.read_bytes() for path in files]
    assert imported(folder, *options) == "[]"
    assert [path.read_bytes() for path in files] == first
