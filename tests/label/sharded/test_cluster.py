"""Images labelled and evaluated on a real Ray cluster, of which a worker and a node are lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NODE_BYTES
from tests.support import Trained, tlcli

pytestmark = [
    pytest.mark.slow,
    # Of Ray itself, also when its sockets are collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FOLDERS, COPIES = 9, 40


@pytest.fixture
def folders(trained: Trained, tmp_path: Path) -> list[Path]:
    """Return folders of photos, each of which is a shard."""
    photos = sorted(trained.photos.rglob("aerial*.jpg"))
    made = [tmp_path / f"photos_{number}" for number in range(FOLDERS)]
    for folder in made:
        folder.mkdir()
        for copy in range(COPIES):
            (folder / f"{copy:03}.jpg").hardlink_to(photos[copy])
    return made


def parts(folder: Path) -> dict[str, bytes]:
    found = folder.glob("labels-*.jsonl") if folder.is_dir() else ()
    return {path.name: path.read_bytes() for path in found}


def waited(folder: Path, count: int, driver: subprocess.Popen[str]) -> None:
    """Wait until there are so many parts."""
    end = time.monotonic() + 300
    while len(parts(folder)) < count:
        assert driver.poll() is None, driver.stderr and driver.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.02)


def workers(node: Any) -> Iterator[int]:
    """Yield the processes of a node that are at work."""
    (raylet,) = (each.process.pid for each in node.all_processes["raylet"])
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == raylet and (path / "cmdline").read_bytes().startswith(b"ray::_work"):
                yield int(path.name)


def at_work(nodes: list[Any], driver: subprocess.Popen[str]) -> tuple[Any, int]:
    """Return the first node of which a process is at work, and that process."""
    while True:
        for node in nodes:
            with suppress(StopIteration):
                return node, next(workers(node))
        assert driver.poll() is None, driver.stderr and driver.stderr.read()
        time.sleep(0.005)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux lists them")
def test_a_worker_and_a_node_are_lost_and_the_parts_are_those_of_one_process(
    nodes: Any, trained: Trained, folders: list[Path], tmp_path: Path
) -> None:
    three = [*nodes.two, nodes.add_node(num_cpus=1, object_store_memory=NODE_BYTES)]
    usual = ["label", *map(str, folders), "--graph", str(trained.graph)]
    out = tmp_path / "ray"
    command = [
        *(str(Path(sys.executable).parent / "tlcli"), *usual, "--output", str(out), "--quiet"),
        *("--runner", "ray", "--address", nodes.address),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as driver:
        waited(out, 1, driver)
        killed, process = at_work(three, driver)
        os.kill(process, signal.SIGKILL)
        waited(out, 2, driver)
        lost, _ = at_work([node for node in three if node is not killed], driver)
        nodes.remove_node(lost, allow_graceful=False)
        said, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    here = tlcli(*usual, "--output", tmp_path / "here", "--quiet")
    assert here.code == 0, here.err
    # One name of 4096 ends a shard, and these have the folder of the test in them.
    count = len(parts(tmp_path / "here"))
    assert FOLDERS <= count < 2 * FOLDERS
    assert said == f"Parts in {out}: {count} of {count} ({FOLDERS * COPIES} images, 0 cached).\n"
    assert parts(out) == parts(tmp_path / "here")


def test_an_evaluation_on_the_cluster_has_the_figures_of_one_here(
    nodes: Any, trained: Trained
) -> None:
    usual = ("evaluate", "--image_dir", trained.photos, "--graph", trained.graph)
    here = tlcli(*usual, "--format", "json")
    there = tlcli(*usual, "--format", "json", "--runner", "ray", "--address", nodes.address)
    assert there.code == here.code == 0, there.err
    assert there.json == here.json
    assert there.json["unseen"]["count"] < there.json["count"]
    assert "broken.jpg is left out" in there.err
