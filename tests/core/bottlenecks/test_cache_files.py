"""What the cache knows of files, and when a file is read again."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.cache_database import FILE_NAME, StoreDatabase
from tlcli.core.bottlenecks.cache_files import file_contents
from tlcli.core.data import content_hashes
from tlcli.errors import ImageError
from tlcli.system.digests import sha256_bytes

A, B = sha256_bytes(b"a"), sha256_bytes(b"b")


def edit(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / FILE_NAME)
    with connection:
        connection.execute(statement)
    connection.close()


def made_file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as settled at once: their change time cannot be set back."""
    monkeypatch.setattr(content_hashes, "SETTLED_NS", -1_000_000_000)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of files that were read, as they are."""
    names: list[str] = []
    original = content_hashes.hash_file

    def counted(path: Path) -> object:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(content_hashes, "hash_file", counted)
    return names


def test_an_unchanged_file_is_read_once(tmp_path: Path, settled: None, reads: list[str]) -> None:
    image = made_file(tmp_path / "a.jpg", b"a")
    for _ in range(2):
        with BottleneckStore(tmp_path / "cache") as store:
            assert store.contents([image]) == [A]
    assert reads == ["a.jpg"]


def test_only_the_state_of_a_settled_file_is_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = made_file(tmp_path / "a.jpg", b"a")
    assert content_hashes.hash_file(image) == (A, None)
    monkeypatch.setattr(content_hashes, "SETTLED_NS", -1_000_000_000)
    assert content_hashes.hash_file(image) == (A, content_hashes.FileState.of(image.stat()))


def test_a_file_written_a_moment_ago_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    image = made_file(tmp_path / "a.jpg", b"a")
    with BottleneckStore(tmp_path / "cache") as store:
        assert store.contents([image]) == [A]
        before = image.stat()
        image.write_bytes(b"b")  # same size, and the time set back
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert store.contents([image]) == [B]
    assert reads == ["a.jpg", "a.jpg"]


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path, settled: None) -> None:
    image = made_file(tmp_path / "a.jpg", b"a")
    with BottleneckStore(tmp_path / "cache") as store:
        assert store.contents([image]) == [A]
        before = image.stat()
        time.sleep(0.05)  # one tick of the file system's clock
        image.write_bytes(b"b")
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert store.contents([image]) == [B]


def test_a_file_put_in_anothers_place_is_seen(tmp_path: Path, settled: None) -> None:
    first, second = made_file(tmp_path / "a.jpg", b"a"), made_file(tmp_path / "b.jpg", b"b")
    with BottleneckStore(tmp_path / "cache") as store:
        assert store.contents([first]) == [A]
        second.replace(first)
        assert store.contents([first]) == [B]


def test_contents_name_each_failure_and_keep_the_order(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    paths = [
        made_file(tmp_path / "b.jpg", b"b"),
        tmp_path / "absent.jpg",
        tmp_path,
        pipe,
        tmp_path / "null\0.jpg",
        made_file(tmp_path / "a.jpg", b"a"),
        tmp_path / "b.jpg",
    ]
    calls: list[tuple[str, int, int]] = []
    with BottleneckStore(tmp_path / "cache") as store:
        found = store.contents(paths, lambda *call: calls.append(call))
    assert [found[0], found[5], found[6]] == [B, A, B]
    assert [str(found[index]) for index in (1, 2, 3)] == [
        "no such file or directory",
        "not a regular file",
        "not a regular file",
    ]
    assert isinstance(found[4], ImageError)
    assert calls == [("hashing", done, 7) for done in range(1, 8)]


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_a_name_that_is_no_text_is_hashed(tmp_path: Path, settled: None) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg"))
    odd.write_bytes(b"a")
    with BottleneckStore(tmp_path / "cache") as store:
        assert store.contents([odd, odd]) == [A, A]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    image = made_file(tmp_path / "a.jpg", b"a")
    image.chmod(0)
    with BottleneckStore(tmp_path / "cache") as store:
        assert str(store.contents([image])[0]) == "permission denied"


def test_an_interrupted_run_keeps_what_it_hashed(
    tmp_path: Path, settled: None, reads: list[str]
) -> None:
    paths = [made_file(tmp_path / f"{i}.jpg", b"%d" % i) for i in range(40)]

    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with BottleneckStore(tmp_path / "cache") as store:
        with pytest.raises(KeyboardInterrupt):
            store.contents(paths, interrupt)
        reads.clear()
        store.contents(paths)
    assert sorted(reads) == sorted(path.name for path in paths[20:])


def test_each_part_of_a_long_list_is_written_down_on_its_own(
    tmp_path: Path, settled: None, reads: list[str]
) -> None:
    paths = [made_file(tmp_path / f"{i}.jpg", b"%d" % i) for i in range(8)]
    calls: list[int] = []
    database = StoreDatabase(tmp_path / "cache")
    found = file_contents(
        database, paths, lambda stage, done, total: calls.append(done), files_at_once=3
    )
    assert found == [sha256_bytes(b"%d" % i) for i in range(8)]
    assert calls == list(range(1, 9))
    reads.clear()
    assert file_contents(database, [str(path) for path in paths]) == found
    assert reads == []
    database.close()


def test_a_path_is_one_file_however_it_is_given(
    tmp_path: Path, settled: None, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_file(tmp_path / "a.jpg", b"a")
    monkeypatch.chdir(tmp_path)
    with BottleneckStore(tmp_path / "cache") as store:
        assert store.contents([Path("a.jpg")]) == [A]
        assert store.contents(["a.jpg", tmp_path / "a.jpg"]) == [A, A]
    assert reads == ["a.jpg"]


def test_a_damaged_row_of_a_file_is_read_again(tmp_path: Path, settled: None) -> None:
    path = made_file(tmp_path / "a.jpg", b"a")
    with BottleneckStore(tmp_path / "cache") as opened:
        assert opened.contents([path]) == [A]
    edit(tmp_path / "cache", "UPDATE files SET content = replace(content, 'c', 'd')")
    with BottleneckStore(tmp_path / "cache") as opened:
        assert opened.contents([path]) == [A]
