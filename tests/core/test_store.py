"""The bottleneck cache: what it keeps, what it distrusts, and how it fails."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core import contents, seen_files, store, store_database
from tlcli.core.files import sha256_bytes
from tlcli.core.locations import bottleneck_folder
from tlcli.core.store import BottleneckStore
from tlcli.core.store_database import FILE_NAME
from tlcli.errors import CacheError, ImageError

A, B = sha256_bytes(b"a"), sha256_bytes(b"b")


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def edit(folder: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(folder / FILE_NAME)
    with connection:
        connection.execute(statement, values)
    connection.close()


def made_file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as settled at once: their change time cannot be set back."""
    monkeypatch.setattr(contents, "SETTLED_NS", -1_000_000_000)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of files that were read, as they are."""
    names: list[str] = []
    original = contents.hash_file

    def counted(path: Path) -> object:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(contents, "hash_file", counted)
    return names


# -- vectors


def test_a_vector_comes_back_in_the_next_run(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as kept:
        kept.put("net", None, {A: vector(1, 2)})
    with BottleneckStore(tmp_path) as kept:
        found = kept.get("net", None, [A, B])
        assert list(found) == [A]
        assert found[A].dtype == np.float32
        assert found[A].tolist() == [1, 2]
        found[A][0] = 5  # belongs to the caller


def test_no_vector_meets_another_network_view_or_image(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as kept:
        kept.put("net", None, {A: vector(1)})
        kept.put("net", "flip=1", {A: vector(2)})
        kept.put("other", None, {A: vector(3, 4)})
        assert kept.get("net", None, [B]) == {}
        assert kept.get("net", "flip=0", [A]) == {}
        assert kept.get("third", None, [A]) == {}
        assert kept.get("net", "flip=1", [A])[A].tolist() == [2]
        assert kept.get("other", None, [A])[A].tolist() == [3, 4]
        assert (kept.bottleneck_size("net"), kept.bottleneck_size("other")) == (1, 2)
        assert kept.bottleneck_size("third") is None


def test_more_contents_than_sqlite_takes_at_once(tmp_path: Path) -> None:
    many = {sha256_bytes(str(i).encode()): vector(i) for i in range(2500)}
    with BottleneckStore(tmp_path) as kept:
        kept.put("net", None, many)
        found = kept.get("net", None, [*many, *many])
    assert {key: value.tolist() for key, value in found.items()} == {
        key: value.tolist() for key, value in many.items()
    }


def test_vectors_are_written_into_the_rows_of_a_matrix(tmp_path: Path) -> None:
    contents = [sha256_bytes(str(i).encode()) for i in range(1200)]
    with BottleneckStore(tmp_path) as kept:
        kept.put("net", None, {c: vector(i, -i) for i, c in enumerate(contents) if i % 3})
        matrix = np.full((2600, 2), 7, np.float32)
        rows = list(range(2599, 199, -1))
        found = kept.fill("net", None, [*contents, *contents], matrix, rows)
        assert found.tolist() == [i % 3 > 0 for i in range(1200)] * 2
        for index, row in enumerate(rows):
            i = index % 1200
            assert matrix[row].tolist() == ([i, -i] if i % 3 else [7, 7])
        assert (matrix[:200] == 7).all()
        narrow = np.zeros((1, 1), np.float32)
        assert not kept.fill("net", None, contents[1:2], narrow).any()
        assert not kept.fill("other", None, contents[1:2], matrix).any()


def test_counting_reads_no_vector(tmp_path: Path) -> None:
    names = [sha256_bytes(str(number).encode()) for number in range(1200)]
    with BottleneckStore(tmp_path) as cache:
        assert cache.count("net", names) == 0
        cache.put("net", None, {name: vector(1, 2) for name in names[:1100]})
        cache.put("net", "flipped", {name: vector(1, 2) for name in names})
        cache.put("other", None, {names[0]: vector(1, 2)})
        assert cache.count("net", names) == 1100
        assert cache.count("net", names[1050:]) == 50
        assert cache.count("other", names) == 1
        assert cache.count("net", []) == 0


@settings(deadline=None, max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["n1", "n2"]),
            st.sampled_from([None, "v1", "v2"]),
            st.sampled_from([A, B]),
            st.lists(st.floats(width=32), min_size=3, max_size=3),
        ),
        max_size=12,
    )
)
def test_the_last_vector_put_is_the_one_got(
    puts: list[tuple[str, str | None, str, list[float]]],
) -> None:
    truth: dict[tuple[str, str | None, str], np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder, BottleneckStore(Path(folder)) as kept:
        for network, view, content, values in puts:
            truth[network, view, content] = vector(*values)
            kept.put(network, view, {content: vector(*values)})
        for network in ("n1", "n2"):
            for view in (None, "v1", "v2"):
                found = kept.get(network, view, [A, B])
                wanted = {c: v for (n, w, c), v in truth.items() if (n, w) == (network, view)}
                assert {c: v.tobytes() for c, v in found.items()} == {
                    c: v.tobytes() for c, v in wanted.items()
                }


def test_vectors_of_another_length_are_refused(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as kept:
        kept.put("net", None, {A: vector(1, 2)})
        with pytest.raises(CacheError, match="vectors of 2 values, not 1"):
            kept.put("net", None, {B: vector(1)})
        assert list(kept.get("net", None, [A, B])) == [A]
        kept.put("net", None, {B: vector(3, 4)})  # the refused write is not left open
        assert list(kept.get("net", None, [B])) == [B]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE vectors SET checksum = checksum + 1",
        "UPDATE vectors SET vector = x'00000040'",
        "UPDATE vectors SET vector = x'0000'",
        "UPDATE vectors SET vector = x'000040400000803f'",
        "UPDATE vectors SET vector = 'text'",
        "UPDATE vectors SET vector = 5",
        f"UPDATE vectors SET content = '{B}'",
        "UPDATE vectors SET view = 'x'",
        "UPDATE backbones SET fingerprint = 'other'",
        "UPDATE backbones SET bottleneck_size = 1",
    ],
)
def test_a_row_that_was_changed_is_a_miss(tmp_path: Path, change: str) -> None:
    with BottleneckStore(tmp_path) as kept:
        kept.put("net", None, {A: vector(1, 3)})
    edit(tmp_path, change)
    with BottleneckStore(tmp_path) as kept:
        for network in ("net", "other"):
            for view in (None, "x"):
                assert kept.get(network, view, [A, B]) == {}


# -- damage


def test_a_damaged_file_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (1, 2):
        (tmp_path / FILE_NAME).write_bytes(b"no database " * 1000)
        with caplog.at_level(logging.WARNING, "tlcli"), BottleneckStore(tmp_path) as kept:
            kept.put("net", None, {A: vector(1)})
            assert list(kept.get("net", None, [A])) == [A]
        assert (tmp_path / f"{FILE_NAME}.damaged-{number}").read_bytes().startswith(b"no data")
    assert caplog.text.count("was damaged") == 2


def test_a_damaged_page_found_later_is_moved_aside(tmp_path: Path) -> None:
    many = {sha256_bytes(str(i).encode()): np.ones(500, np.float32) for i in range(50)}
    with BottleneckStore(tmp_path) as kept:
        kept.put("net", None, many)
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    data[20480:] = b"\xa5" * (len(data) - 20480)  # past the schema
    path.write_bytes(data)
    with BottleneckStore(tmp_path) as kept:
        assert kept.get("net", None, many) == {}
        kept.put("net", None, many)
        assert len(kept.get("net", None, many)) == 50
    assert list(tmp_path.glob("*.damaged-1"))


def test_a_database_without_its_tables_is_moved_aside(tmp_path: Path) -> None:
    BottleneckStore(tmp_path).close()
    edit(tmp_path, "DROP TABLE vectors")
    with BottleneckStore(tmp_path) as kept:
        kept.put("net", None, {A: vector(1)})
    assert list(tmp_path.glob("*.damaged-1"))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=40)), max_size=4))
def test_whatever_happens_to_the_file_no_wrong_vector_is_returned(
    writes: list[tuple[float, bytes]],
) -> None:
    many = {sha256_bytes(str(i).encode()): np.full(64, i, np.float32) for i in range(40)}
    with tempfile.TemporaryDirectory() as folder:
        with BottleneckStore(Path(folder)) as kept:
            kept.put("net", None, many)
        path = Path(folder) / FILE_NAME
        data = bytearray(path.read_bytes())
        for place, written in writes:
            start = int(place * len(data))
            data[start : start + len(written)] = written
        path.write_bytes(data)
        try:
            with BottleneckStore(Path(folder)) as kept:
                found = kept.get("net", None, many)
        except CacheError:
            return
        for content, values in found.items():
            np.testing.assert_array_equal(values, many[content])


# -- contents of files


def test_an_unchanged_file_is_read_once(tmp_path: Path, settled: None, reads: list[str]) -> None:
    image = made_file(tmp_path / "a.jpg", b"a")
    for _ in range(2):
        with BottleneckStore(tmp_path / "cache") as kept:
            assert kept.content(image) == A
    assert reads == ["a.jpg"]


def test_only_the_state_of_a_settled_file_is_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = made_file(tmp_path / "a.jpg", b"a")
    assert contents.hash_file(image) == (A, None)
    monkeypatch.setattr(contents, "SETTLED_NS", -1_000_000_000)
    assert contents.hash_file(image) == (A, contents.FileState.of(image.stat()))


def test_a_file_written_a_moment_ago_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    image = made_file(tmp_path / "a.jpg", b"a")
    with BottleneckStore(tmp_path / "cache") as kept:
        assert kept.content(image) == A
        before = image.stat()
        image.write_bytes(b"b")  # same size, and the time set back
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert kept.content(image) == B
    assert reads == ["a.jpg", "a.jpg"]


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path, settled: None) -> None:
    image = made_file(tmp_path / "a.jpg", b"a")
    with BottleneckStore(tmp_path / "cache") as kept:
        assert kept.content(image) == A
        before = image.stat()
        time.sleep(0.05)  # one tick of the file system's clock
        image.write_bytes(b"b")
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert kept.content(image) == B


def test_a_file_put_in_anothers_place_is_seen(tmp_path: Path, settled: None) -> None:
    first, second = made_file(tmp_path / "a.jpg", b"a"), made_file(tmp_path / "b.jpg", b"b")
    with BottleneckStore(tmp_path / "cache") as kept:
        assert kept.content(first) == A
        second.replace(first)
        assert kept.content(first) == B


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
    with BottleneckStore(tmp_path / "cache") as kept:
        found = kept.contents(paths, lambda *call: calls.append(call))
        with pytest.raises(ImageError, match="no such file"):
            kept.content(paths[1])
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
    with BottleneckStore(tmp_path / "cache") as kept:
        assert kept.contents([odd, odd]) == [A, A]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    image = made_file(tmp_path / "a.jpg", b"a")
    image.chmod(0)
    with BottleneckStore(tmp_path / "cache") as kept:
        assert str(kept.contents([image])[0]) == "permission denied"


def test_an_interrupted_run_keeps_what_it_hashed(
    tmp_path: Path, settled: None, reads: list[str]
) -> None:
    paths = [made_file(tmp_path / f"{i}.jpg", b"%d" % i) for i in range(40)]

    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with BottleneckStore(tmp_path / "cache") as kept:
        with pytest.raises(KeyboardInterrupt):
            kept.contents(paths, interrupt)
        reads.clear()
        kept.contents(paths)
    assert sorted(reads) == sorted(path.name for path in paths[20:])


def test_each_part_of_a_long_list_is_written_down_on_its_own(
    tmp_path: Path, settled: None, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_files, "_FILES_AT_ONCE", 3)
    paths = [made_file(tmp_path / f"{i}.jpg", b"%d" % i) for i in range(8)]
    calls: list[int] = []
    with BottleneckStore(tmp_path / "cache") as kept:
        contents_ = kept.contents(paths, lambda stage, done, total: calls.append(done))
        assert contents_ == [sha256_bytes(b"%d" % i) for i in range(8)]
        assert calls == list(range(1, 9))
        reads.clear()
        assert kept.contents([str(path) for path in paths]) == contents_
        assert reads == []


def test_a_path_is_one_file_however_it_is_given(
    tmp_path: Path, settled: None, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_file(tmp_path / "a.jpg", b"a")
    monkeypatch.chdir(tmp_path)
    with BottleneckStore(tmp_path / "cache") as kept:
        assert kept.contents([Path("a.jpg")]) == [A]
        assert kept.contents(["a.jpg", tmp_path / "a.jpg"]) == [A, A]
    assert reads == ["a.jpg"]


# -- images that cannot be read


def test_a_failure_is_remembered_for_this_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BottleneckStore(tmp_path) as kept:
        assert kept.failure(A) is None
        kept.record_failure(A, "truncated image")
    with BottleneckStore(tmp_path) as kept:
        assert kept.failure(A) == "truncated image"
        assert kept.failures([A, B, A]) == {A: "truncated image"}
        monkeypatch.setattr(store, "PREPROCESSING_VERSION", 2)
        assert kept.failure(A) is None


# -- folders and disks that refuse


def test_the_default_folder_is_the_cache() -> None:
    with BottleneckStore() as kept:
        assert kept.folder == bottleneck_folder()
    assert (bottleneck_folder() / FILE_NAME).is_file()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheError, match=r"file/cache cannot be used.*--bottleneck_dir"):
        BottleneckStore(tmp_path / "file" / "cache")


def test_a_folder_in_the_databases_place_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(CacheError, match="--bottleneck_dir"):
        BottleneckStore(tmp_path)


@pytest.mark.parametrize(
    ("pragma", "reason"),
    [("PRAGMA query_only=1", "readonly"), ("PRAGMA max_page_count=1", "full")],
)
def test_a_refused_write_is_one_sentence(tmp_path: Path, pragma: str, reason: str) -> None:
    with BottleneckStore(tmp_path) as kept:
        kept.put("net", None, {A: vector(1)})
        assert kept._database._connection is not None
        kept._database._connection.execute(pragma)
        with pytest.raises(CacheError, match=rf"{reason}.*--bottleneck_dir"):
            kept.put(
                "net",
                None,
                {B: np.zeros(1, np.float32), A: np.zeros(1, np.float32)}
                | {sha256_bytes(str(i).encode()): np.zeros(1, np.float32) for i in range(500)},
            )
        assert list(kept.get("net", None, [A, B])) == [A]  # nothing of the failed write
        kept._database._connection.execute("PRAGMA query_only=0")
        kept._database._connection.execute("PRAGMA max_page_count=100000")
        kept.put("net", None, {B: vector(1)})  # and room was made
        assert list(kept.get("net", None, [B])) == [B]


def test_a_cache_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    BottleneckStore(tmp_path).close()
    edit(tmp_path, "PRAGMA user_version=99")
    with pytest.raises(CacheError, match="newer version"):
        BottleneckStore(tmp_path)
    assert not list(tmp_path.glob("*.damaged*"))


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    kept = BottleneckStore(tmp_path)
    kept.close()
    kept.close()
    with pytest.raises(CacheError, match="closed"):
        kept.get("net", None, [A])


# -- several at once


def hold(folder: Path) -> sqlite3.Connection:
    other = sqlite3.connect(folder / FILE_NAME, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_another_writer_is_waited_for(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as kept:
        other = hold(tmp_path)
        timer = threading.Timer(0.2, other.execute, ["COMMIT"])
        timer.start()
        kept.put("net", None, {A: vector(1)})
        timer.join()
        other.close()
        assert list(kept.get("net", None, [A])) == [A]


def test_a_writer_that_never_ends_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_database, "BUSY_SECONDS", 0.05)
    with BottleneckStore(tmp_path) as kept:
        kept.put("net", None, {A: vector(1)})
        other = hold(tmp_path)
        assert list(kept.get("net", None, [A])) == [A]  # reading goes on
        with pytest.raises(CacheError, match="locked"):
            kept.put("net", None, {B: vector(1)})
        other.close()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from tlcli.core.store import BottleneckStore
first = int(sys.argv[2])
for i in range(first, first + 40):
    with BottleneckStore(Path(sys.argv[1])) as kept:
        kept.put("net", None, {f"{i:064d}": np.full(8, i, np.float32)})
"""


