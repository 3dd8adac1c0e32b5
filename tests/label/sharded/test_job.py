"""Images labelled into part files: the rows, what is done again, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.label.running import invoke, label
from tests.storage.s3_server import Bucket
from tests.support import Trained, tlcli
from tlcli.errors import UsageError


@pytest.fixture
def photos(plates: Path, tmp_path: Path) -> Path:
    """Return a folder of two folders, with an image that cannot be read."""
    for name in ("newyork", "indiana"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        shutil.copy(plates / "photos" / f"{name}Test1.jpg", tmp_path / "photos" / name)
    (tmp_path / "photos" / "newyork" / "broken.jpg").write_bytes(b"")
    return tmp_path / "photos"


def rows(folder: Path) -> list[str]:
    return sorted(
        line for path in folder.glob("*.jsonl") for line in path.read_text("utf-8").splitlines()
    )


def test_parts_have_the_rows_of_a_plain_run(plates: Path, photos: Path, tmp_path: Path) -> None:
    arguments = (photos / "newyork", photos / "indiana", "--threshold", "0.5")
    plain = label(plates, *arguments, "--format", "jsonl")
    out = tmp_path / "out"
    made = label(plates, *arguments, "--output", out)
    assert made.return_value == plain.return_value == 1
    assert made.stdout == f"Parts in {out}: 2 of 2 (3 images, 0 cached, 1 with an error).\n"
    assert "1 of 3 images could not be labelled" in made.stderr
    assert rows(out) == sorted(plain.stdout.splitlines())
    assert len(list(out.glob("*-1-errors.jsonl"))) == 1

    label(plates, *arguments, "--output", tmp_path / "table", "--format", "parquet")
    table = [
        row
        for path in (tmp_path / "table").iterdir()
        for row in pyarrow.parquet.read_table(path).to_pylist()
    ]
    given = [{name: each for name, each in row.items() if each is not None} for row in table]
    assert sorted(given, key=str) == sorted(map(json.loads, rows(out)), key=str)


def test_what_is_there_is_kept_and_what_is_obsolete_removed(
    plates: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def made(*arguments: object) -> str:
        return label(plates, *arguments, "--output", out).stdout

    made(photos / "newyork", photos / "indiana")
    old = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert "2 of 2 (3 images, 2 cached, 1 with an error)" in made(
        photos / "newyork", photos / "indiana"
    )
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == old
    (photos / "newyork" / "broken.jpg").unlink()
    # A job of several removes nothing, as it does not label all.
    jobs = ("--num_shards", 2, "--shard_index")
    assert made(photos / "newyork", *jobs, 1).endswith(": 0 of 0 (0 images, 0 cached).\n")
    assert "1 of 1 (1 image, 0 cached)" in made(photos / "newyork", *jobs, 0)
    assert len(list(out.iterdir())) == 3
    assert "(1 image, 1 cached, 1 obsolete removed)" in made(photos / "newyork")
    # Those of another argument stay.
    assert len(list(out.iterdir())) == 2
    assert len(rows(out)) == 2


def test_a_shard_that_cannot_be_written_is_set_aside_with_its_reason(
    plates: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("label.sharded.labelling.write", full)
    made = label(plates, photos / "newyork", photos / "indiana", "--output", tmp_path / "out")
    assert made.return_value == 1
    assert "Parts in" in made.stdout
    assert "0 of 2" in made.stdout
    first = f"shard 1 (1 image, {photos}/indiana/indianaTest1.jpg to {photos}/indiana/"
    assert first in made.stdout
    assert "No space left on device" in made.stdout
    assert "Error: 2 of 2 shards could not be labelled" in made.stderr


def test_an_image_that_cannot_be_had_for_now_gets_no_row(plates: Path, tmp_path: Path) -> None:
    """The part would keep its error, and the next call would not try again."""
    url = "http://127.0.0.1:9/a.jpg"
    made = label(plates, url, "--output", tmp_path / "out")
    assert made.return_value == 1
    assert f"shard 0 (1 image, {url} to {url}): {url} cannot be read: the server " in (made.stdout)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--runner", "ray"), "--output DIR"),
        (("--num_shards", "2"), "--output DIR"),
        (("--format", "parquet"), "add --output"),
        (("--output", "out", "--format", "csv"), "jsonl or parquet"),
        (("--output", "out", "--sort_into", "sorted"), "part files alone"),
        (("--output", "out", "--shard_index", "0"), "--num_shards"),
        (("--output", "out", "--address", "auto"), "--runner ray"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: tuple[str, ...], message: str
) -> None:
    found = invoke("a.jpg", *options)
    assert found.exception is not None
    text = getattr(found.exception, "message", str(found.exception))
    assert message in text
    assert isinstance(found.exception, UsageError) or found.exception.exit_code == 2  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_bucket_is_labelled_into_a_bucket_with_one_request_for_each_image(
    bucket: Bucket, trained: Trained
) -> None:
    bucket.put_tree(trained.photos, "photos")
    options = ("--graph", trained.graph, f"{bucket.url}/photos")
    plain = tlcli("label", *options, "--format", "jsonl")
    bucket.faults.reset()
    bucket.faults.throttled, bucket.faults.broken = 2, 2
    made = tlcli("label", *options, "--output", f"{bucket.url}/labels/", "--quiet")
    assert made.code == plain.code == 1, made.err
    assert made.out.startswith(f"Parts in {bucket.url}/labels: 1 of 1 (49 images, ")
    (name,) = bucket.names("labels/")
    assert name.endswith("-1-errors.jsonl")
    assert bucket.get(name).decode() == plain.out
    # Each once; of those that broke or were refused, again.
    assert 48 <= bucket.faults.count("GET", ".jpg") <= 49 + 4
    assert not bucket.faults.count("HEAD", ".jpg")
