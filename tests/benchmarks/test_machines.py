"""The simulation of runs on many machines, with small figures."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.machines.entries import STEPS
from benchmarks.machines.simulation import Costs, curve, planned_sizes, simulate, table
from tests.support import ROOT

FREE = Costs(*[0.0] * 13, image_bytes=0.0, worker_bandwidth=1.0, store_bandwidth=1.0)
ONE_SECOND = replace(FREE, engine=0.75, decode=0.25)


def test_free_things_take_no_time() -> None:
    assert simulate([3, 4], 2, FREE).seconds == 0


def test_workers_share_the_shards() -> None:
    run = simulate([10, 10, 10, 10], 2, ONE_SECOND)
    assert (run.seconds, run.computing, run.bottleneck) == (20, 20, "")
    assert run.core_hours == pytest.approx(60 / 3600)  # of the driver too


def test_a_shard_is_not_divided() -> None:
    run = simulate([30, 10], 4, ONE_SECOND)
    assert run.seconds == 30
    assert run.computing == 10
    assert run.waits["last shards"] == 20
    assert run.bottleneck == "last shards"


def test_workers_wait_for_the_planning() -> None:
    run = simulate([10, 10], 2, replace(ONE_SECOND, plan=3, submit=1))
    # The second shard is there after 62 seconds, and the first was done after 41.
    assert run.seconds == 72
    assert run.bottleneck == "planning"


def test_a_slow_store_is_shared() -> None:
    costs = replace(ONE_SECOND, image_bytes=10, worker_bandwidth=20, store_bandwidth=40)
    # Half a second beside the second of computing, while two workers or fewer share it.
    assert simulate([8, 8], 2, costs).waits["network"] == 0
    run = simulate([8] * 8, 8, costs)
    assert run.seconds == 16
    assert (run.waits["network"], run.bottleneck) == (8, "network")


def test_listing_and_merging_are_before_and_after() -> None:
    costs = replace(ONE_SECOND, list_page=5, list_entry=0.5, open=2, read=0.25, fit=0.75, start=7)
    run = simulate([4, 4], 2, costs)
    assert run.waits["listing"] == 5 + 4
    assert run.waits["merging and fitting"] == 2 * 2 + 8
    assert run.seconds == 9 + 7 + 4 + 12
    # Workers are paid for while they start and compute; the driver all the time.
    assert run.core_hours == pytest.approx((2 * 11 + 32) / 3600)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=30),
    st.integers(1, 9),
    st.lists(st.integers(0, 8), min_size=13, max_size=13),
)
def test_the_parts_are_the_whole(sizes: list[int], workers: int, values: list[int]) -> None:
    """The time of a run, found another way, is the sum of its parts."""
    costs = Costs(*values, image_bytes=3, worker_bandwidth=1, store_bandwidth=4)
    run = simulate(sizes, workers, costs)
    each = max(costs.compute, costs.network(min(workers, len(sizes))))
    free, ready = [float(costs.start)] * workers, 0.0
    for size in sizes:
        ready += size * costs.plan + costs.submit
        first = free.index(min(free))
        free[first] = max(free[first], ready) + size * each + costs.shard
    before = -(-sum(sizes) // 1000) * costs.list_page + sum(sizes) * costs.list_entry
    after = len(sizes) * costs.open + sum(sizes) * (costs.read + costs.fit)
    assert run.seconds == pytest.approx(before + max(free) + after)
    assert all(value >= 0 for value in run.waits.values())


def test_sizes_are_those_of_the_planner() -> None:
    sizes = list(planned_sizes(25_000, labels=2))
    assert sum(sizes) == 25_000
    assert max(sizes) <= 8192
    # The third folder has the shards of the first.
    assert sizes == list(planned_sizes(25_000, labels=2))


def test_the_table_names_what_holds_a_run_up() -> None:
    runs = curve([20_000], [1, 50], replace(FREE, engine=0.01, list_entry=0.001))
    first, second = (line.split(" | ") for line in table(runs).splitlines()[2:])
    assert first[:4] == ["| 20,000", "1", "0.06", "0.1"]
    assert first[5] == "computing |"
    assert second[:2] == ["| 20,000", "50"]
    assert second[5].startswith("last shards (")


def command(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.machines", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_command_simulates() -> None:
    out = command("simulate", "--images", "5000", "20000", "--workers", "1", "10")
    assert [line.split(" | ")[:2] for line in out.splitlines()[2:]] == [
        ["| 5,000", "1"],
        ["| 5,000", "10"],
        ["| 20,000", "1"],
        ["| 20,000", "10"],
    ]


@pytest.mark.slow
def test_the_command_measures_every_step(tmp_path: Path) -> None:
    out = command("entries", "--entries", "5000", "--width", "4", "--folder", str(tmp_path))
    rows = out.splitlines()[2:]
    assert len(rows) == len(STEPS)
    assert all(" | 5,000 | " in row for row in rows)
    assert list(tmp_path.iterdir()) == []
