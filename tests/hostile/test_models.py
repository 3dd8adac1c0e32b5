"""Model files of ``shared/hostile``: each once ended the process, or in words for programmers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import Run, tlcli

LITERT = ("sp_0", "sp_m1", "sp_3of1", "lrn_-1", "lrn_-2147483648")
FROZEN = (
    *("lrn_radius", "recursive_PartitionedCall", "recursive_type", "exit_without_enter"),
    *("Pad_exc", "ResizeBilinear_exc_1_2"),
)
KERAS = ("pad_big", "numpy_obj")


def refused(run: Run, name: str) -> None:
    """Assert that a run ended in one sentence about the file."""
    assert (run.code, run.out) == (1, "")
    *before, last = run.err.strip().splitlines()
    assert all(line.startswith("Warning: ") for line in before)
    what = rf"Error: (the Keras model )?\S*{re.escape(name)} "
    assert re.match(what + "(was not run|cannot be used|is no|has an array)", last), last
    assert "unexpected" not in last
    assert "Traceback" not in last
    assert len(last) < 500


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("dark\nbright\n")
    return path


@pytest.fixture
def image(shared: Path) -> Path:
    return shared / "wild" / "01_tflite_metadata_mean_std_ignored" / "dark.png"


@pytest.mark.parametrize(
    "name",
    [
        *(f"{name}.tflite" for name in LITERT),
        *(pytest.param(f"{name}.pb", marks=pytest.mark.slow) for name in FROZEN),
    ],
)
def test_a_model_is_refused_in_a_sentence(
    shared: Path, image: Path, labels: Path, name: str
) -> None:
    graph = shared / "hostile" / name
    refused(tlcli("label", "--graph", graph, "--labels", labels, "--image", image), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"{name}.keras" for name in KERAS])
def test_a_keras_backbone_is_refused_in_a_sentence(shared: Path, tmp_path: Path, name: str) -> None:
    module = shared / "hostile" / name
    photos = shared / "wild" / "08_train_val_test_folders" / "data" / "train"
    run = tlcli("retrain", "--image_dir", photos, "--module", module, "--quiet", cwd=tmp_path)
    refused(run, name)
    assert sorted(path.name for path in tmp_path.iterdir()) == []
