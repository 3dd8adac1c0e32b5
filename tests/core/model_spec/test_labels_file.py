"""Labels files: where they are looked for and how they are read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tlcli.core.model_spec.labels_file import (
    Labels,
    as_labels,
    decode_labels,
    find_labels,
    fitting_labels,
    read_labels,
)
from tlcli.errors import DataError, GraphError


@pytest.mark.parametrize(
    "content",
    [
        b"daisy\nroses\n",
        b"daisy\nroses",
        b"daisy\r\nroses\r\n",
        b"\xef\xbb\xbfdaisy\nroses\n\n\n",
        b"daisy \nroses\t\n  \n",
        "daisy\nroses\n".encode("utf-16"),
        "\ufeffdaisy\r\nroses\r\n".encode("utf-32-le"),
    ],
)
def test_line_ends_marks_and_empty_lines_at_the_end(content: bytes) -> None:
    assert decode_labels(content, "labels.txt").names == ("daisy", "roses")


def test_an_empty_line_between_labels_is_counted() -> None:
    assert decode_labels(b"a\n\nb\n", "labels.txt").names == ("a", "", "b")


def test_labels_of_every_script_are_kept() -> None:
    assert decode_labels("집\nhaus\u2028hof\n".encode(), "x").names == ("집", "haus\u2028hof")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"a\0b\n", b"\xff\xfe\xfd", b"caf\xe9\n"])
def test_what_is_no_labels_file_gets_a_sentence(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^labels\.txt "):
        decode_labels(content, "labels.txt")


def test_an_absent_file_and_a_folder_get_a_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.txt", tmp_path):
        with pytest.raises(DataError, match=r"cannot read the labels file .* --labels"):
            read_labels(path)


def test_files_beside_the_graph_in_the_order_of_the_generations(tmp_path: Path) -> None:
    graph = tmp_path / "flowers.pb"
    graph.write_bytes(b"graph")
    with pytest.raises(GraphError) as error:
        find_labels(graph)
    places = ["flowers.pb.txt", "flowers.txt", "labels.txt", "retrained_labels.txt"]
    for name in [*places, "output_labels.txt"]:
        assert name in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "--labels" in str(error.value)
    for name in [*places, "output_labels.txt"]:
        (tmp_path / name).write_text(f"of {name}\n")
        assert find_labels(graph) == Labels((f"of {name}",), str(tmp_path / name))


def test_a_folder_may_hold_its_labels(tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "assets.extra").mkdir(parents=True)
    (tmp_path / "labels.txt").write_text("beside\n")
    assert find_labels(model).names == ("beside",)
    (model / "assets.extra" / "labels.txt").write_text("inside\n")
    assert find_labels(model).names == ("inside",)


def test_labels_packed_into_a_litert_file(tmp_path: Path) -> None:
    graph = tmp_path / "graph.tflite"
    graph.write_bytes(b"0000TFL3 and so on")
    (tmp_path / "labels.txt").write_text("beside\n")
    assert find_labels(graph).names == ("beside",)
    with zipfile.ZipFile(graph, "a") as archive:
        archive.writestr("names.txt", "packed\n")
    assert find_labels(graph).names == ("packed",)


def test_a_wrong_number_names_both_files_and_numbers(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("a\nb\n")
    labels = as_labels(path)
    labels.check(2, Path("old.pb"))
    with pytest.raises(GraphError) as error:
        labels.check(1001, Path("old.pb"))
    for part in (str(path), "2 labels", "old.pb", "1001 scores", "--labels"):
        assert part in str(error.value)


def test_labels_may_be_given_themselves() -> None:
    assert as_labels(["a", "b"]).names == ("a", "b")


@pytest.mark.parametrize(
    "text",
    [
        '["cat", "dog"]',
        '{"cat": 0, "dog": 1}',
        '{"0": "cat", "1": "dog"}',
        '{"1": ["n02084071", "dog"], "0": ["n02121620", "cat"]}',
        '{"classes": ["cat", "dog"], "image_size": 224}',
        '{"labels": {"dog": 1, "cat": 0}}',
        '[{"name": "cat"}, {"name": "dog"}]',
        "\ufeff" + '["cat", "dog"]',
        "0 cat\n1 dog\n",
        "0: cat\r\n1: dog\r\n",
    ],
)
def test_labels_with_numbers_and_in_json(text: str) -> None:
    assert decode_labels(text.encode(), "labels.json").names == ("cat", "dog")


def test_numbers_stay_where_they_are_not_those_of_the_lines() -> None:
    for text in ("1 cat\n0 dog", "0 cat\ndog", "0 cat\n2 dog", "0\n1"):
        found = decode_labels(text.encode(), "labels.txt")
        assert (found.names, found.indexed) == (tuple(text.split("\n")), False)
    assert decode_labels(b"0 cat\n1 dog", "labels.txt").indexed


@pytest.mark.parametrize("text", ["{}", '{"a": {"b": 1}}', '{"cat": 0, "dog": 5}', "[1, 2]"])
def test_json_that_lists_no_labels_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is JSON but neither"):
        decode_labels(text.encode(), "labels.json")


def test_text_that_only_begins_like_json_is_lines() -> None:
    assert decode_labels(b"[cat\n{dog\n", "labels.txt").names == ("[cat", "{dog")


def test_a_git_lfs_pointer_is_named() -> None:
    with pytest.raises(DataError, match="run git lfs pull"):
        decode_labels(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "labels.txt")


def test_labels_of_lobe_and_those_that_fit(tmp_path: Path) -> None:
    graph = tmp_path / "model.tflite"
    graph.write_bytes(b"no zip")
    signature = {"inputs": {}, "classes": {"Label": ["a", "b"]}, "filename": "model.tflite"}
    (tmp_path / "signature.json").write_text(json.dumps(signature))
    (tmp_path / "dict.txt").write_text("x\ny\nz\n")
    assert fitting_labels(None, 2, graph).names == ("a", "b")
    assert fitting_labels(None, 3, graph).names == ("x", "y", "z")
    with pytest.raises(GraphError, match=r"signature\.json names 2 labels but .* 4 scores"):
        fitting_labels(None, 4, graph)


def test_one_score_may_stand_for_two_labels(tmp_path: Path) -> None:
    labels = Labels(("cat", "dog"), "given")
    assert fitting_labels(labels, 1, tmp_path, pair=True) is labels
    with pytest.raises(GraphError, match="names 2 labels"):
        fitting_labels(labels, 1, tmp_path)


def test_a_damaged_file_does_not_hide_the_one_that_fits(tmp_path: Path) -> None:
    graph = tmp_path / "model.pb"
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "labels.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(DataError, match=r"labels\.txt is not text"):
        find_labels(graph)
    (tmp_path / "classes.txt").write_text("a\nb\n")
    assert find_labels(graph).names == ("a", "b")


def test_empty_lines_between_numbered_ones_do_not_count() -> None:
    found = decode_labels(b"0 cat\n\n1 dog\n\n", "labels.txt")
    assert (found.names, found.indexed) == (("cat", "dog"), True)
    assert decode_labels(b"cat\n\ndog\n", "labels.txt").names == ("cat", "", "dog")


@pytest.mark.parametrize("number", ["9" * 5000, "\u00b2", "-1"])
def test_numbers_in_json_that_are_none(number: str) -> None:
    with pytest.raises(DataError, match="numbers from 0 on"):
        decode_labels(json.dumps({number: "a"}).encode(), "labels.json")


def test_labels_of_hugging_face() -> None:
    content = json.dumps({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}})
    assert decode_labels(content.encode(), "config.json").names == ("a", "b")
