"""Outputs in a bucket: the files of a folder, whole, with the model card last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.storage.s3_server import Bucket
from tests.support import Trained, tlcli

pytestmark = pytest.mark.slow

OPTIONS = ("--format", "json", "--how_many_training_steps", 100)


def test_outputs_in_a_bucket_are_those_of_a_folder(
    bucket: Bucket, trained: Trained, tmp_path: Path
) -> None:
    here = tlcli(
        *("retrain", "--image_dir", trained.photos, "--saved_model_dir", "model", *OPTIONS),
        cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip
    assert here.code == 0, here.err
    bucket.put("out/model/saved_model.pb", b"older")
    bucket.put("out/model/variables/older", b"older")
    there = tlcli(
        *("retrain", "--image_dir", trained.photos, *OPTIONS),
        *("--output_graph", f"{bucket.url}/out/output_graph.pb"),
        *("--saved_model_dir", f"{bucket.url}/out/model"),
        cwd=tmp_path,
        cache=trained.cache,
    )  # fmt: skip
    assert there.code == 0, there.err
    files = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert {key.removeprefix("out/") for key in bucket.names()} == files
    for name in ("output_graph.pb", "output_labels.txt", "output_graph.tflite"):
        assert bucket.get(f"out/{name}") == (tmp_path / name).read_bytes(), name
    assert there.json["outputs"] == {
        kind: f"{bucket.url}/out/{path}" for kind, path in here.json["outputs"].items()
    }
    card = json.loads(bucket.get("out/output_graph.json"))
    assert card["files"] == json.loads((tmp_path / "output_graph.json").read_text())["files"]
    assert bucket.get("out/output_report.html").startswith(b"<!doctype html>")
    uploads = [key for method, key in bucket.faults.requests if method == "PUT"]
    assert uploads[-1].endswith("output_graph.json")

    # What was written can be used from where it is.
    photo = trained.photo
    for graph in ("output_graph.pb", "model"):
        bucket.faults.requests.clear()
        there = tlcli("label", photo, "--graph", f"{bucket.url}/out/{graph}", cache=trained.cache)
        here = tlcli("label", photo, "--graph", tmp_path / graph, cache=trained.cache)
        assert (here.code, there.out) == (0, here.out)
        assert bucket.faults.count("GET", "output_graph.pb") == (graph == "output_graph.pb")
    bucket.faults.requests.clear()
    tlcli("label", photo, "--graph", f"{bucket.url}/out/output_graph.pb", cache=trained.cache)
    assert bucket.faults.count("GET") == 0

    # The report of the graph that is replaced goes with it.
    again = tlcli(
        *("retrain", "--image_dir", trained.photos, *OPTIONS, "--no_report"),
        *("--output_graph", f"{bucket.url}/out/output_graph.pb"),
        cwd=tmp_path, cache=trained.cache,
    )  # fmt: skip
    assert again.code == 0, again.err
    assert "out/output_report.html" not in bucket.names()


def test_a_bucket_that_cannot_be_written_is_found_before_the_work(
    bucket: Bucket, trained: Trained, tmp_path: Path
) -> None:
    def run(url: str, option: str = "--output_graph") -> tuple[int, str]:
        done = tlcli("retrain", "--image_dir", trained.photos, option, url, cwd=tmp_path)
        assert "Step" not in done.err
        return done.code, done.err.splitlines()[-1]

    absent = tlcli("label", "a.jpg", "--graph", f"{bucket.url}/absent.pb")
    assert (absent.code, "absent.pb cannot be read: there is nothing; check" in absent.err) == (
        *(1, True),
    )

    code, line = run("s3://no-such-bucket-1/out/graph.pb")
    assert (code, "there is no bucket 'no-such-bucket-1'" in line) == (1, True)
    code, line = run("https://example.org/graph.pb")
    assert (code, "web servers are read only" in line) == (1, True)
    bucket.put("model/notes.txt", b"mine")
    code, line = run(f"{bucket.url}/model", "--saved_model_dir")
    assert (code, "notes.txt, which is no part of an older SavedModel" in line) == (1, True)
    code, line = run(f"{bucket.url}/events", "--summaries_dir")
    assert (code, "give a path of this machine" in line) == (2, True)
    bucket.faults.denied = "out"
    code, line = run(f"{bucket.url}/out/graph.pb")
    assert (code, "access is denied" in line) == (1, True)
    assert bucket.client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []) == []


def test_a_manifest_in_a_bucket_gives_the_graph_of_one_in_a_folder(
    bucket: Bucket, trained: Trained, tmp_path: Path
) -> None:
    images = sorted(trained.photos.rglob("aerial*.jpg"))
    names = [path.relative_to(trained.photos).as_posix() for path in images]
    bucket.put_tree(trained.photos, "photos")

    def table(*prefixes: str) -> str:
        rows = [
            f"{prefixes[number % len(prefixes)]}{name},{name.partition('/')[0]}"
            for number, name in enumerate(names)
        ]
        return "\n".join(["path,label", *rows])

    (tmp_path / "list.csv").write_text(table(""))
    for name in names:
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(trained.photos / name)
    bucket.put("photos/list.csv", table("", f"{bucket.url}/photos/").encode())
    options = (*OPTIONS, "--no_report")
    here = tlcli("retrain", "--manifest", "list.csv", *options, cwd=tmp_path, cache=trained.cache)
    assert here.code == 0, here.err
    graph = (tmp_path / "output_graph.pb").read_bytes()
    for _ in range(2):
        bucket.faults.requests.clear()
        there = tlcli(
            *("retrain", "--manifest", f"{bucket.url}/photos/list.csv", *options),
            *("--bottleneck_dir", f"{bucket.url}/cache"),
            cwd=tmp_path, cache=tmp_path / "cache",
        )  # fmt: skip
        assert there.code == 0, there.err
        assert "is in a bucket, where no SQLite file can be" in there.err
        assert (tmp_path / "output_graph.pb").read_bytes() == graph
    # An object of a row is asked for its mark, and not sent again.
    assert bucket.faults.count("HEAD", ".jpg") == len(names)
    assert bucket.faults.count("GET", ".jpg") == 0
