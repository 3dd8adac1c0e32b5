"""Images into folders: safe names, nothing overwritten, nothing by halves."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label.sorting import Sorter, check_output_folder, folder_name, folder_names
from tlcli.errors import OutputError, UsageError


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("house with pool", "house with pool"),
        ("수영장 집", "수영장 집"),
        ("a/b", "a_b"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        (" . ", "_"),
        ("../../etc/passwd", "__.._etc_passwd"),
        (".hidden", "_hidden"),
        ("a\nb\x00c\x1b", "a_b_c_"),
        ("con", "con_"),
        ("NUL.txt", "NUL.txt_"),
        ("console", "console"),
        ('a<b>:"|?*\\', "a_b_______"),
        ("dots...", "dots"),
    ],
)
def test_names_of_folders(label: str, name: str) -> None:
    assert folder_name(label) == name


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_no_label_leads_out_of_its_folder(label: str) -> None:
    name = folder_name(label)
    assert name
    assert Path(name).name == name
    assert name not in (".", "..")
    assert len(name.encode("utf-8")) <= 210
    assert name == name.rstrip(". ")


def test_labels_that_come_out_alike_get_numbers() -> None:
    assert folder_names(["a/b", "a_b", "A_B", "c"]) == ["a_b", "a_b (2)", "A_B (3)", "c"]
    long = ["x" * 300, "x" * 301]
    assert len(set(folder_names(long))) == 2


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    place = tmp_path / "in" / "a.jpg"
    place.parent.mkdir()
    place.write_bytes(b"first")
    os.utime(place, (1000, 1000))
    return place


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_copies_keep_their_date_and_a_second_run_adds_nothing(photo: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with Sorter(tmp_path / "out", ["pool", "none"]) as sorter:
            place = sorter.put(str(photo), "pool", 0.9)
        assert place == tmp_path / "out" / "pool" / "a.jpg"
        assert files(tmp_path / "out") == {"pool/a.jpg": b"first"}
        assert sorter.counts == {"pool": 1}
    assert place is not None
    assert place.stat().st_mtime == 1000
    assert not place.samefile(photo)


def test_a_name_that_is_taken_gets_a_number(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for content in (b"second", b"third"):
        with Sorter(out, ["pool"]) as sorter:
            sorter.put(str(photo), "pool", 1)
            photo.write_bytes(content)
            sorter.put(str(photo), "pool", 1)
    assert files(out) == {
        "pool/a.jpg": b"first",
        "pool/a-2.jpg": b"second",
        "pool/a-3.jpg": b"third",
    }


def test_a_folder_or_a_dangling_link_in_the_way_stays(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "pool" / "a.jpg").mkdir(parents=True)
    (tmp_path / "out" / "pool" / "a-2.jpg").symlink_to(tmp_path / "absent")
    with Sorter(tmp_path / "out", ["pool"]) as sorter:
        assert sorter.put(str(photo), "pool", 1) == tmp_path / "out" / "pool" / "a-3.jpg"
    assert not (tmp_path / "absent").exists()


def test_below_the_threshold_is_unsure(photo: Path, tmp_path: Path) -> None:
    with Sorter(tmp_path / "out", ["pool", "Unsure"], threshold=0.5) as sorter:
        sorter.put(str(photo), "pool", 0.49999)
        sorter.put(str(photo), "pool", 0.5)
        sorter.put(str(photo), "Unsure", 0.9)
    assert set(files(tmp_path / "out")) == {"pool/a.jpg", "Unsure/a.jpg", "unsure (2)/a.jpg"}


def test_without_a_threshold_no_score_is_unsure(photo: Path, tmp_path: Path) -> None:
    with Sorter(tmp_path / "out", ["pool"]) as sorter:
        sorter.put(str(photo), "pool", -3.5)
    assert set(files(tmp_path / "out")) == {"pool/a.jpg"}


def test_hard_links(photo: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with Sorter(tmp_path / "out", ["pool"], link=True) as sorter:
            place = sorter.put(str(photo), "pool", 1)
        assert place == tmp_path / "out" / "pool" / "a.jpg"
        assert place.samefile(photo)
        assert not place.is_symlink()


def test_symbolic_links_where_there_are_no_hard_ones(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.chdir(photo.parent)
    with Sorter(tmp_path / "out", ["pool"], link=True) as sorter:
        place = sorter.put("a.jpg", "pool", 1)
        assert place is not None
        assert place.is_symlink()
        assert place.read_bytes() == b"first"
        (photo.parent / "sub").mkdir()
        (photo.parent / "sub" / "a.jpg").write_bytes(b"other")
        assert sorter.put("sub/a.jpg", "pool", 1) == place.with_name("a-2.jpg")


def test_copies_on_a_file_system_without_links(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with Sorter(tmp_path / "out", ["pool"]) as sorter:
        sorter.put(str(photo), "pool", 1)
        photo.write_bytes(b"second")
        sorter.put(str(photo), "pool", 1)
    assert files(tmp_path / "out") == {"pool/a.jpg": b"first", "pool/a-2.jpg": b"second"}


def test_an_image_that_is_gone_is_named_and_the_others_go_on(
    photo: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Sorter(tmp_path / "out", ["pool"]) as sorter:
        assert sorter.put(str(tmp_path / "gone.jpg"), "pool", 1) is None
        assert sorter.put(str(photo), "pool", 1) is not None
    assert sorter.failed == 1
    assert "gone.jpg stays where it is" in caplog.text
    assert files(tmp_path / "out") == {"pool/a.jpg": b"first"}


def test_a_full_disk_ends_the_run_and_leaves_nothing_by_halves(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(source: object, target: object) -> None:
        Path(str(target)).write_bytes(b"fi")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fill)
    with Sorter(tmp_path / "out", ["pool"]) as sorter, pytest.raises(OutputError, match="No space"):
        sorter.put(str(photo), "pool", 1)
    assert files(tmp_path / "out") == {}


def test_a_place_that_cannot_be_made(photo: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.jpg"):
        Sorter(photo, ["pool"])


def test_a_folder_within_the_images_is_refused(photo: Path, tmp_path: Path) -> None:
    check_output_folder(tmp_path / "out", [str(photo.parent), str(photo), "*.jpg"], "--sort_into")
    for folder in (photo.parent, photo.parent / "x" / "y"):
        with pytest.raises(UsageError, match="--sort_into"):
            check_output_folder(folder, [str(photo.parent)], "--sort_into")
