"""Objects in a bucket and files: the same functions, the same results."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.s3_server import Bucket
from tests.support import tlcli
from tlcli.errors import OutputError, StorageError
from tlcli.storage.locations import Entry
from tlcli.storage.objects import check_output, entries, entry, exists, read, remove, write


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a folder of this machine, and one in a bucket."""
    if request.param == "folder":
        return str(tmp_path / "home")
    bucket: Bucket = request.getfixturevalue("bucket")
    return f"{bucket.url}/home"


def test_what_is_written_is_read_listed_and_removed(home: str) -> None:
    write(f"{home}/b.txt", b"two")
    write(f"{home}/a/한 #?%.txt", iter([b"on", b"e"]))
    found = list(entries(home))
    assert found == [f"{home}/a/한 #?%.txt", f"{home}/b.txt"]
    assert [each.size for each in found] == [3, 3]
    assert all(each.change for each in found)
    assert [read(each) for each in found] == [b"one", b"two"]
    assert entry(found[1]) == found[1]
    assert exists(home)
    remove(found[1])
    remove(found[1])  # again
    assert entry(found[1]) is None
    assert not exists(found[1])
    assert list(entries(home)) == found[:1]


def test_the_mark_changes_with_the_content(home: str) -> None:
    write(f"{home}/b.txt", b"two")
    before = entry(f"{home}/b.txt")
    write(f"{home}/b.txt", b"owt")
    after = entry(f"{home}/b.txt")
    assert before is not None
    assert after is not None
    assert before.change != after.change


def test_an_empty_object_is_written_and_read(home: str) -> None:
    write(f"{home}/empty", b"")
    assert read(f"{home}/empty") == b""


def test_a_write_that_fails_leaves_what_was_there(home: str) -> None:
    def parts() -> Iterator[bytes]:
        yield bytes(20 << 20)  # more than a part of an upload
        raise RuntimeError("the program failed")

    write(f"{home}/graph.pb", b"old")
    with pytest.raises(RuntimeError):
        write(f"{home}/graph.pb", parts())
    with pytest.raises(RuntimeError):
        write(f"{home}/new.pb", parts())
    assert read(f"{home}/graph.pb") == b"old"
    assert list(entries(home)) == [f"{home}/graph.pb"]


def test_what_is_absent_and_what_is_too_large_have_reasons(home: str) -> None:
    write(f"{home}/large", bytes(2 << 20))
    with pytest.raises(StorageError, match="no such") as caught:
        read(f"{home}/absent")
    assert caught.value.is_absent
    with pytest.raises(StorageError, match="larger than 1 MB"):
        read(f"{home}/large", limit=1 << 20)


@pytest.mark.slow
def test_large_objects_are_uploaded_in_parts(bucket: Bucket) -> None:
    content = bytes(range(256)) * (144 << 10)  # 36 MB
    starts = range(0, len(content), 1 << 20)
    write(f"{bucket.url}/large", (content[start : start + (1 << 20)] for start in starts))
    assert bucket.get("large") == content
    assert bucket.faults.count("PUT", "/large") == 3
    assert bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []) == []