def test_several_processes_make_and_fill_one_cache(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "cache")]
    running = [subprocess.Popen([*command, str(first)]) for first in (0, 40, 80)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    with BottleneckStore(tmp_path / "cache") as kept:
        found = kept.get("net", None, [f"{i:064d}" for i in range(120)])
    assert [found[f"{i:064d}"][0] for i in range(120)] == list(range(120))
    assert not list((tmp_path / "cache").glob("*.damaged*"))


def test_threads_share_one_store(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as kept:
        threads = [
            threading.Thread(target=kept.put, args=("net", None, {f"{i:064d}": vector(i)}))
            for i in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(kept.get("net", None, [f"{i:064d}" for i in range(16)])) == 16


def test_a_rename_that_fails_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / FILE_NAME).write_bytes(b"no database " * 1000)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(CacheError, match="Read-only file system"):
        BottleneckStore(tmp_path)


def test_a_damaged_row_of_a_file_is_read_again(tmp_path: Path, settled: None) -> None:
    path = made_file(tmp_path / "a.jpg", b"a")
    with BottleneckStore(tmp_path / "cache") as opened:
        assert opened.content(path) == A
    edit(tmp_path / "cache", "UPDATE files SET content = replace(content, 'c', 'd')")
    with BottleneckStore(tmp_path / "cache") as opened:
        assert opened.content(path) == A


@pytest.mark.parametrize("damaged", [5, 0, -1, 1 << 60, "x"])
def test_a_damaged_size_is_replaced_where_no_vector_bears_it_out(
    tmp_path: Path, damaged: object
) -> None:
    vectors = {A: vector(1, 2, 3, 4)}
    with BottleneckStore(tmp_path) as opened:
        opened.put("f", None, vectors)
    edit(tmp_path, "UPDATE backbones SET bottleneck_size = ?", damaged)
    with BottleneckStore(tmp_path) as opened:
        assert opened.get("f", None, vectors) == {}
        opened.put("f", None, vectors)
        assert np.array_equal(opened.get("f", None, vectors)[A], vectors[A])


def test_a_schema_that_is_no_text_is_moved_aside(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as opened:
        opened.record_failure(A, "x")
    data = opened.path.read_bytes()
    opened.path.write_bytes(data.replace(b"CREATE TABLE vectors", b"CREATE TABL\xe9 vectors"))
    with BottleneckStore(tmp_path) as opened:
        assert opened.failure(A) is None
    assert (tmp_path / f"{FILE_NAME}.damaged-1").exists()
