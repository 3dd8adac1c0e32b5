"""Loading LiteRT files and graphs, with and without a model card."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tlcli
from tlcli.core.classifier.loading import load
from tlcli.core.export.model_card import CardInput, ModelCard, card_path, complete
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import GraphError, UsageError
from tlcli.system.cache_folders import converted_folder


@pytest.fixture
def plates(shared: Path) -> Path:
    return shared / "legacy" / "plates_128"


def test_a_litert_file_by_the_public_name(plates: Path) -> None:
    with tlcli.load(plates / "graph.tflite") as made:
        found = made.label([plates / "photos" / "newyorkTest1.jpg"])
    assert found[0].label == "newyork"
    assert (made.preprocessing.mean, made.preprocessing.std) == (128.0, 128.0)


def test_zero_overrides_and_labels_too(plates: Path) -> None:
    made = load(plates / "graph.tflite", input_mean=0.0, input_std=255.0, labels=list("abcde"))
    assert (made.preprocessing.mean, made.preprocessing.std) == (0.0, 255.0)
    assert made.labels == tuple("abcde")


def test_labels_that_do_not_fit_are_refused_before_anything_runs(plates: Path) -> None:
    with pytest.raises(GraphError, match=r"names 2 labels .*graph\.tflite gives 5 scores"):
        load(plates / "graph.tflite", labels=["a", "b"])
    with pytest.raises(GraphError, match=r"names 2 labels .*graph\.pb gives 5 scores"):
        load(plates / "graph.pb", labels=["a", "b"])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 0}, "batch size is 0"),
        ({"input_std": 0.0}, "std is 0"),
        ({"input_mean": float("nan")}, "mean is nan"),
        ({"input_height": -1}, "height is -1"),
    ],
)
def test_values_that_cannot_work(plates: Path, options: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        load(plates / "graph.tflite", **options)


def test_layers_that_a_litert_file_does_not_have(plates: Path) -> None:
    assert load(plates / "graph.tflite", input_layer="input:0", output_layer="final_result")
    with pytest.raises(GraphError, match="leave --input_layer Mul out"):
        load(plates / "graph.tflite", input_layer="Mul")


@pytest.mark.parametrize("name", ["graph.pb", "graph.tflite"])
def test_garbage_of_every_kind_gets_a_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(GraphError, match="there is no graph at"):
        load(path)
    path.write_bytes(b"garbage of no kind")
    (tmp_path / "labels.txt").write_text("a\n")
    with pytest.raises(GraphError, match=name):
        load(path)
    with pytest.raises(GraphError, match=r"no saved_model\.pb"):
        load(tmp_path)


def with_card(
    plates: Path, folder: Path, files: list[str], preprocessing: Preprocessing | None = None
) -> Path:
    """Copy the plates' files beside a card for the graph."""
    for name in ("graph.pb", "graph.tflite"):
        shutil.copyfile(plates / name, folder / name)
    made = preprocessing or Preprocessing("tlcli-1", 128, 128, 128.0, 128.0)
    graph = folder / "graph.pb"
    card = ModelCard(
        ("Indiana", "New York", "Oklahoma", "Pennsylvania", "Wyoming"),
        CardInput("input", 128, 128, (-1.0, 1.0), made.to_dict()),
        "final_result",
    )
    complete(card, card_path(graph), {folder / name: folder / name for name in files}).write(
        card_path(graph)
    )
    return graph


def test_a_card_gives_labels_and_preprocessing_and_tensorflow_stays_out(
    plates: Path, tmp_path: Path
) -> None:
    graph = with_card(plates, tmp_path, ["graph.pb", "graph.tflite"])
    program = (
        "import sys, json, tlcli\n"
        f"made = tlcli.load({str(graph)!r})\n"
        f"found = made.label([{str(plates / 'photos/newyorkTest1.jpg')!r}])\n"
        "print(json.dumps([found[0].label, made.preprocessing.name, str(made.graph),\n"
        "    'tensorflow' in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == ["New York", "tlcli-1", str(graph), False]


def test_a_litert_file_that_the_card_does_not_name_is_not_run(
    plates: Path, tmp_path: Path, conversions: list[Any]
) -> None:
    load(with_card(plates, tmp_path, ["graph.pb"]))
    assert conversions == [("input", "final_result")]
    graph = with_card(plates, tmp_path, ["graph.pb", "graph.tflite"])
    load(graph)
    assert len(conversions) == 1
    shutil.rmtree(converted_folder())
    (tmp_path / "graph.tflite").write_bytes(b"changed")
    assert load(graph).labels[1] == "New York"
    assert len(conversions) == 2


def test_overrides_go_beyond_a_card(plates: Path, tmp_path: Path, conversions: list[Any]) -> None:
    graph = with_card(plates, tmp_path, ["graph.pb", "graph.tflite"])
    # What repeats the card changes nothing.
    load(graph, input_layer="input", input_height=128, input_mean=128.0)
    assert conversions == []
    other = load(graph, input_mean=0.0)
    assert len(conversions) == 1
    assert other.preprocessing == Preprocessing("tlcli-1", 128, 128, 0.0, 128.0)


def test_the_litert_file_itself_uses_the_card(plates: Path, tmp_path: Path) -> None:
    with_card(plates, tmp_path, ["graph.pb", "graph.tflite"])
    made = load(tmp_path / "graph.tflite")
    assert made.preprocessing.name == "tlcli-1"
    assert made.labels[1] == "New York"


def test_a_card_of_another_graph_is_passed_over(
    plates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_card(plates, tmp_path, ["graph.pb"])
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    made = load(tmp_path / "graph.tflite")
    assert made.labels == tuple("abcde")
    assert made.preprocessing.name == "label_image"
    assert "another graph" in caplog.text
