"""Labelling and evaluating images in a bucket and on a web server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.storage.s3_server import Bucket
from tests.support import Run, Trained, tlcli

pytestmark = pytest.mark.slow


@pytest.fixture
def photos(trained: Trained, tmp_path: Path) -> Path:
    """Return a folder of some photos in two folders."""
    for number, path in enumerate(sorted(trained.photos.rglob("aerial*.jpg"))):
        if number % 6 == 0:
            target = tmp_path / "photos" / path.relative_to(trained.photos)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return tmp_path / "photos"


def labelled(trained: Trained, *images: object) -> Run:
    return tlcli("label", "--graph", trained.graph, "--format", "json", *images)


def test_a_prefix_a_pattern_and_an_object_are_labelled_as_files_are(
    bucket: Bucket, photos: Path, trained: Trained, tmp_path: Path
) -> None:
    bucket.put_tree(photos, "new")
    bucket.put("new/notes.txt", b"no image")
    here = labelled(trained, photos)
    assert here.code == 0, here.err
    bucket.faults.throttled, bucket.faults.broken = 2, 2
    there = labelled(trained, f"{bucket.url}/new")
    assert there.code == 0, there.err
    expected = json.loads(here.out.replace(str(photos), f"{bucket.url}/new"))
    assert there.json == expected

    inside = [each for each in expected if "/house_with_pool/" in each["image"]]
    assert labelled(trained, f"{bucket.url}/new/house_with_pool/*.jpg").json == inside
    assert labelled(trained, f"{bucket.url}/new/**/house_with_pool/*.jpg").json == inside
    (tmp_path / "list.txt").write_text(inside[0]["image"])
    assert labelled(trained, f"@{tmp_path / 'list.txt'}").json == inside[:1]
    bucket.put("list.txt", inside[0]["image"].encode())
    assert labelled(trained, f"@{bucket.url}/list.txt").json == inside[:1]


def test_what_is_absent_is_named(bucket: Bucket, photos: Path, trained: Trained) -> None:
    good = min(photos.rglob("aerial*.jpg"))
    bucket.put("a.jpg", good.read_bytes())
    run = labelled(
        *(trained, f"{bucket.url}/a.jpg", f"{bucket.url}/absent.jpg", f"{bucket.url}/empty"),
        *("s3://no-such-bucket-1/a.jpg", f"{bucket.url}/*.png"),
    )
    assert run.code == 1
    assert [each.get("error") for each in run.json] == [
        None,
        "there is no such object",
        "no images there",
        "there is no bucket 'no-such-bucket-1'; check the name, and the account",
        "no object matches this pattern",
    ]


def test_images_of_a_bucket_are_sorted_and_explained(
    bucket: Bucket, photos: Path, trained: Trained, tmp_path: Path
) -> None:
    bucket.put_tree(photos, "new")
    run = labelled(
        *(trained, f"{bucket.url}/new", "--sort_into", tmp_path / "sorted"),
        *("--explain", tmp_path / "explained"),
    )
    assert run.code == 0, run.err
    contents = {path.read_bytes() for path in photos.rglob("*.jpg")}
    assert {path.read_bytes() for path in (tmp_path / "sorted").rglob("*.jpg")} == contents
    assert len(list((tmp_path / "explained").iterdir())) == len(run.json)


def test_a_bucket_is_evaluated_as_a_folder_is(
    bucket: Bucket, photos: Path, trained: Trained
) -> None:
    bucket.put_tree(photos, "new")
    options = ("--graph", trained.graph, "--format", "json")
    here = tlcli("evaluate", "--image_dir", photos, *options)
    there = tlcli("evaluate", "--image_dir", f"{bucket.url}/new", *options)
    assert here.code == there.code == 0, there.err
    assert json.loads(there.out.replace(f"{bucket.url}/new", str(photos))) == here.json
    assert bucket.faults.count("GET", ".jpg") == len(list(photos.rglob("*.jpg")))

    page = f"{bucket.url}/pages/evaluation.html"
    run = tlcli("evaluate", "--image_dir", f"{bucket.url}/new", *options[:2], "--output", page)
    assert run.code == 0, run.err
    assert f"Written: {page}" in run.out
    assert bucket.get("pages/evaluation.html").startswith(b"<!doctype html>")


def test_a_list_of_addresses_is_labelled_and_evaluated_without_its_secrets(
    bucket: Bucket, photos: Path, trained: Trained, tmp_path: Path
) -> None:
    rows = ["path,label"]
    for number, path in enumerate(sorted(photos.rglob("*.jpg"))):
        bucket.put(f"{number}.jpg", path.read_bytes())
        signed = bucket.client.generate_presigned_url(
            "get_object", Params={"Bucket": bucket.name, "Key": f"{number}.jpg"}
        )
        rows.append(f"{signed},{path.parent.name}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    options = ("--graph", trained.graph, "--format", "json")
    run = tlcli("evaluate", "--manifest", tmp_path / "list.csv", *options, cwd=tmp_path)
    assert run.code == 0, run.err
    assert run.json["skipped"] == []
    address = rows[1].partition(",")[0]
    label = labelled(
        *(trained, address, address.replace("/0.jpg", "/absent.jpg")),
        *("--sort_into", tmp_path / "sorted", "--explain", tmp_path / "explained"),
    )
    (copy,) = (tmp_path / "sorted").rglob("0.jpg")
    assert copy.read_bytes() == sorted(photos.rglob("*.jpg"))[0].read_bytes()
    assert [path.name for path in (tmp_path / "explained").iterdir()] == ["0.explained.jpg"]
    assert label.json[0]["image"] == address.partition("?")[0] + "?..."
    assert (label.code, label.json[1]["error"]) == (1, "there is no such file")
    for text in (run.out, run.err, label.out, label.err):
        assert "Signature" not in text
        assert "AWSAccessKeyId" not in text
