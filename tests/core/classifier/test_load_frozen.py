"""Conversions of old graphs: made once, checked each time, never in the way."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli import load
from tlcli.core.classifier.load_frozen import conversion_key, find_conversion
from tlcli.core.model_spec.input_spec import InputOverrides
from tlcli.errors import GraphError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.system.cache_folders import converted_folder

F = np.float32


def write_graph(path: Path, *more: Any, kernel: float = 0.1, entry: str = "input") -> Path:
    """Write a graph of two labels that takes 8 x 8 pixels."""
    weights = (np.arange(6, dtype=F) * F(kernel)).reshape(3, 2)
    nodes = [
        placeholder(entry, F, [1, 8, 8, 3]),
        const("axes", np.array([1, 2], np.int32)),
        node("mean", "Mean", [entry, "axes"], T=F, keep_dims=False),
        const("weights", weights),
        node("logits", "MatMul", ["mean", "weights"], T=F, transpose_a=False, transpose_b=False),
        node("final_result", "Softmax", ["logits"], T=F),
        *more,
    ]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(new_graph(nodes).SerializeToString())
    path.with_name("labels.txt").write_text("a\nb\n")
    return path


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write_graph(tmp_path / "old" / "graph.pb")


def scores(graph: Path, image: Path, **options: Any) -> list[float]:
    with load(graph, **options) as classifier:
        (found,) = classifier.label(image)
    assert found.error is None
    return [score.score for score in found.scores]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.new("RGB", (9, 9), (200, 100, 10)).save(path)
    return path


def files() -> list[Path]:
    return sorted(converted_folder().glob("*"))


def test_the_second_time_nothing_is_converted(
    graph: Path, image: Path, conversions: list[Any]
) -> None:
    first = scores(graph, image)
    assert scores(graph, image) == first
    moved = graph.with_name("renamed.pb")
    shutil.copyfile(graph, moved)  # the content counts, not the place
    assert scores(moved, image) == first
    assert conversions == [("input", "final_result")]
    assert len(files()) == 1


def test_the_whole_input_spec_is_cached(graph: Path, conversions: list[Any]) -> None:
    made = [load(graph) for _ in range(2)]
    assert len(conversions) == 1
    assert made[0].preprocessing == made[1].preprocessing
    assert made[0].preprocessing.mean == 128.0
    assert made[0].batch_size == made[1].batch_size
    with pytest.raises(GraphError, match="labels"):
        load(graph, labels=["a", "b", "c"])


def test_overrides_and_contents_have_conversions_of_their_own(
    graph: Path, image: Path, conversions: list[Any]
) -> None:
    first = scores(graph, image)
    other = scores(graph, image, input_mean=0.0, input_std=1.0)
    assert other != first
    write_graph(graph, kernel=0.5)
    changed = scores(graph, image)
    assert changed != first
    assert len(conversions) == len(files()) == 3
    assert scores(graph, image) == changed
    assert scores(write_graph(graph), image, input_mean=0.0, input_std=1.0) == other
    assert len(conversions) == 3


def test_what_is_only_assumed_is_logged_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, conversions: list[Any]
) -> None:
    caplog.set_level(logging.INFO, "tlcli")
    graph = write_graph(tmp_path / "other" / "graph.pb", entry="pixels")
    said = []
    for _ in range(2):
        caplog.clear()
        load(graph)
        said.append(caplog.text)
    assert said[0] == said[1]
    assert "--input_mean" in said[0]
    assert len(conversions) == 1


@pytest.mark.parametrize("place", [0, 500, -1])
def test_a_damaged_conversion_is_made_again(
    graph: Path, image: Path, conversions: list[Any], place: int
) -> None:
    first = scores(graph, image)
    content = bytearray(files()[0].read_bytes())
    content[place] ^= 1
    files()[0].write_bytes(content)
    assert scores(graph, image) == first
    assert len(conversions) == 2
    assert scores(graph, image) == first
    assert len(conversions) == 2


def test_a_conversion_does_not_lead_past_the_check(
    tmp_path: Path, image: Path, conversions: list[Any]
) -> None:
    graph = write_graph(tmp_path / "bad" / "graph.pb", node("spy", "ReadFile", ["name"]))
    for _ in range(2):
        assert scores(graph, image, trust=True)
        with pytest.raises(GraphError, match="ReadFile"):
            load(graph)
    assert len(conversions) == 2
    assert files() == []


@pytest.mark.slow
def test_a_graph_that_changes_meanwhile_leaves_no_conversion(
    graph: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tlcli.graph import safety

    original = safety.read_graph
    kernels: list[float] = []

    def read(path: Path) -> Any:
        kernels.append(0.7 + len(kernels))  # another graph each time it is tried
        write_graph(path, kernel=kernels[-1])
        return original(path)

    monkeypatch.setattr(safety, "read_graph", read)
    load(graph)
    assert len(kernels) > 1
    assert files() == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX modes")
def test_a_cache_that_cannot_be_written_is_none(
    graph: Path, image: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder would be")
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(blocked))
    assert len(scores(graph, image)) == 2
    monkeypatch.undo()
    if os.geteuid() == 0:
        return  # modes do not hold root back
    folder = converted_folder()
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    assert len(scores(graph, image)) == 2
    assert files() == []
    folder.chmod(0o700)


def test_a_read_only_conversion_is_used(graph: Path, image: Path, conversions: list[Any]) -> None:
    first = scores(graph, image)
    for path in (*files(), converted_folder()):
        path.chmod(0o500)
    assert scores(graph, image) == first
    assert len(conversions) == 1
    converted_folder().chmod(0o700)


def test_keys_differ_by_all_that_matters() -> None:
    digest, overrides = "0" * 64, InputOverrides()
    keys = {
        conversion_key(digest, overrides, False),
        conversion_key(digest, overrides, True),
        conversion_key("1" * 64, overrides, False),
        conversion_key(digest, InputOverrides(input_mean=0.0), False),
        conversion_key(digest, InputOverrides(input_std=0.5), False),
        conversion_key(digest, InputOverrides(output_layer="x"), False),
        conversion_key(digest, InputOverrides(channel_order="bgr"), False),
    }
    assert len(keys) == 7
    assert find_conversion(conversion_key(digest, overrides, False), Path("x.pb")) is None


def _label(graph: Path, image: Path, results: Any) -> None:
    results.put(scores(graph, image))


@pytest.mark.slow
def test_processes_store_one_conversion_together(graph: Path, image: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_label, args=(graph, image, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join(60)
    assert found[0] == found[1] == found[2]
    assert len(files()) == 1
    assert scores(graph, image) == found[0]
