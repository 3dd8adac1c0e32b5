"""Shards of images in a bucket, with their parts and the outputs in a bucket too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.storage.s3_server import Bucket
from tests.support import Trained, tlcli

pytestmark = pytest.mark.slow

FAST = ("--how_many_training_steps", 50, "--no_report", "--format", "json")


def run(folder: Path, *options: object, code: int = 0) -> Any:
    """Run the command on a machine of its own: in a folder with a cache of its own."""
    folder.mkdir(exist_ok=True)
    done = tlcli("retrain", *FAST, *options, cwd=folder, cache=folder / "cache")
    assert done.code == code, done.err
    return done if code else done.json


def test_images_parts_and_outputs_in_a_bucket_give_the_graph_of_a_plain_run(
    bucket: Bucket, trained: Trained, tmp_path: Path
) -> None:
    bucket.put_tree(trained.photos, "photos")
    for number in range(1010):  # a listing has pages of 1,000
        bucket.put(f"photos/house_with_pool/.hidden{number:04}", b"")
    images = ("--image_dir", f"{bucket.url}/photos")
    parts = ("--bottleneck_dir", f"{bucket.url}/cache", "--num_shards", 2)
    run(tmp_path / "plain", *images)

    # Two workers: reading, computing and writing go on through throttling and broken connections.
    bucket.faults.throttled, bucket.faults.broken = 3, 3
    shares = [run(tmp_path / f"w{n}", *images, *parts, "--shard_index", n) for n in (1, 0)]
    assert sum(share["images"] for share in shares) == 49
    assert sum(share["computed"] for share in shares) == 48
    assert shares[0]["folder"] == f"{bucket.url}/cache"
    kept = {name: bucket.get(name) for name in bucket.names("cache/")}
    assert len(kept) == 2

    # The call that merges reads no image, whatever fails on the way.
    bucket.faults.reset()
    bucket.faults.throttled, bucket.faults.broken = 3, 2
    outputs = ("--output_graph", f"{bucket.url}/out/graph.pb")
    merged = run(tmp_path / "merge", *images, *parts, *outputs)
    assert merged["cache"] == {"hits": 48, "computed": 0, "imported": 0}
    assert bucket.faults.count("GET", ".jpg") == 0
    graph = (tmp_path / "plain" / "output_graph.pb").read_bytes()
    assert bucket.get("out/graph.pb") == graph
    assert {name: bucket.get(name) for name in bucket.names("cache/")} == kept

    # Again: the parts are copied once, and whether they are up to date is known from their state.
    bucket.faults.reset()
    run(tmp_path / "merge", *images, "--bottleneck_dir", f"{bucket.url}/cache", *outputs)
    assert bucket.faults.count("GET", ".parquet") == 0
    assert bucket.get("out/graph.pb") == graph


def test_new_prefixes_and_images_add_parts_and_the_replaced_ones_can_be_removed(
    bucket: Bucket, trained: Trained, tmp_path: Path
) -> None:
    photos = trained.photos
    bucket.put_tree(photos, "photos")
    images = ("--image_dir", f"{bucket.url}/photos")
    parts = ("--bottleneck_dir", f"{bucket.url}/cache", "--num_shards", 1)
    share = (*images, *parts, "--shard_index", 0)
    run(tmp_path, *share)
    kept = {name: bucket.get(name) for name in bucket.names("cache/")}
    bucket.put_tree(photos / "house_with_pool", "photos/another_house")
    assert run(tmp_path, *share)["computed"] == 24
    now = {name: bucket.get(name) for name in bucket.names("cache/")}
    assert (len(now), kept.items() <= now.items()) == (3, True)

    shown = tlcli("cache", "show", "--bottleneck_dir", f"{bucket.url}/cache", "--format", "json")
    (row,) = shown.json["entries"]
    assert (row["kind"], row["backbone"], row["count"]) == (
        "parts of shards", "efficientnet_lite0", 3,
    )  # fmt: skip
    photo = min((photos / "house_with_pool").glob("aerial*.jpg"))
    bucket.put("photos/another_house/zz.jpg", photo.read_bytes() + b"!")
    assert run(tmp_path, *share)["computed"] == 1
    assert len(bucket.names("cache/")) == 4
    clear = ("cache", "clear", "--bottleneck_dir", f"{bucket.url}/cache", "--obsolete", "--yes")
    assert "Removed: parts of shards of efficientnet_lite0" in tlcli(*clear).out
    assert len(left := bucket.names("cache/")) == 3
    assert set(left) >= set(kept)


def test_parts_in_a_bucket_that_cannot_be_written_are_one_sentence(
    bucket: Bucket, trained: Trained, tmp_path: Path
) -> None:
    images = ("--image_dir", trained.photos, "--num_shards", 1)
    absent = run(tmp_path, *images, "--bottleneck_dir", "s3://no-such-bucket-1/cache", code=1)
    assert absent.err.splitlines()[-1].endswith(
        "there is no bucket 'no-such-bucket-1'; check the name, and the account"
    )
    bucket.faults.denied = "/cache/"
    denied = run(tmp_path, *images, "--bottleneck_dir", f"{bucket.url}/cache", code=1)
    assert "access is denied; check the credentials" in denied.err.splitlines()[-1]


def test_a_server_that_gives_no_part_sets_the_shard_aside(
    bucket: Bucket, trained: Trained, tmp_path: Path
) -> None:
    options = ("--image_dir", trained.photos, "--bottleneck_dir", f"{bucket.url}/cache")
    run(tmp_path, *options, "--num_shards", 1, "--shard_index", 0)
    bucket.faults.broken = 1 << 30
    failed = run(tmp_path, *options, "--num_shards", 1, code=1)
    assert failed.err.splitlines()[-1].count("the connection broke in spite of several attempts")
    bucket.faults.reset()
    merged = run(tmp_path, *options, "--num_shards", 1)
    assert merged["cache"]["computed"] == 0
