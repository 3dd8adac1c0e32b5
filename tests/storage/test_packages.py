"""Files that travel to another machine."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tlcli.errors import StorageError
from tlcli.storage.packages import pack


def test_a_file_and_what_lies_beside_it_are_unpacked_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.pb").write_bytes(b"graph")
    (tmp_path / "a.json").write_bytes(b"card")
    package = pack(tmp_path / "a.pb", ["a.json", "absent.txt"])
    path = pickle.loads(pickle.dumps(package)).unpack()
    assert path.parent != tmp_path
    assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == {
        "a.pb": b"graph", "a.json": b"card",
    }  # fmt: skip
    # Written once.
    before = path.stat().st_mtime_ns
    assert package.unpack() == path
    assert path.stat().st_mtime_ns == before


def test_a_folder_is_packed_with_all_below_it(tmp_path: Path) -> None:
    (tmp_path / "model" / "variables").mkdir(parents=True)
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "model" / "variables" / "data").write_bytes(b"weights")
    path = pack(tmp_path / "model").unpack()
    assert path.name == "model"
    assert (path / "variables" / "data").read_bytes() == b"weights"


def test_another_content_is_another_package(tmp_path: Path) -> None:
    (tmp_path / "a.pb").write_bytes(b"graph")
    before = pack(tmp_path / "a.pb").digest
    (tmp_path / "a.pb").write_bytes(b"other")
    assert pack(tmp_path / "a.pb").digest != before


def test_a_file_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file"):
        pack(tmp_path / "a.pb")
