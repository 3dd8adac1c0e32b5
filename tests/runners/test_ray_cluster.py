"""Work done on a real Ray cluster of several nodes, of which some are lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.runners.work import Slow, doubling, dying_at_three, failing_at_three, missing
from tests.support import ROOT, Trained, tlcli
from tlcli.errors import TlcliError, UsageError
from tlcli.runners import ray_cluster
from tlcli.runners.ray_cluster import Cluster, WorkerError, run_on_ray

pytestmark = [
    pytest.mark.slow,
    # Of Ray itself, also when its sockets are collected.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_results_and_failures_come_from_the_cluster(nodes: Any) -> None:
    cluster = Cluster(nodes.address, retries=1)
    found = run_on_ray(doubling, range(100), cluster)
    assert sorted(each.value for each in found if each.value is not None) == [*range(0, 200, 2)]

    done = {each.item: each for each in run_on_ray(failing_at_three, range(5), cluster)}
    assert [done[number].value for number in range(5)] == [0, 1, 2, None, 4]
    assert done[3].reason == "three is no number"

    with pytest.raises(WorkerError, match="the weights are not installed"):
        list(run_on_ray(missing, range(5), cluster))

    # A piece that ends its process each time is set aside, and the others are done.
    done = {each.item: each for each in run_on_ray(dying_at_three, range(5), cluster)}
    assert [done[number].value for number in range(5)] == [0, 1, 2, None, 4]
    assert "WorkerCrashedError" in done[3].reason


def running(folder: Path, nodes: int) -> dict[str, list[str]]:
    """Return the process and the node of each piece at work, once so many nodes are at work.

    The piece that began last comes first: it will be at work for longest.
    """
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        files = sorted(folder.iterdir(), key=lambda path: -path.stat().st_mtime_ns)
        lines = {path.name: path.read_text().splitlines() for path in files}
        found = {name: own[-1].split() for name, own in lines.items() if own and own[-1] != "done"}
        if len({node for _, node in found.values()}) >= nodes:
            return found
        time.sleep(0.02)
    raise AssertionError("the nodes do not work")


def test_a_worker_and_a_node_are_lost_and_the_work_is_done(nodes: Any, tmp_path: Path) -> None:
    found = run_on_ray(Slow(tmp_path, 1.5), range(12), Cluster(nodes.address))
    done = [next(found).value]
    killed, (process, _) = next(iter(running(tmp_path, 2).items()))
    os.kill(int(process), signal.SIGKILL)
    done += [next(found).value, next(found).value]
    lost, (_, node) = next(iter(running(tmp_path, 2).items()))
    nodes.remove_node(
        next(each for each in nodes.two if each.node_id == node), allow_graceful=False
    )
    done += [each.value for each in found]
    assert sorted(done) == list(range(12))
    # Both pieces were begun again.
    for name in (killed, lost):
        lines = (tmp_path / name).read_text().splitlines()
        assert (len(lines), lines[-1]) == (3, "done")


def test_a_cluster_that_lost_all_nodes_ends_the_work(nodes: Any, tmp_path: Path) -> None:
    found = run_on_ray(Slow(tmp_path, 0.3), range(20), Cluster(nodes.address, patience=3))
    next(found)
    for node in nodes.two:
        nodes.remove_node(node, allow_graceful=False)
    with pytest.raises(WorkerError, match="no CPU for 3 seconds"):
        list(found)


def test_a_retraining_on_the_cluster_gives_the_bits_of_a_local_one(
    nodes: Any, trained: Trained, tmp_path: Path
) -> None:
    usual = ("retrain", "--image_dir", trained.photos, "--how_many_training_steps", 50)
    plain = tlcli(*usual, "--no_report", "--output_graph", tmp_path / "plain" / "graph.pb")
    assert plain.code == 0, plain.err
    command = [
        *(str(Path(sys.executable).parent / "tlcli"), *map(str, usual), "--no_report"),
        *("--output_graph", str(tmp_path / "ray" / "graph.pb"), "--runner", "ray"),
        *("--address", nodes.address, "--bottleneck_dir", str(tmp_path / "parts")),
    ]
    # A driver that is killed goes on where it stopped.
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as driver:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob("parts/*/*/*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.05)
        driver.kill()
    there = {path: path.stat().st_mtime_ns for path in tmp_path.glob("parts/*/*/*.parquet")}
    assert there
    done = tlcli(*command[1:])
    assert done.code == 0, done.err
    assert (tmp_path / "ray" / "graph.pb").read_bytes() == (
        tmp_path / "plain" / "graph.pb"
    ).read_bytes()
    assert {path: path.stat().st_mtime_ns for path in there} == there


def test_a_piece_that_needs_too_much_memory_is_set_aside() -> None:
    """On a cluster that ends each process: it calls a hundredth of the memory too much."""
    code = """
from tests.runners.work import sleeping
from tlcli.runners.ray_cluster import Cluster, run_on_ray
print([found.reason for found in run_on_ray(sleeping, [20.0], Cluster(retries=1))])
"""
    limits = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, **limits, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.startswith("['OutOfMemoryError: "), done.stderr


def test_an_address_without_a_cluster_is_refused_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(TlcliError, match=r"no Ray cluster can be used at 127\.0\.0\.1:9: "):
        list(run_on_ray(doubling, [1], Cluster("127.0.0.1:9")))
    assert time.monotonic() - begun < 100


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"tlcli\[ray\]"):
        list(run_on_ray(doubling, [1], Cluster()))
