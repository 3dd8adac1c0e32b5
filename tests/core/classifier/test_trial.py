"""Trial runs: foreign models are run in a child first, what passed is remembered."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support import Trained
from tlcli.core.classifier.loading import load
from tlcli.core.classifier.trial import failure
from tlcli.errors import GraphError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.litert.flatbuffer import LiteRTModel, OperatorOptions
from tlcli.runtime.child_process import Ending
from tlcli.system.cache_folders import trial_folder

CRASHES = -(1 << 31)
"""A radius for which LiteRT 2.3 writes outside its memory."""


def litert_file(folder: Path, radius: int = 1) -> Path:
    """Write a LiteRT model of two labels with one normalisation."""
    made = LiteRTModel()
    image = made.add_tensor("image", (1, 8, 8, 3))
    normal = made.add_tensor("normal", (1, 8, 8, 3))
    options = (("int32", radius), ("float", 1.0), ("float", 1.0), ("float", 0.5))
    made.add_operator(13, [image], [normal], OperatorOptions(13, options))
    weights = made.add_constant("weights", np.ones((2, 192), np.float32))
    bias = made.add_constant("bias", np.zeros(2, np.float32))
    scores = made.add_tensor("scores", (1, 2))
    made.add_operator(9, [normal, weights, bias], [scores], OperatorOptions(8))
    path = folder / "model.tflite"
    path.write_bytes(made.serialise([image], [scores]))
    return path


def passes() -> list[Path]:
    folder = trial_folder()
    return [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


@pytest.mark.usefixtures("count_children")
def test_a_model_that_crashes_costs_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"model\.tflite was not run: a trial run of it crashed"):
        load(litert_file(tmp_path, CRASHES), labels=["a", "b"])
    assert passes() == []


def test_what_passed_is_remembered(tmp_path: Path, count_children: Callable[[], int]) -> None:
    path = litert_file(tmp_path)
    for _ in range(2):
        load(path, labels=["a", "b"]).close()
    assert count_children() == 1
    assert len(passes()) == 1
    load(path, labels=["a", "b"], input_mean=3).close()
    assert count_children() == 2


def test_a_changed_file_is_tried_again(tmp_path: Path, count_children: Callable[[], int]) -> None:
    load(litert_file(tmp_path), labels=["a", "b"]).close()
    load(litert_file(tmp_path, 2), labels=["a", "b"]).close()
    assert count_children() == 2


def test_a_cache_that_cannot_be_written_costs_a_child_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count_children: Callable[[], int]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        load(litert_file(tmp_path), labels=["a", "b"]).close()
    assert count_children() == 2


def test_trust_needs_no_child(tmp_path: Path, count_children: Callable[[], int]) -> None:
    load(litert_file(tmp_path), labels=["a", "b"], trust=True).close()
    assert count_children() == 0


def test_what_retrain_wrote_needs_no_child(
    trained: Trained, tmp_path: Path, count_children: Callable[[], int]
) -> None:
    load(trained.graph).close()
    alone = shutil.copy(trained.graph.with_suffix(".tflite"), tmp_path / "other.tflite")
    load(alone).close()
    assert count_children() == 0


def test_an_error_of_the_child_is_the_callers(tmp_path: Path) -> None:
    path = litert_file(tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(GraphError, match="no LiteRT model that can be run"):
        load(path, labels=["a", "b"])


def test_a_frozen_graph_runs_in_a_child_too(
    tmp_path: Path, count_children: Callable[[], int]
) -> None:
    def write(radius: int) -> Path:
        graph = new_graph(
            [
                placeholder("input", np.float32, (None, 8, 8, 3)),
                node("normal", "LRN", ["input"], T=np.float32, depth_radius=radius),
                const("shape", np.array([-1, 192], np.int32)),
                node("flat", "Reshape", ["normal", "shape"], T=np.float32, Tshape=np.int32),
                const("weights", np.ones((192, 2), np.float32)),
                node("product", "MatMul", ["flat", "weights"], T=np.float32),
                node("final_result", "Softmax", ["product"], T=np.float32),
            ]
        )
        path = tmp_path / f"radius{radius}.pb"
        path.write_bytes(graph.SerializeToString())
        return path

    load(write(2), labels=["a", "b"]).close()
    assert count_children() == 1
    with pytest.raises(GraphError):
        load(write(CRASHES), labels=["a", "b"])


def test_a_child_that_does_not_end_is_told_apart() -> None:
    error = failure("g.pb", Ending(None, "did not end within 60 seconds", in_time=False))
    assert str(error) == (
        "g.pb was not run: a trial run of it did not end within 60 seconds; add --trust to run it "
        "however long it takes if you trust its maker"
    )
    assert failure("g.pb", Ending({})) is None
    assert type(failure("g.pb", Ending({"error": "SystemExit", "text": "x"}))) is GraphError
