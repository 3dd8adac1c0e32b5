"""Calls that are killed go on where they stopped, and new images leave old parts as they are."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import Trained, tlcli
from tlcli.core.data.content_hashes import SETTLED_NS

pytestmark = pytest.mark.slow

FAST = ("--how_many_training_steps", 50, "--no_report", "--format", "json")


def parts_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return time and content of each part by its name."""
    # What is being written is in a hidden folder.
    found = {path.name: path for path in folder.glob("parts/*/*.parquet") if path.name[0] != "."}
    return {name: (path.stat().st_mtime_ns, path.read_bytes()) for name, path in found.items()}


def test_a_killed_call_keeps_its_parts_and_new_folders_touch_none(
    trained: Trained, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    for number in range(3):
        for own in trained.photos.iterdir():
            shutil.copytree(own, photos / f"{own.name}_{number}")
    time.sleep(SETTLED_NS / 1e9)
    tlcli_path = str(Path(sys.executable).parent / "tlcli")
    for attempt in range(5):  # on a busy machine it may be done before it is killed
        parts = tmp_path / f"parts_{attempt}"
        options = (
            "retrain", "--image_dir", photos, *FAST, "--bottleneck_dir", parts, "--num_shards", 1,
        )  # fmt: skip
        command = [tlcli_path, *map(str, options)]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as killed:
            while not parts_of(parts) and killed.poll() is None:
                time.sleep(0.01)
            killed.kill()
        before = parts_of(parts)
        if killed.returncode and len(before) < 6:
            break
        (tmp_path / "output_graph.pb").unlink(missing_ok=True)
    assert 0 < len(before) < 6
    assert not (tmp_path / "output_graph.pb").exists()

    done: Any = tlcli(*options, cwd=tmp_path)
    assert done.code == 0, done.err
    after = parts_of(parts)
    assert len(after) == 6
    assert {name: after[name] for name in before} == before
    # Nothing of the killed call is left, and the copies were computed once for each shard.
    assert not [path for path in parts.rglob("*") if path.name.startswith(".")]
    assert done.json["cache"]["computed"] == 0

    shutil.copytree(photos / "house_with_pool_0", photos / "new_label")
    grown = tlcli(*options, cwd=tmp_path)
    assert grown.code == 0, grown.err
    now = parts_of(parts)
    assert len(now) == 7
    assert {name: now[name] for name in after} == after

    # A new image: its shard gets another part, into which the old vectors are taken over.
    (photos / "new_label" / "zz.png").write_bytes(trained.photo.read_bytes() + b"!")
    share = tlcli(*options, "--shard_index", 0, cwd=tmp_path)
    assert (share.json["computed"], share.json["kept"], share.json["planned"]) == (1, 6, 7)
    assert len(parts_of(parts)) == 8
    clear = ("cache", "clear", "--bottleneck_dir", parts, "--obsolete", "--yes")
    assert re.search(r"^Removed: parts of shards of efficientnet_lite0, ", tlcli(*clear).out)
    left = parts_of(parts)
    assert len(left) == 7
    assert {name: left[name] for name in after} == after
