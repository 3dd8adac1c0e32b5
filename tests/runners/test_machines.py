"""Which pieces a job does, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runners.work import doubling
from tlcli.errors import UsageError
from tlcli.runners.machines import Machines


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"runner": "slurm"}, "local or ray"),
        ({"address": "auto"}, "--runner ray"),
        ({"shard_index": 0}, "--num_shards"),
        ({"shard_index": 2, "num_shards": 2}, "from 0 to 1"),
        ({"runner": "ray", "shard_index": 0, "num_shards": 2}, "leave one"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Machines(**values).check()


def test_jobs_share_all_pieces() -> None:
    jobs = [Machines(num_shards=3, shard_index=index) for index in range(3)]
    assert [[job.has(number) for job in jobs].index(True) for number in range(6)] == [0, 1, 2] * 2
    assert all(sum(job.has(number) for job in jobs) == 1 for number in range(10))
    assert all(Machines(num_shards=3).has(number) for number in range(10))


def test_pieces_are_done_here_by_default() -> None:
    assert [done.value for done in Machines().run(doubling, range(3))] == [0, 2, 4]
