"""The model card: what is written, and how little of what is read is believed."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tlcli.backbone import Backbone
from tlcli.core.export import model_card
from tlcli.core.export.model_card import CardInput, ModelCard
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import OutputError
from tlcli.system.digests import sha256_bytes

INPUT = CardInput(height=224, width=192, preprocessing=Preprocessing("tlcli-1", 224, 192).to_dict())


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Write a graph with its labels and card; return the graph's path."""
    path = tmp_path / "flowers.pb"
    path.write_bytes(b"graph")
    (tmp_path / "labels.txt").write_bytes(b"daisy\nroses\n")
    build(path).write(model_card.card_path(path))
    return path


def build(path: Path, **more: Any) -> ModelCard:
    card = ModelCard(("daisy", "roses"), INPUT, "final_result", **more)
    files = [path, path.parent / "labels.txt"]
    return model_card.complete(card, model_card.card_path(path), {file: file for file in files})


def change(graph: Path, **values: Any) -> None:
    path = model_card.card_path(graph)
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def refused(graph: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Return the one warning with which the card is passed over."""
    caplog.clear()
    assert model_card.load_for(graph) is None
    [record] = [item for item in caplog.records if item.name == "tlcli"]
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert "\n" not in message
    assert message.endswith(".")
    return message


def test_card_of_the_contract(graph: Path) -> None:
    values = json.loads((graph.parent / "flowers.json").read_text())
    assert list(values) == [
        "format", "labels", "input", "output", "backbone", "training", "accuracy",
        "training_images", "images", "unknown", "files", "versions", "created",
    ]  # fmt: skip
    assert values["format"] == 1
    assert values["labels"] == ["daisy", "roses"]
    assert values["input"] == {
        "name": "Placeholder",
        "height": 224,
        "width": 192,
        "range": [0.0, 1.0],
        "preprocessing": {
            "name": "tlcli-1", "height": 224, "width": 192, "mean": 0.0, "std": 255.0
        },
    }  # fmt: skip
    assert values["files"] == {
        "flowers.pb": sha256_bytes(b"graph"),
        "labels.txt": sha256_bytes(b"daisy\nroses\n"),
    }
    assert {"tlcli", "numpy", "pillow"} <= set(values["versions"])
    assert values["created"].endswith("+00:00")


def test_what_was_written_is_read(graph: Path) -> None:
    written = build(graph, training={"seed": 0}, accuracy={"test": 0.9, "count": 10})
    written.write(model_card.card_path(graph))
    assert model_card.load_for(graph) == written
    assert Preprocessing.from_dict(written.input.preprocessing or {}).width == 192


def test_names_are_relative_to_the_card(tmp_path: Path) -> None:
    for name in ("out/graph.pb", "lists/labels.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    files = [tmp_path / "out" / "graph.pb", tmp_path / "lists" / "labels.txt"]
    found = model_card.file_digests(tmp_path / "out" / "graph.json", {file: file for file in files})
    assert list(found) == ["graph.pb", "../lists/labels.txt"]


def test_relative_paths_name_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pb").write_text("")
    monkeypatch.chdir(tmp_path)
    here, absolute = Path("a.pb"), tmp_path / "a.pb"
    assert list(model_card.file_digests(Path("a.json"), {absolute: here})) == ["a.pb"]
    assert list(model_card.file_digests(tmp_path / "a.json", {here: here})) == ["a.pb"]


@pytest.mark.parametrize(
    ("graph", "card"),
    [
        ("output_graph.pb", "output_graph.json"),
        ("a/b.c.tflite", "a/b.c.json"),
        ("graph", "graph.json"),
        ("graph.json", "graph.json.json"),
    ],
)
def test_place_of_the_card(graph: str, card: str) -> None:
    assert model_card.card_path(Path(graph)) == Path(card)


def test_a_saved_model_holds_its_own(tmp_path: Path) -> None:
    assert model_card.card_path(tmp_path) == tmp_path / "assets.extra" / "model_card.json"


def test_backbone_part() -> None:
    backbone = Backbone("lite", "a wheel", "Apache-2.0", 224, 224, "f" * 64, None, lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert model_card.describe_backbone(backbone, 1280) == {
        "name": "lite",
        "source": "a wheel",
        "fingerprint": "f" * 64,
        "bottleneck_size": 1280,
        "licence": "Apache-2.0",
        "precision": "float32",
    }
    low = replace(backbone, bfloat16="amx_bf16")
    assert model_card.describe_backbone(low, 1280)["precision"] == "bfloat16"


def test_what_json_cannot_hold_is_still_written(graph: Path) -> None:
    training = {
        "rate": np.float32(0.5), "counts": np.array([1, 2]), "image_dir": Path("a/b"),
        "loss": math.nan, "best": np.float64("inf"), "labels": ("수영장",), 3: None,
    }  # fmt: skip
    build(graph, training=training).write(model_card.card_path(graph))
    text = model_card.card_path(graph).read_text(encoding="utf-8")
    values = json.loads(text, parse_constant=pytest.fail)
    assert values["training"] == {
        "rate": 0.5, "counts": [1, 2], "image_dir": str(Path("a/b")),
        "loss": None, "best": None, "labels": ["수영장"], "3": None,
    }  # fmt: skip
    assert "수영장" in text
    assert model_card.load_for(graph) is not None


def test_no_card_is_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.pb").write_bytes(b"graph")
    assert model_card.load_for(tmp_path / "a.pb") is None
    assert not caplog.records


def test_a_graph_that_changed_has_no_card(graph: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph.write_bytes(b"another")
    assert "another graph" in refused(graph, caplog)


def test_a_renamed_graph_keeps_its_card(graph: Path) -> None:
    card = model_card.card_path(graph)
    moved = graph.rename(graph.with_name("moved.pb"))
    card.rename(card.with_name("moved.json"))
    assert model_card.load_for(moved) is not None


def test_an_absent_graph_has_no_card(graph: Path) -> None:
    graph.unlink()
    assert model_card.load_for(graph) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"format": 1}',
        b"[" * 100_000,
        b'{"format": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_no_card_is_passed_over(
    graph: Path, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    model_card.card_path(graph).write_bytes(text)
    assert "is not used" in refused(graph, caplog)


@pytest.mark.parametrize(
    "values",
    [
        {"format": 2},
        {"format": True},
        {"format": "1"},
        {"labels": []},
        {"labels": ["daisy", 1]},
        {"labels": ["daisy", ""]},
        {"labels": {"daisy": 1}},
        {"output": None},
        {"output": ["final_result"]},
        {"input": None},
        {"input": {"name": "Placeholder"}},
        {"files": None},
        {"files": ["flowers.pb"]},
        {"files": {"flowers.pb": 1}},
        {"files": {"flowers.pb": "0" * 63 + "G"}},
        {"backbone": []},
        {"training": 1},
        {"accuracy": "good"},
        {"versions": {"tlcli": 1}},
        {"created": 0},
    ],
    ids=json.dumps,
)
def test_wrong_types_are_passed_over(
    graph: Path, values: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    change(graph, **values)
    assert "is not used: it" in refused(graph, caplog)


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": 1},
        {"height": 0},
        {"height": -1},
        {"height": 224.0},
        {"height": True},
        {"height": 10**30},
        {"width": "192"},
        {"width": 191},
        {"height": None},
        {"range": [0]},
        {"range": [0, "1"]},
        {"range": {"0": 1, "1": 1}},
        {"range": [0, 10**400]},
        {"range": [0, math.inf]},
        {"range": [math.nan, 1]},
        {"preprocessing": []},
        {"preprocessing": {}},
        {"preprocessing": {"name": "tlcli-9", "height": 224, "width": 192}},
        {"preprocessing": {"name": "tlcli-1", "height": 224, "width": 10**30}},
        {"preprocessing": {"name": ["tlcli-1"], "height": 224, "width": 192}},
        {"preprocessing": {"name": "tlcli-1", "height": 224, "width": 192, "std": 0}},
    ],
    ids=str,
)
def test_wrong_inputs_are_passed_over(
    graph: Path, values: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    known = json.loads(model_card.card_path(graph).read_text())["input"]
    change(graph, input={**known, **values})
    assert "is not used: its" in refused(graph, caplog)


def test_unknown_keys_are_left_alone(graph: Path) -> None:
    change(graph, later={"a": [1]})
    assert model_card.load_for(graph) is not None


def test_a_card_for_bottlenecks_has_no_size(graph: Path) -> None:
    change(graph, input={"name": "B", "height": None, "width": None, "range": [0, 1]})
    card = model_card.load_for(graph)
    assert card is not None
    assert card.input == CardInput("B", None, None, (0.0, 1.0), None)


def test_huge_cards_are_not_read(graph: Path, caplog: pytest.LogCaptureFixture) -> None:
    with model_card.card_path(graph).open("ab") as file:
        file.write(b" " * (16 << 20))
    assert "larger than" in refused(graph, caplog)


def test_a_card_that_would_be_too_large_to_read_lists_no_training_images(graph: Path) -> None:
    listed = {"count": 1, "sha256_prefixes": "A" * (17 << 20)}
    build(graph, training_images=listed, accuracy={"test": 0.9}).write(model_card.card_path(graph))
    found = model_card.load_for(graph)
    assert found is not None
    assert (found.training_images, found.accuracy) == ({}, {"test": 0.9})


def test_a_card_that_cannot_be_read_is_passed_over(
    graph: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "Permission denied" in refused(graph, caplog)


def test_a_folder_in_the_place_of_the_card_is_no_card(graph: Path) -> None:
    model_card.card_path(graph).unlink()
    model_card.card_path(graph).mkdir()
    assert model_card.load_for(graph) is None


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot"):
        model_card.file_digests(tmp_path / "a.json", {tmp_path / "a.pb": tmp_path / "a.pb"})
