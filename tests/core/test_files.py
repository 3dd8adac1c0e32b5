"""Files are whole or not there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tlcli.core import files
from tlcli.errors import OutputError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "labels.txt"
    files.write_text(path, "daisy\n")
    files.write_text(path, "데이지\n")
    assert path.read_text(encoding="utf-8") == "데이지\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["labels.txt"]


def test_a_failing_block_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(b"old")

    def fail_halfway() -> None:
        with files.atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["graph.pb"]


def test_a_folder_replaces_a_filled_folder(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("old")
    with files.atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("new")
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*graph\.pb"):
        files.write_bytes(tmp_path / "file" / "graph.pb", b"")


def test_only_old_temporary_files_are_swept(tmp_path: Path) -> None:
    old = tmp_path / (files.TEMPORARY_PREFIX + "old")
    young = tmp_path / (files.TEMPORARY_PREFIX + "young")
    old.mkdir()
    young.mkdir()
    long_ago = time.time() - files.STALE_SECONDS - 60
    os.utime(old, (long_ago, long_ago))
    files.sweep_temporary(tmp_path)
    assert not old.exists()
    assert young.exists()


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_file(path) == files.sha256_bytes(b"abc") == expected
