"""Retraining on images in a bucket: the same graph as from a folder, and nothing read twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.storage.s3_server import Bucket
from tests.support import Trained, tlcli

pytestmark = pytest.mark.slow

OPTIONS = ("--format", "json", "--how_many_training_steps", 100, "--no_report")


@pytest.fixture
def photos(trained: Trained, tmp_path: Path) -> Path:
    """Return a folder of photos of two labels, one of which cannot be read."""
    return Path(shutil.copytree(trained.photos, tmp_path / "photos"))


def test_a_bucket_gives_the_graph_of_the_same_folder(
    bucket: Bucket, photos: Path, tmp_path: Path
) -> None:
    bucket.put_tree(photos, "team/photos")
    bucket.put("team/photos/house_with_pool/.DS_Store", b"x")
    bucket.put("team/photos2/house_with_pool/other.jpg", b"x")
    here = tlcli("retrain", "--image_dir", photos, *OPTIONS, cwd=tmp_path)
    assert here.code == 0, here.err
    graph = (tmp_path / "output_graph.pb").read_bytes()

    there = tmp_path / "there"
    there.mkdir()
    command = ("retrain", "--image_dir", f"{bucket.url}/team/photos", *OPTIONS)
    first = tlcli(*command, cwd=there, cache=tmp_path / "cache")
    assert first.code == 0, first.err
    assert (there / "output_graph.pb").read_bytes() == graph
    # Once each, though an image is hashed and then decoded.
    assert bucket.faults.count("GET", ".jpg") == 48
    assert first.json["skipped"] == [
        {
            "path": f"{bucket.url}/team/photos/house_with_pool/broken.jpg",
            "reason": here.json["skipped"][0]["reason"],
        }
    ]

    # Unchanged objects are neither downloaded nor asked for.
    bucket.put("team/photos/house_with_pool/new.jpg", min(photos.rglob("aerial*.jpg")).read_bytes())
    bucket.faults.requests.clear()
    second = tlcli(*command, cwd=there, cache=tmp_path / "cache")
    assert second.code == 0, second.err
    assert bucket.faults.count("GET", ".jpg") == 1
    assert bucket.faults.count("HEAD") == 0
    assert second.json["cache"]["computed"] == 0


def test_a_retraining_goes_on_through_throttling_and_broken_connections(
    bucket: Bucket, photos: Path, tmp_path: Path
) -> None:
    bucket.put_tree(photos, "photos")
    bucket.faults.throttled, bucket.faults.broken = 5, 5
    run = tlcli("retrain", "--image_dir", f"{bucket.url}/photos", *OPTIONS, cwd=tmp_path)
    assert run.code == 0, run.err
    assert len(run.json["skipped"]) == 1


def test_a_connection_that_stays_broken_ends_the_run_instead_of_leaving_images_out(
    bucket: Bucket, photos: Path, tmp_path: Path
) -> None:
    bucket.put_tree(photos, "photos")
    bucket.faults.broken = 1 << 30
    run = tlcli("retrain", "--image_dir", f"{bucket.url}/photos", *OPTIONS, cwd=tmp_path)
    assert run.code == 1
    assert run.err.splitlines()[-1].endswith(
        "cannot be read: the connection broke in spite of several attempts; try again"
    )
    assert not (tmp_path / "output_graph.pb").exists()


def test_what_cannot_be_listed_is_one_sentence(bucket: Bucket, tmp_path: Path) -> None:
    for image_dir, sentence in (
        ("s3://no-such-bucket-1/photos", "there is no bucket 'no-such-bucket-1'"),
        (f"{bucket.url}/absent", f"there is nothing in {bucket.url}/absent"),
        ("ftp://host/photos", "unknown kind; known are s3://, gs://, hdfs://"),
        ("http://127.0.0.1:9/photos", "lists no files; give a --manifest"),
    ):
        run = tlcli("retrain", "--image_dir", image_dir, cwd=tmp_path)
        assert sentence in run.err
        assert run.code == (2 if image_dir.startswith("ftp") else 1)
        assert run.err.count("\n") == 1
    bucket.faults.denied = bucket.name
    run = tlcli("retrain", "--image_dir", f"{bucket.url}/photos", cwd=tmp_path)
    assert (run.code, "access is denied" in run.err) == (1, True)
