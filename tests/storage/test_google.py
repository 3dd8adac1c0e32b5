"""Google Cloud Storage, on a server in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.google_server import google_server
from tests.support import Trained, tlcli
from tlcli.errors import OutputError, StorageError
from tlcli.storage.objects import (
    check_writable,
    entries,
    entry,
    exists,
    read,
    remove,
    write,
)

pytestmark = [
    pytest.mark.slow,
    # Of aiohttp, for the parts of gcsfs's uploads.
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with google_server(tmp_path, monkeypatch) as found:
        yield found


def test_objects_of_google_are_those_of_any_bucket(bucket: str) -> None:
    home = f"{bucket}/home"
    check_writable(home)
    write(f"{home}/a/한 #?%.txt", b"two")
    write(f"{home}/b.txt", iter([b"on", b"e"]))
    write(f"{home}/empty", b"")
    write(f"{home}/large", [bytes(1 << 20)] * 20)
    found = list(entries(home))
    assert [each.removeprefix(home) for each in found] == [
        *("/a/한 #?%.txt", "/b.txt", "/empty", "/large"),
    ]
    assert [len(read(each)) for each in found] == [each.size for each in found]
    before = entry(f"{home}/b.txt")
    assert before is not None
    assert before.change == found[1].change != ""
    write(f"{home}/b.txt", b"owt")
    after = entry(f"{home}/b.txt")
    assert after is not None
    assert after.change != before.change
    remove(f"{home}/b.txt")
    remove(f"{home}/b.txt")
    assert (exists(f"{home}/b.txt"), exists(home)) == (False, True)

    with pytest.raises(StorageError, match="there is no such object"):
        read(f"{home}/absent")
    for work in (
        lambda: read("gs://no-such-bucket/a.txt"),
        lambda: list(entries("gs://no-such-bucket/a")),
        lambda: write("gs://no-such-bucket/a.txt", b"one"),
        lambda: check_writable("gs://no-such-bucket/a"),
    ):
        with pytest.raises((StorageError, OutputError), match="no bucket 'no-such-bucket'"):
            work()


def test_photos_in_google_storage_are_retrained_labelled_and_evaluated(
    bucket: str, trained: Trained
) -> None:
    count = 0
    for photo in sorted(trained.photos.rglob("aerial*.jpg")):
        write(f"{bucket}/photos/{photo.relative_to(trained.photos).as_posix()}", photo.read_bytes())
        count += 1
    options = ("--how_many_training_steps", 50, "--format", "json", "--preset", "original")
    run = tlcli(
        *("retrain", "--image_dir", f"{bucket}/photos", *options, "--no_report"),
        *("--output_graph", f"{bucket}/model/output_graph.pb"),
        cache=trained.cache,
    )
    assert run.code == 0, run.err
    # The same photos as on this machine: their vectors are in the cache.
    assert run.json["cache"]["hits"] == count
    assert run.json["outputs"]["graph"] == f"{bucket}/model/output_graph.pb"

    prefix = f"{bucket}/photos/house_with_pool"
    run = tlcli(
        *("label", prefix, "--graph", f"{bucket}/model/output_graph.pb", "--format", "json"),
        cache=trained.cache,
    )
    assert run.code == 0, run.err
    assert len(run.json) == count // 2
    assert all(each["image"].startswith(prefix) for each in run.json)
    labels = f"{bucket}/labels/"
    run = tlcli("label", prefix, "--graph", trained.graph, "--output", labels, cache=trained.cache)
    assert run.code == 0, run.err
    lines = b"".join(read(each) for each in entries(labels) if each.endswith(".jsonl"))
    assert len([json.loads(line)["image"] for line in lines.splitlines()]) == count // 2

    run = tlcli(
        *("evaluate", "--image_dir", f"{bucket}/photos", "--graph", trained.graph),
        *("--output", f"{bucket}/pages/evaluation.json"),
        cache=trained.cache,
    )
    assert run.code == 0, run.err
    assert json.loads(read(f"{bucket}/pages/evaluation.json"))["count"] == count
