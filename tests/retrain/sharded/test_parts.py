"""Retrainings by shards: array jobs, a merging call, and what is refused."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from retrain.arguments.options import RetrainOptions
from retrain.job import retrain
from tests.support import Trained, tlcli
from tlcli.core.data.content_hashes import SETTLED_NS
from tlcli.errors import UsageError

FAST = ("--how_many_training_steps", 50, "--no_report", "--format", "json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_index": 0}, "--num_shards"),
        ({"shard_index": 2, "num_shards": 2}, "from 0 to 1"),
        ({"num_shards": 0}, "at least 1"),
        ({"runner": "slurm"}, "local or ray"),
        ({"address": "auto"}, "--runner ray"),
        ({"runner": "ray", "shard_index": 0, "num_shards": 2}, "leave one"),
        ({"runner": "ray", "import_bottlenecks": "texts"}, "--import_bottlenecks"),
        ({"num_shards": 2, "precision": "bfloat16"}, "float32"),
        ({"num_shards": 2, "precision": "int8"}, "compares both in one process"),
        ({"num_shards": 2, "module": "auto"}, "--module auto"),
        ({"num_shards": 2, "bottleneck_dir": "https://host/parts"}, "read only"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        RetrainOptions(image_dir=Path("photos"), **options)


def test_the_python_function_fits_and_computes_no_share() -> None:
    with pytest.raises(UsageError, match="--shard_index"):
        retrain("photos", num_shards=2, shard_index=0)


@pytest.mark.slow
def test_array_jobs_and_a_call_that_merges_give_the_graph_of_a_plain_run(
    trained: Trained, tmp_path: Path
) -> None:
    def run(*options: object) -> Any:
        done = tlcli("retrain", "--image_dir", trained.photos, *FAST, *options, cwd=tmp_path)
        assert done.code == 0, done.err
        return done.json

    run("--output_graph", "plain/graph.pb")
    parts = ("--bottleneck_dir", "parts", "--num_shards", 2)
    shares = [run(*parts, "--shard_index", index) for index in range(2)]
    assert [share["planned"] for share in shares] == [2, 2]
    assert sum(share["images"] for share in shares) == 49
    assert sum(share["computed"] for share in shares) == 48
    (skipped,) = (each for share in shares for each in share["skipped"])
    assert skipped["path"].endswith("broken.jpg")
    assert not (tmp_path / "parts" / "bottlenecks.sqlite").exists()
    again = run(*parts, "--shard_index", 1)
    assert (again["computed"], again["kept"]) == (0, 1)

    merged = run(*parts, "--output_graph", "merged/graph.pb")
    assert merged["cache"] == {"hits": 48, "computed": 0, "imported": 0}
    # What lies in parts needs no backbone to be run, nor any file to be read again.
    assert (tmp_path / "merged" / "graph.pb").read_bytes() == (
        tmp_path / "plain" / "graph.pb"
    ).read_bytes()
    shown = tlcli("cache", "show", "--bottleneck_dir", "parts", "--format", "json", cwd=tmp_path)
    rows = {row["kind"]: row for row in shown.json["entries"]}
    assert rows["parts of shards"]["count"] == 2
    assert rows["parts of shards"]["backbone"] == "efficientnet_lite0"

    # A new folder adds a shard and touches no old one.
    photos = tmp_path / "photos"
    shutil.copytree(trained.photos, photos)
    # A file that changed a moment ago is read again, and its part written, by the next call.
    time.sleep(SETTLED_NS / 1e9)
    before = run(*parts, "--image_dir", photos, "--output_graph", "copied/graph.pb")
    assert before["cache"]["computed"] == 0
    old = {path: path.read_bytes() for path in (tmp_path / "parts").rglob("*.parquet")}
    shutil.copytree(photos / "house_with_pool", photos / "another_house")
    run(*parts, "--image_dir", photos, "--output_graph", "grown/graph.pb")
    new = {path: path.read_bytes() for path in (tmp_path / "parts").rglob("*.parquet")}
    assert len(new) == len(old) + 1
    assert {path: new[path] for path in old} == old


def test_a_share_says_in_words_what_it_did(trained: Trained, tmp_path: Path) -> None:
    done = tlcli(
        "retrain", "--image_dir", trained.photos, "--bottleneck_dir", tmp_path, "--quiet",
        "--num_shards", 50, "--shard_index", 49,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"Shards with their parts in {tmp_path}: 0 of 0 (0 images, 0 vectors computed now, "
        "0 images skipped).\n"
    )
