"""The cache's file: damaged, refused, or used by several at once."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.bottlenecks import cache_database
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.cache_database import FILE_NAME
from tlcli.errors import CacheError
from tlcli.system.cache_folders import bottleneck_folder
from tlcli.system.digests import sha256_bytes

A, B = sha256_bytes(b"a"), sha256_bytes(b"b")


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def edit(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / FILE_NAME)
    with connection:
        connection.execute(statement)
    connection.close()


# -- damage


def test_a_damaged_file_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        (tmp_path / FILE_NAME).write_bytes(b"no database " * 1000)
        with caplog.at_level(logging.WARNING, "tlcli"), BottleneckStore(tmp_path) as store:
            store.put("net", None, {A: vector(1)})
            assert list(store.get("net", None, [A])) == [A]
        assert (tmp_path / f"{FILE_NAME}.damaged-{number}").read_bytes().startswith(b"no data")
    assert caplog.text.count("was damaged") == 2


def test_a_damaged_page_found_later_is_moved_aside(tmp_path: Path) -> None:
    many = {sha256_bytes(str(i).encode()): np.ones(500, np.float32) for i in range(50)}
    with BottleneckStore(tmp_path) as store:
        store.put("net", None, many)
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    data[20480:] = b"\xa5" * (len(data) - 20480)  # past the schema
    path.write_bytes(data)
    with BottleneckStore(tmp_path) as store:
        assert store.get("net", None, many) == {}
        store.put("net", None, many)
        assert len(store.get("net", None, many)) == 50
    assert list(tmp_path.glob("*.damaged-1"))


def test_a_database_without_its_tables_is_moved_aside(tmp_path: Path) -> None:
    BottleneckStore(tmp_path).close()
    edit(tmp_path, "DROP TABLE vectors")
    with BottleneckStore(tmp_path) as store:
        store.put("net", None, {A: vector(1)})
    assert list(tmp_path.glob("*.damaged-1"))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=40)), max_size=4))
def test_whatever_happens_to_the_file_no_wrong_vector_is_returned(
    writes: list[tuple[float, bytes]],
) -> None:
    many = {sha256_bytes(str(i).encode()): np.full(64, i, np.float32) for i in range(40)}
    with tempfile.TemporaryDirectory() as folder:
        with BottleneckStore(Path(folder)) as store:
            store.put("net", None, many)
        path = Path(folder) / FILE_NAME
        data = bytearray(path.read_bytes())
        for position, written in writes:
            start = int(position * len(data))
            data[start : start + len(written)] = written
        path.write_bytes(data)
        try:
            with BottleneckStore(Path(folder)) as store:
                found = store.get("net", None, many)
        except CacheError:
            return
        for content, values in found.items():
            np.testing.assert_array_equal(values, many[content])


def test_a_schema_that_is_no_text_is_moved_aside(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as opened:
        opened.record_failure(A, "x")
    data = opened.path.read_bytes()
    opened.path.write_bytes(data.replace(b"CREATE TABLE vectors", b"CREATE TABL\xe9 vectors"))
    with BottleneckStore(tmp_path) as opened:
        assert opened.failures([A]) == {}
    assert (tmp_path / f"{FILE_NAME}.damaged-1").exists()


# -- folders and disks that refuse


def test_the_default_folder_is_the_cache() -> None:
    with BottleneckStore() as store:
        assert store.folder == bottleneck_folder()
    assert (bottleneck_folder() / FILE_NAME).is_file()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match=r"file/cache cannot be used.*--bottleneck_dir"):
        BottleneckStore(tmp_path / "file" / "cache")


@pytest.mark.parametrize("deep", [False, True])
def test_where_nothing_can_be_written_is_said_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deep: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    folder = tmp_path / "new" / "cache" if deep else tmp_path
    if deep:
        monkeypatch.setattr(Path, "mkdir", read_only)
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append(path))
    with pytest.raises(CacheError) as refused:
        BottleneckStore(folder)
    assert str(refused.value) == (
        f"the bottleneck cache in {folder} cannot be used: nothing can be written there; name a "
        "folder that can be written with --bottleneck_dir, or for all caches in TLCLI_CACHE_DIR"
    )
    assert asked == [tmp_path]


def read_only(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_folder_in_the_databases_place_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(CacheError, match="--bottleneck_dir"):
        BottleneckStore(tmp_path)


@pytest.mark.parametrize(
    ("pragma", "reason"),
    [("PRAGMA query_only=1", "readonly"), ("PRAGMA max_page_count=1", "full")],
)
def test_a_refused_write_is_one_sentence(tmp_path: Path, pragma: str, reason: str) -> None:
    with BottleneckStore(tmp_path) as store:
        store.put("net", None, {A: vector(1)})
        assert store._database._connection is not None
        store._database._connection.execute(pragma)
        with pytest.raises(CacheError, match=rf"{reason}.*--bottleneck_dir"):
            store.put(
                "net",
                None,
                {B: np.zeros(1, np.float32), A: np.zeros(1, np.float32)}
                | {sha256_bytes(str(i).encode()): np.zeros(1, np.float32) for i in range(500)},
            )
        assert list(store.get("net", None, [A, B])) == [A]  # nothing of the failed write
        store._database._connection.execute("PRAGMA query_only=0")
        store._database._connection.execute("PRAGMA max_page_count=100000")
        store.put("net", None, {B: vector(1)})  # and room was made
        assert list(store.get("net", None, [B])) == [B]


def test_a_cache_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    BottleneckStore(tmp_path).close()
    edit(tmp_path, "PRAGMA user_version=99")
    with pytest.raises(CacheError, match="newer version"):
        BottleneckStore(tmp_path)
    assert not list(tmp_path.glob("*.damaged*"))


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = BottleneckStore(tmp_path)
    store.close()
    store.close()
    with pytest.raises(CacheError, match="closed"):
        store.get("net", None, [A])


def test_a_rename_that_fails_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / FILE_NAME).write_bytes(b"no database " * 1000)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(CacheError, match="Read-only file system"):
        BottleneckStore(tmp_path)


# -- several at once


def hold(folder: Path) -> sqlite3.Connection:
    other = sqlite3.connect(folder / FILE_NAME, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_another_writer_is_waited_for(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as store:
        other = hold(tmp_path)
        timer = threading.Timer(0.2, other.execute, ["COMMIT"])
        timer.start()
        store.put("net", None, {A: vector(1)})
        timer.join()
        other.close()
        assert list(store.get("net", None, [A])) == [A]


def test_a_writer_that_never_ends_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_database, "BUSY_SECONDS", 0.05)
    with BottleneckStore(tmp_path) as store:
        store.put("net", None, {A: vector(1)})
        other = hold(tmp_path)
        assert list(store.get("net", None, [A])) == [A]  # reading goes on
        with pytest.raises(CacheError, match="locked"):
            store.put("net", None, {B: vector(1)})
        other.close()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from tlcli.core.bottlenecks.cache import BottleneckStore
first = int(sys.argv[2])
for i in range(first, first + 40):
    with BottleneckStore(Path(sys.argv[1])) as store:
        store.put("net", None, {f"{i:064d}": np.full(8, i, np.float32)})
"""


def test_several_processes_make_and_fill_one_cache(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "cache")]
    running = [subprocess.Popen([*command, str(first)]) for first in (0, 40, 80)]
    assert [process.wait(timeout=300) for process in running] == [0, 0, 0]
    with BottleneckStore(tmp_path / "cache") as store:
        found = store.get("net", None, [f"{i:064d}" for i in range(120)])
    assert [found[f"{i:064d}"][0] for i in range(120)] == list(range(120))
    assert not list((tmp_path / "cache").glob("*.damaged*"))


def test_threads_share_one_store(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as store:
        threads = [
            threading.Thread(target=store.put, args=("net", None, {f"{i:064d}": vector(i)}))
            for i in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.get("net", None, [f"{i:064d}" for i in range(16)])) == 16
