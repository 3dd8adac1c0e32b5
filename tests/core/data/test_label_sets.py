"""Several labels per image: their text, their marks, copies in folders, manifests and splits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlcli.core.data.image_folder import scan_folder
from tlcli.core.data.label_sets import (
    check_folder_labels,
    join_labels,
    label_marks,
    label_sets,
    labels_in,
    merged_copies,
)
from tlcli.core.data.manifest import read_manifest
from tlcli.core.data.splits import assign_splits
from tlcli.errors import DataError

NAMES = st.sets(st.sampled_from(["pool", "garden", "tree", "évier"]))


@given(st.lists(NAMES))
def test_texts_and_marks_hold_the_same_labels(sets: list[set[str]]) -> None:
    labels = ["évier", "pool", "garden", "tree"]
    texts = [join_labels(each) for each in sets]
    marks = label_marks(texts, labels)
    assert [set(labels_in(text)) for text in texts] == sets
    assert [{labels[i] for i in np.flatnonzero(row)} for row in marks] == sets
    assert [set(each) for each in label_sets(texts)] == sets


def manifest(folder: Path, text: str) -> Path:
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_manifest_gives_several_labels_one_or_none(tmp_path: Path) -> None:
    text = "path,label\n1.jpg,pool | garden\n2.jpg,pool\n3.jpg,\n4.jpg,pool\n4.jpg,tree\n"
    dataset = read_manifest(manifest(tmp_path, text), several=True)
    assert dataset.labels == ("garden", "pool", "tree")
    assert [each.label for each in dataset.images] == ["garden|pool", "pool", "", "pool|tree"]


def test_json_lines_give_lists_of_labels(tmp_path: Path) -> None:
    lines = (
        '{"path": "1.jpg", "label": ["b", "a"]}\n{"path": "2.jpg", "label": []}\n'
        '{"path": "3.jpg", "label": null}\n{"path": "4.jpg", "label": 7}'
    )
    dataset = read_manifest(manifest(tmp_path, lines), several=True)
    assert [each.label for each in dataset.images] == ["a|b", "", "", "7"]


@pytest.mark.parametrize("label", ["a||b", "a|", '["a", ["b"]]'])
def test_an_empty_part_is_an_error_with_its_line(tmp_path: Path, label: str) -> None:
    cell = f'{{"path": "1.jpg", "label": {label}}}' if label[0] == "[" else f"1.jpg,{label}"
    with pytest.raises(DataError, match="line 1: "):
        read_manifest(manifest(tmp_path, cell), several=True)


def test_without_the_option_the_sentence_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\|b are several labels.*train with --multi_label"):
        read_manifest(manifest(tmp_path, "path,label\n1.jpg,a|b\n2.jpg,c\n"))


def test_two_splits_of_one_image_stay_an_error(tmp_path: Path) -> None:
    text = "path,label,split\n1.jpg,a,train\n1.jpg,b,test\n"
    with pytest.raises(DataError, match="has the split"):
        read_manifest(manifest(tmp_path, text), several=True)


def test_copies_in_two_folders_are_one_image_with_both_labels(tmp_path: Path) -> None:
    for name, content in (("pool/1.jpg", b"1"), ("tree/copy.jpg", b"1"), ("tree/2.jpg", b"2")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    dataset = scan_folder(tmp_path)
    contents = [Path(os.fspath(each.path or "")).read_text("utf-8") for each in dataset.images]
    merged, kept = merged_copies(dataset, contents)
    found = {each.name: each.label for each in merged.images}
    assert found == {"pool/1.jpg": "pool|tree", "tree/2.jpg": "tree"}
    assert kept == ["1", "2"]
    unknown, _ = merged_copies(dataset, [None] * 3)
    assert len(unknown.images) == 3


def test_a_folder_whose_name_reads_as_several_labels_is_refused(tmp_path: Path) -> None:
    for name in ("a|b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="separates labels"):
        check_folder_labels(scan_folder(tmp_path, keep_label_names=True))


@given(st.lists(NAMES, min_size=12, max_size=40))
def test_each_label_has_an_image_in_every_split(sets: list[set[str]]) -> None:
    # Three images of each label alone, so that enough can be moved.
    sets = [*sets, *({label} for label in ("pool", "garden", "tree", "évier") for _ in range(3))]
    names = [f"{number}.jpg" for number in range(len(sets))]
    labels = [frozenset(each) for each in sets]
    splits = assign_splits(names, labels, [None] * len(names), 10, 10)
    backwards = assign_splits(names[::-1], labels[::-1], [None] * len(names), 10, 10)
    assert splits == backwards[::-1]
    for label in ("pool", "garden", "tree", "évier"):
        assert {split for split, own in zip(splits, sets, strict=True) if label in own} == {
            *("training", "validation", "testing")
        }


def test_one_label_in_sets_is_split_as_without_sets() -> None:
    names = [f"{label}/{number}.jpg" for label in "ab" for number in range(30)]
    plain = [name[0] for name in names]
    sets = [frozenset(label) for label in plain]
    nothing = [None] * len(names)
    assert assign_splits(names, plain, nothing, 10, 10) == assign_splits(
        names, sets, nothing, 10, 10
    )
