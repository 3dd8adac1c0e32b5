"""The model card that is embedded in a graph file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.core.export.test_tflite import graph
from tlcli.backbone import INPUT
from tlcli.core.classifier.loading import load
from tlcli.core.export import embedded_card, model_card, tflite
from tlcli.core.export.embedded_card import embed_card, read_embedded_card
from tlcli.core.export.frozen_graph import final_layer_graph, serialise
from tlcli.core.export.model_card import CardInput, ModelCard, card_path, complete, load_for
from tlcli.core.export.packing import with_metadata
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import GraphError
from tlcli.graph.messages import GraphDef
from tlcli.litert.metadata.archive import append_files
from tlcli.system.atomic_files import write_bytes

LABELS = ("daisy", "데이지", "שלום")
TAKES = CardInput(height=128, width=96, preprocessing=Preprocessing("tlcli-1", 128, 96).to_dict())


def content() -> bytes:
    layer = FinalLayer(np.ones((4, 3), np.float32), np.zeros(3, np.float32))
    return serialise(final_layer_graph(layer))


def embedded() -> bytes:
    return embed_card(content(), labels=LABELS, input=TAKES, output="final_result")


def embedded_before_zip() -> bytes:
    """Return a LiteRT file with labels for other programs, and a card before them."""
    content = with_metadata(tflite.convert(graph()), LABELS)
    return embed_card(content, labels=LABELS, input=TAKES, output="final_result")


FILES = {"graph.pb": (embedded, b"tlcliend"), "graph.tflite": (embedded_before_zip, b"tlclizip")}


@pytest.mark.parametrize("name", FILES)
def test_what_was_said_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name][0]())
    card = read_embedded_card(path)
    assert card is not None
    assert (card.labels, card.input, card.output) == (LABELS, TAKES, "final_result")
    assert card.input.name == INPUT


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert embedded() == embedded()
    assert embedded().startswith(content())


def test_to_a_reader_of_protobuf_it_is_a_field_to_pass_over() -> None:
    plain, read = GraphDef.FromString(content()), GraphDef.FromString(embedded())
    assert [node.name for node in read.node] == [node.name for node in plain.node]


@pytest.mark.parametrize("data", [b"", b"tlcliend", b"x" * 100, content()])
def test_a_file_without_one_says_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(data)
    assert read_embedded_card(path) is None
    assert read_embedded_card(tmp_path / "absent") is None


def test_the_zip_is_at_the_end_where_programs_look_for_it() -> None:
    whole = embedded_before_zip()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        assert archive.testzip() is None
        assert archive.read("labels.txt").decode() == "daisy\n데이지\nשלום\n"
        # Android's reader counts from the beginning of the file.
        start = archive.infolist()[0].header_offset
    assert whole[start : start + 4] == b"PK\x03\x04"
    assert whole[:start].endswith(b"}")
    assert embedded_before_zip() == whole


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_byte_before_the_magic_is_damage(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    make, magic = FILES[name]
    whole = make()
    for place in range(len(whole) - len(magic)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(GraphError, match=r"graph\.\w+ is damaged"):
            read_embedded_card(path)


@pytest.mark.parametrize("name", FILES)
def test_a_flip_in_the_magic_or_a_cut_leaves_a_graph_that_says_nothing(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    make, magic = FILES[name]
    whole = make()
    for place in range(len(whole) - len(magic), len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 0x10
        path.write_bytes(flipped)
        assert read_embedded_card(path) is None
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        assert read_embedded_card(path) is None


@pytest.mark.parametrize("name", FILES)
def test_a_part_lost_in_the_middle_is_damage(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name][0]()[10:])
    with pytest.raises(GraphError, match="damaged"):
        read_embedded_card(path)


def test_a_record_of_another_version_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "graph.pb"
    monkeypatch.setattr(embedded_card, "FORMAT", 99)
    path.write_bytes(embedded())
    with pytest.raises(GraphError, match="another version of tlcli"):
        read_embedded_card(path)


def test_labels_that_another_program_replaced_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "graph.tflite"
    whole = embedded_before_zip()
    start = whole.rindex(b"PK\x03\x04")
    # The zip's comment is kept, as most programs do.
    path.write_bytes(append_files(whole[:start], {"labels.txt": b"a\nb\nc\n"}, whole[-20:]))
    with pytest.raises(GraphError, match="damaged"):
        read_embedded_card(path)


def test_a_card_that_is_embedded_again_is_the_newer_one(tmp_path: Path) -> None:
    path = tmp_path / "graph.tflite"
    newer = embed_card(embedded_before_zip(), labels="abc", input=TAKES, output="final_result")
    path.write_bytes(newer)
    card = read_embedded_card(path)
    assert card is not None
    assert card.labels == tuple("abc")


def test_labels_too_large_to_be_read_again_are_not_written() -> None:
    labels = ["x" * (1 << 20)] * 17
    assert embed_card(content(), labels=labels, input=TAKES, output="final_result") == content()


@pytest.fixture
def plates(shared: Path, tmp_path: Path) -> Path:
    """Return a copy of a LiteRT file with an embedded card, next to the same card as a file."""
    source = shared / "legacy" / "plates_128"
    labels = [line.strip() for line in (source / "labels.txt").read_text().splitlines()]
    takes = CardInput("input", 128, 128, (0.0, 1.0), Preprocessing("tlcli-1", 128, 128).to_dict())
    graph = tmp_path / "graph.tflite"
    graph.write_bytes(
        embed_card(
            (source / "graph.tflite").read_bytes(),
            labels=labels,
            input=takes,
            output="final_result",
        )
    )
    card = ModelCard(tuple(labels), takes, "final_result")
    complete(card, card_path(graph), {graph: graph}).write(card_path(graph))
    return graph


def test_labels_in_the_graph_stand_against_a_card_and_a_file_of_others(
    plates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    true = load(plates).labels
    assert caplog.text == ""
    card = card_path(plates)
    card.write_text(card.read_text().replace(f'"{true[0]}"', '"Atlantis"'))
    assert load(plates).labels == true
    assert "changed since" in caplog.text
    card.unlink()
    (plates.parent / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    made = load(plates)
    assert (made.labels, made.preprocessing.name) == (true, "tlcli-1")
    assert load(plates, labels=plates.parent / "labels.txt").labels == tuple("abcde")


def test_a_damaged_graph_runs_only_where_it_is_trusted(
    plates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = bytearray(plates.read_bytes())
    data[len(data) // 2] ^= 1
    plates.write_bytes(data)
    (plates.parent / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    with pytest.raises(GraphError, match="damaged"):
        load(plates)
    assert load(plates, trust=True).labels == tuple("abcde")
    assert "damaged" in caplog.text


def test_a_graph_that_is_replaced_while_it_is_read_is_read_again(
    plates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = embed_card(
        plates.read_bytes(),
        labels=tuple("vwxyz"),
        input=CardInput(
            "input", 128, 128, (0.0, 1.0), Preprocessing("tlcli-1", 128, 128).to_dict()
        ),
        output="final_result",
    )
    replaced = []

    def load_then_replace(graph: Path, digest_of: Callable[[Path], str]) -> ModelCard | None:
        card = load_for(graph, digest_of)
        if not replaced:
            replaced.append(graph)
            write_bytes(graph, newer)
        return card

    monkeypatch.setattr(model_card, "load_for", load_then_replace)
    assert load(plates).labels == tuple("vwxyz")
