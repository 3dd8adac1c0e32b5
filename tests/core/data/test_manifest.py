"""Manifests: every spelling of a table, and each row that cannot be used by its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.core.data.filling import fill
from tlcli.core.data.held_out import images_to_evaluate
from tlcli.core.data.manifest import read_manifest
from tlcli.errors import DataError, TlcliError, UsageError

ROWS = [("a/1.jpg", "Big Cat", "train"), ("a/2.jpg", "dog", "val"), ("b 3.jpg", "dog", "")]


def written(folder: Path, content: str | bytes, name: str = "list") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path) -> list[tuple[str, str, str | None]]:
    return [(image.name, image.label, image.split) for image in read_manifest(path, 1).images]


WANTED = [
    ("a/1.jpg", "Big Cat", "training"),
    ("a/2.jpg", "dog", "validation"),
    ("b 3.jpg", "dog", None),
]


def table(delimiter: str, header: str = "path,label,split", end: str = "\n") -> str:
    rows = [header.split(",") if header else None, *ROWS]
    return "".join(delimiter.join(row) + end for row in rows if row)


@pytest.mark.parametrize(
    "content",
    [
        table(","),
        table("\t"),
        table(";"),
        table(",", end="\r\n"),
        table(",", header=""),
        table("\t", header=""),
        table(",", header="filename,class,set"),
        table(",", header=" Path , LABEL,Split"),
        b"\xef\xbb\xbf" + table(",").encode(),
        table("\t").encode("utf-16"),
        "\n" + table(",") + "\n\n",
        'label,note,"path",split\nBig Cat,"x,\ny",a/1.jpg,Training\ndog,,"a/2.jpg",dev\n'
        " dog ,z,./b 3.jpg,\n",
        "path,label,split\na/1.jpg,Big Cat,train\na\\2.jpg,dog,valid\nb 3.jpg,dog\n",
        "".join(
            json.dumps({"split": split, "path": path, "label": label, "more": 1}) + "\n"
            for path, label, split in ROWS
        ),
        '\n{"path": "a/1.jpg", "label": "Big Cat", "split": "train"}\n\n'
        '{"label": "dog", "split": "val", "path": "a/2.jpg"}\r\n{"path":"b 3.jpg","label":"dog"}',
    ],
)
def test_tables_and_json_lines(tmp_path: Path, content: str | bytes) -> None:
    found = read_manifest(written(tmp_path, content))
    assert read(tmp_path / "list") == WANTED
    assert (found.labels, found.split_by) == (("Big Cat", "dog"), "manifest")


def test_paths_are_relative_absolute_or_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    fill(tmp_path, "lists/1.jpg", "2.jpg", "home/3.jpg", "else/4.jpg")
    path = written(
        tmp_path / "lists",
        f"{tmp_path}/lists/1.jpg,a\n../2.jpg,b\n~/3.jpg,a\n{tmp_path}/else/4.jpg,b\n",
    )
    found = read_manifest(path)
    assert all(image.path is not None and image.path.is_file() for image in found.images)
    assert "1.jpg" in [image.name for image in found.images]
    assert found.split_by == "names"


def test_numbers_are_labels_and_other_scripts_stay(tmp_path: Path) -> None:
    path = written(
        tmp_path, '{"path": "1.jpg", "label": 3}\n{"path": "2.jpg", "label": "강아지_a"}'
    )
    assert [label for _, label, _ in read(path)] == ["3", "강아지_a"]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ("path,label\n1.jpg,a\n,b\n", 3, "the path is empty"),
        ("path,label\n1.jpg,a\n2.jpg,\n", 3, "the label is empty"),
        ("path,label\n1.jpg,a\nftp://x.org/2.jpg,b\n", 3, "is a URL of an unknown kind; known"),
        ("path,label\n1.jpg,a|b\n", 2, "a|b are several labels, and each image has one here"),
        ('{"path": "1.jpg", "label": ["a", "b"]}', 1, "a|b are several labels"),
        ("path,label,split\n1.jpg,a,train\n2.jpg,b,held\n", 3, "the split 'held' is unknown"),
        ("path,label\n1.jpg,a\n2.jpg,b\n./1.jpg,b\n", 4, "the label 'b', but 'a' in line 2"),
        ("path,label,split\n1.jpg,a,train\n1.jpg,a,test\n", 3, "'testing', but 'training' in"),
        ("path,label,split\n1.jpg,a,train\n1.jpg,a,\n", 3, "the split 'no split', but 'training'"),
        ("path,label\n1.jpg,a\n2.jpg,b,c\n", 3, "3 columns, but 2 in line 1"),
        ("path,label\n1.jpg\n", 2, "1 column, but 2 in line 1"),
        ('path,label\n1.jpg,"a\n"b"\n', 2, "no valid CSV"),
        ('path,label\n1.jpg,"a\nb"\n', 2, "is not one line of UTF-8 text"),
        (b"path,label\n1.jpg,a\n\xe4.jpg,b\n", 3, "not UTF-8 text; save the manifest as UTF-8"),
        ("path,kind\n1.jpg,a\n", 1, "no column is named label (path, kind)"),
        ("picture,kind\n1.jpg,a\n", 1, "'picture' is neither the name of a column nor an image"),
        ("1.jpg\n2.jpg\n", 1, "1 column and no header that names path and label"),
        ("1.jpg,a,train,x\n", 1, "4 columns and no header"),
        ('{"path": "1.jpg", "label": "a"}\n{"path": ', 2, "not JSON; write one JSON object"),
        ('{"path": "1.jpg", "label": "a"}\n3\n', 2, "no JSON object"),
        ('{"path": "1.jpg"}', 1, "the label is empty"),
        ('{"path": 3, "label": "a"}', 1, "the path is empty"),
    ],
)
def test_rows_that_cannot_be_used_are_named_by_line(
    tmp_path: Path, content: str | bytes, line: int, reason: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError) as refused:
        read_manifest(path)
    sentence = str(refused.value)
    assert sentence.startswith(f"{path}, line {line}: ")
    assert reason in sentence


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is empty; write one row per image"),
        ("\n \n", "is empty"),
        ('[{"path": "1.jpg"}]', "is a JSON list; write"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8 text"),
        ("PK\3\4\0\0\0", "is no text but a spreadsheet or an archive; save it as CSV"),
        ("path,label\n", "has no rows; a classifier needs"),
        ("path,label\n1.jpg,a\n2.jpg,a\n", "has only the label 'a'"),
        ("1.jpg,a,train\n2.jpg,b,test\n3.jpg,a,test\n", "no training images of the label 'b'"),
    ],
)
def test_what_is_no_manifest(tmp_path: Path, content: str | bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_manifest(written(tmp_path, content))


def test_what_names_no_manifest(tmp_path: Path) -> None:
    for given, reason in (
        (tmp_path, "is a folder; give it as --image_dir"),
        (Path("ftp://x.org/list.csv"), "ftp://x.org/list.csv is a URL of an unknown kind"),
        (tmp_path / "absent.csv", "cannot be read: no such file"),
    ):
        with pytest.raises(TlcliError, match=reason):
            read_manifest(given)


def test_a_row_given_twice_counts_once(tmp_path: Path) -> None:
    assert len(read(written(tmp_path, "path,label\n1.jpg,a\n1.jpg,a\n"))) == 1


def test_rows_of_the_test_split_are_evaluated(tmp_path: Path) -> None:
    path = written(tmp_path, "1.jpg,a,train\n2.jpg,a,test\n3.jpg,b,Testing\n4.jpg,b,\n")
    assert [image.name for image in images_to_evaluate(None, path).images] == ["2.jpg", "3.jpg"]
    whole = written(tmp_path, "1.jpg,a\n2.jpg,b\n", "whole")
    assert len(images_to_evaluate(None, whole).images) == 2
    trained = written(tmp_path, "1.jpg,a,train\n2.jpg,b,train\n", "trained")
    with pytest.raises(DataError, match="lists training images and no others"):
        images_to_evaluate(None, trained)
    with pytest.raises(UsageError, match="is a folder"):
        images_to_evaluate(None, tmp_path)


def test_rows_may_be_addresses(tmp_path: Path) -> None:
    rows = ["here.jpg,a", "s3://b/k/1.jpg,a", "https://me:word@x.org/2.jpg?Signature=1,b"]
    rows.append("https://me:word@x.org/2.jpg?Signature=2,b")
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    found = read_manifest(tmp_path / "list.csv").images
    assert [image.name for image in found] == [
        *("here.jpg", "https://***@x.org/2.jpg", "https://***@x.org/2.jpg", "s3://b/k/1.jpg"),
    ]
    assert [image.file for image in found] == [
        *(str(tmp_path / "here.jpg"), "https://me:word@x.org/2.jpg?Signature=1"),
        *("https://me:word@x.org/2.jpg?Signature=2", "s3://b/k/1.jpg"),
    ]
    assert found[1].shown == "https://***@x.org/2.jpg?..."
