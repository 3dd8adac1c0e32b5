"""Folders of images: labels in every script, what is left out, what is refused."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from tests.core.data.filling import fill
from tlcli.core.data.image_folder import Dataset, label_from_folder, scan_folder, with_imported
from tlcli.core.data.splits import assign_splits
from tlcli.errors import DataError


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("house_with_pool", "house with pool"),
        ("Daisy", "daisy"),
        ("A+", "a "),
        ("no__two--runs", "no two runs"),
        ("route 66", "route 66"),
        ("강아지", "강아지"),
        ("さくら_ガ", "さくら ガ"),
        ("हिन्दी", "हिन्दी"),
        ("Éclair_Ü", "éclair ü"),
        ("E\u0301clair", "éclair"),
        ("ПИОН", "пион"),
        ("❤️_love", " love"),
        ("٣_زهرة", "٣ زهرة"),
        ("bad\udcffname", "bad name"),
        ("two\nlines", "two lines"),
    ],
)
def test_labels(folder: str, label: str) -> None:
    assert label_from_folder(folder) == label


def test_images_in_order(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "roses/b.jpg",
        "roses/a.PNG",
        "Daisy/sub/deep/c.jpg",
        "Daisy/z",
        "lone.jpg",
        "LICENSE.txt",
    )
    found = scan_folder(tmp_path)
    assert [image.name for image in found.images] == [
        "Daisy/sub/deep/c.jpg",
        "Daisy/z",
        "roses/a.PNG",
        "roses/b.jpg",
    ]
    assert found.labels == ("daisy", "roses")
    assert found.ignored == ("lone.jpg",)
    first = found.images[0]
    assert first.path == tmp_path / "Daisy" / "sub" / "deep" / "c.jpg"
    assert (first.folder, first.label) == ("Daisy", "daisy")
    assert scan_folder(tmp_path, keep_label_names=True).labels == ("Daisy", "roses")


def test_hidden_and_system_files(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.jpg", "b/1.jpg", ".git/x.jpg", "__MACOSX/a/._1.jpg", "a/.DS_Store")
    fill(tmp_path, "a/Thumbs.db", "b/desktop.ini", "b/.hidden/2.jpg", "a/@eaDir/1.jpg", ".x.jpg")
    found = scan_folder(tmp_path)
    assert [image.name for image in found.images] == ["a/1.jpg", "b/1.jpg"]
    assert found.ignored == ()


def test_empty_folder_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "a/1.jpg", "b/1.jpg", "c/.DS_Store")
    with caplog.at_level(logging.WARNING, "tlcli"):
        assert scan_folder(tmp_path).labels == ("a", "b")
    assert [record.getMessage() for record in caplog.records] == [
        f"the folder {tmp_path / 'c'} has no images and is left out"
    ]


def test_two_folders_with_one_label(tmp_path: Path) -> None:
    fill(tmp_path, "A+/1.jpg", "A-/1.jpg")
    with pytest.raises(DataError, match=r"'A\+' and 'A-'.*--keep_label_names"):
        scan_folder(tmp_path)
    assert scan_folder(tmp_path, keep_label_names=True).labels == ("A+", "A-")


def test_what_cannot_be_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        scan_folder(tmp_path / "absent")
    with pytest.raises(DataError, match="is no folder; give"):
        scan_folder(fill(tmp_path, "file") / "file")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="has no folders with images; put"):
        scan_folder(empty)
    with pytest.raises(DataError, match="those directly in it have no label"):
        scan_folder(fill(empty, "1.jpg", "2.jpg"))
    with pytest.raises(DataError, match=r"has only the label 'one'; .* at least two"):
        scan_folder(fill(empty, "one/1.jpg"))
    assert scan_folder(empty, minimum_labels=1).labels == ("one",)
    with pytest.raises(DataError, match="no letter or digit"):
        scan_folder(fill(empty, "+++/1.jpg"))


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be on Windows")
def test_names_that_are_no_text_survive(tmp_path: Path) -> None:
    names = [b"a/\xff\xfe.jpg", b"a/two\nlines.jpg", b"b/ .jpg"]
    for name in names:
        path = os.path.join(os.fsencode(tmp_path), name)  # noqa: PTH118
        Path(os.fsdecode(os.path.dirname(path))).mkdir(exist_ok=True)  # noqa: PTH120
        try:
            Path(os.fsdecode(path)).write_bytes(b"x")
        except OSError:
            pytest.skip("this file system takes no such names")
    found = scan_folder(tmp_path)
    assert sorted(os.fsencode(image.name) for image in found.images) == sorted(names)
    assert all(image.path is not None and image.path.is_file() for image in found.images)
    fill(tmp_path, "line\nbreak/1.jpg")
    with pytest.raises(DataError, match="one line of UTF-8"):
        scan_folder(tmp_path, keep_label_names=True)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed_once(tmp_path: Path) -> None:
    root = fill(tmp_path / "root", "a/1.jpg", "b/1.jpg")
    fill(tmp_path / "elsewhere", "2.jpg")
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to(root / "a")
    (root / "b" / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "twice").symlink_to(tmp_path / "elsewhere")
    (root / "b" / "broken.jpg").symlink_to(tmp_path / "absent.jpg")
    names = [image.name for image in scan_folder(root).images]
    assert names == ["a/1.jpg", "b/1.jpg", "b/broken.jpg", "b/linked/2.jpg"]


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a/1.jpg", "b/1.jpg")
    real = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"b cannot be read: Permission denied"):
        scan_folder(tmp_path)


def test_renaming_the_root_moves_nothing(tmp_path: Path) -> None:
    def splits(root: Path) -> list[str]:
        images = scan_folder(root).images
        return assign_splits(
            [i.name for i in images], [i.label for i in images], [None] * len(images), 10, 10
        )

    names = [f"{label}/{number}.jpg" for label in "ab" for number in range(40)]
    one = fill(tmp_path / "one", *names)
    before = splits(one)
    two = one.rename(tmp_path / "two")
    assert splits(two) == before
    assert splits(tmp_path / "two" / ".." / "two") == before


def test_imported_vectors_are_images(tmp_path: Path) -> None:
    found = scan_folder(fill(tmp_path, "a/1.jpg", "a/sub/2.jpg"), minimum_labels=1)
    imported = [("a", "1.jpg"), ("a", "2.jpg"), ("a", "3.jpg"), ("b_c", "1.jpg"), ("b_c", "1.jpg")]
    merged = with_imported(found, imported)
    assert merged.labels == ("a", "b c")
    assert [(image.name, image.path is None) for image in merged.images] == [
        ("a/1.jpg", False),
        ("a/3.jpg", True),
        ("a/sub/2.jpg", False),
        ("b_c/1.jpg", True),
    ]
    assert with_imported(merged, imported) == merged


def test_imports_alone() -> None:
    merged = with_imported(None, [("b", "2.jpg"), ("a", "1.jpg")])
    assert [image.name for image in merged.images] == ["a/1.jpg", "b/2.jpg"]
    assert isinstance(merged, Dataset)
    with pytest.raises(DataError, match="only the label 'a'"):
        with_imported(None, [("a", "1.jpg")])
    with pytest.raises(DataError, match=r"'a\+' and 'a-'"):
        with_imported(None, [("a+", "1.jpg"), ("a-", "1.jpg")])
    assert with_imported(None, [("a+", "1"), ("a-", "1")], keep_label_names=True).labels == (
        "a+",
        "a-",
    )


def test_labels_that_lie_one_folder_deeper_are_found(tmp_path: Path) -> None:
    fill(tmp_path, "photos/all/a/1.jpg", "photos/all/b/1.jpg", "photos/all/b/2.jpg")
    with pytest.raises(DataError) as refused:
        scan_folder(tmp_path / "photos")
    assert str(refused.value).endswith(
        f"; or give --image_dir {tmp_path / 'photos' / 'all'}, if its folders are the labels"
    )
    fill(tmp_path, "photos/all/1.jpg")  # images beside folders: these are no labels
    with pytest.raises(DataError) as refused:
        scan_folder(tmp_path / "photos")
    assert "if its folders" not in str(refused.value)


def test_splits_that_lie_some_folders_deeper_are_found(tmp_path: Path) -> None:
    fill(tmp_path, "one/two/train/cat/1.jpg", "one/two/val/cat/1.jpg", "one/README.md")
    with pytest.raises(DataError, match=f"give --image_dir {tmp_path}/one/two, which contains tr"):
        scan_folder(tmp_path)


def test_labels_that_differ_by_a_space_at_the_end_are_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'A\+' and 'a' give the same label 'a'"):
        scan_folder(fill(tmp_path, "A+/1.jpg", "a/1.jpg"))
    kept = scan_folder(tmp_path, keep_label_names=True)
    assert kept.labels == ("A+", "a")


def test_spelling_of_macos_is_one_folder(tmp_path: Path) -> None:
    found = scan_folder(fill(tmp_path, "cafe\u0301/1.jpg", "x/1.jpg"))
    merged = with_imported(found, [("caf\u00e9", "1.jpg"), ("caf\u00e9", "2.jpg")])
    assert merged.labels == ("caf\u00e9", "x")
    assert len(merged.images) == 3


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX systems")
def test_a_link_to_itself_is_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").touch()
    (tmp_path / "a" / "one").symlink_to("two")
    (tmp_path / "a" / "two").symlink_to("one")
    (tmp_path / "loop").symlink_to("loop")
    names = [image.name for image in scan_folder(tmp_path).images]
    assert names == ["a/1.jpg", "a/one", "a/two", "b/1.jpg"]


def test_a_link_to_itself_is_listed_like_any_file(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a" / "2.jpg").symlink_to("2.jpg")
    (tmp_path / "round.jpg").symlink_to("round.jpg")
    found = scan_folder(tmp_path)
    assert [image.name for image in found.images] == ["a/1.jpg", "a/2.jpg", "b/1.jpg"]
    assert found.ignored == ("round.jpg",)