@pytest.mark.slow
class TestABucket:
    def test_a_listing_of_several_pages_is_streamed(self, bucket: Bucket) -> None:
        for number in range(1001):
            bucket.put(f"many/{number:04}.txt", b"x")
        bucket.faults.requests.clear()
        listing = entries(f"{bucket.url}/many")
        assert next(listing) == f"{bucket.url}/many/0000.txt"
        assert bucket.faults.count("GET") == 1
        assert len(list(listing)) == 1000
        assert bucket.faults.count("GET") == 2

    def test_a_listing_is_of_the_folder_and_not_of_its_namesakes(self, bucket: Bucket) -> None:
        for key in ("photos/a.txt", "photos2/b.txt", "photos/"):
            bucket.put(key, b"")
        assert list(entries(f"{bucket.url}/photos")) == [f"{bucket.url}/photos/a.txt"]
        assert list(entries(f"{bucket.url}/photos/")) == [f"{bucket.url}/photos/a.txt"]

    def test_an_object_of_a_listing_is_one_request(self, bucket: Bucket) -> None:
        bucket.put("a.txt", b"one")
        (found,) = entries(bucket.url)
        bucket.faults.requests.clear()
        assert read(found) == b"one"
        assert sum(bucket.faults.requests.values()) == 1

    def test_throttling_is_waited_for(self, bucket: Bucket) -> None:
        bucket.put("a.txt", b"one")
        bucket.faults.throttled = 3
        assert read(f"{bucket.url}/a.txt") == b"one"
        bucket.faults.throttled = 3
        assert list(entries(bucket.url)) == [f"{bucket.url}/a.txt"]
        bucket.faults.throttled = 3
        write(f"{bucket.url}/b.txt", b"two")
        assert bucket.get("b.txt") == b"two"

    def test_a_body_that_breaks_is_fetched_again(self, bucket: Bucket) -> None:
        content = bytes(range(256)) * 1000
        bucket.put("a.bin", content)
        bucket.faults.broken = 2
        assert read(f"{bucket.url}/a.bin") == content
        assert bucket.faults.count("GET", "a.bin") == 3

    def test_a_body_that_always_breaks_is_no_content(self, bucket: Bucket) -> None:
        bucket.put("a.bin", bytes(1000))
        bucket.faults.broken = 1000
        with pytest.raises(StorageError, match="the connection broke"):
            read(f"{bucket.url}/a.bin")

    def test_an_object_that_changed_since_its_listing_is_not_taken(self, bucket: Bucket) -> None:
        bucket.put("a.txt", b"one")
        (found,) = entries(bucket.url)
        bucket.put("a.txt", b"three")
        with pytest.raises(StorageError, match="5 of 3 bytes arrived"):
            read(found)

    def test_refusals_are_one_sentence(self, bucket: Bucket) -> None:
        bucket.put("secret/a.txt", b"one")
        bucket.faults.denied = "secret"
        with pytest.raises(StorageError, match="access is denied"):
            read(f"{bucket.url}/secret/a.txt")
        with pytest.raises(OutputError, match="access is denied"):
            write(f"{bucket.url}/secret/b.txt", b"two")
        with pytest.raises(StorageError, match="there is no bucket 'no-such-bucket-1'"):
            list(entries("s3://no-such-bucket-1/photos"))
        with pytest.raises(OutputError, match="there is no bucket 'no-such-bucket-1'"):
            write("s3://no-such-bucket-1/photos", b"")


def test_an_entry_keeps_its_facts_on_the_way_to_another_process() -> None:
    sent = pickle.loads(pickle.dumps(Entry("s3://b/k", 3, "mark")))
    assert (sent, sent.size, sent.change) == ("s3://b/k", 3, "mark")
    error = pickle.loads(pickle.dumps(StorageError("s3://b/k", "gone", is_absent=True)))
    assert (str(error), error.is_absent) == ("s3://b/k cannot be read: gone", True)


def test_paths_load_no_client_library(tmp_path: Path) -> None:
    code = (
        "import sys; from tlcli.storage.objects import *; write('a', b'x'); read('a');"
        "list(entries('.')); entry('a'); exists('a'); remove('a');"
        "assert not {'fsspec', 'requests', 's3fs'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_web_servers_are_read_only() -> None:
    with pytest.raises(OutputError, match="read only"):
        write("https://example.org/graph.pb", b"")
    with pytest.raises(StorageError, match="--manifest"):
        list(entries("https://example.org/photos"))


def test_an_output_is_checked_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    check_output(tmp_path / "new" / "deep" / "list.txt")
    check_output(tmp_path / "file")
    for path, reason in (
        (tmp_path, "is a folder"),
        (tmp_path / "file" / "list.txt", "is a file"),
        ("https://example.com/list.txt", "read only"),
    ):
        with pytest.raises(OutputError, match=reason):
            check_output(path)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "arguments",
    [
        "label x.jpg --graph absent.pb --suggest 1 --output_list file/x.txt",
        "evaluate --graph absent.pb --image_dir absent --output file/x.json",
        "check --image_dir absent --output file/x.json",
        "check --image_dir absent --output_list file/x.txt",
        "check --image_dir absent --move_to file/x",
    ],
)
def test_commands_check_their_outputs_before_anything_else(arguments: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    run = tlcli(*arguments.split(), cwd=tmp_path)
    assert run.code == 1
    assert "file is a file; choose another path" in run.err
