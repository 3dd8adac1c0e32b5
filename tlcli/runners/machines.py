"""Which machines do the pieces of a job, as its options say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tlcli.errors import UsageError
from tlcli.runners.local import Finished, run_locally

Item = TypeVar("Item")
Value = TypeVar("Value")

RUNNERS = ("local", "ray")


@dataclass(frozen=True)
class Machines:
    """Who does the pieces of a job.

    Attributes:
        runner: one of `RUNNERS`: this process, or a Ray cluster.
        address: of the cluster; None: see `tlcli.runners.ray_cluster.Cluster`.
        num_shards: number of jobs that share the pieces without a cluster; None: there is one.
        shard_index: number of this job, from 0; None: this process does the pieces of all jobs.
    """

    runner: str = "local"
    address: str | None = None
    num_shards: int | None = None
    shard_index: int | None = None

    def check(self) -> None:
        """Check the values against each other.

        Raises:
            UsageError: they cannot be used together, or Ray is missing.
        """
        if self.runner not in RUNNERS:
            raise UsageError(f"--runner is {self.runner!r}; choose local or ray")
        if self.address is not None and self.runner != "ray":
            raise UsageError("--address is that of a Ray cluster; add --runner ray")
        if self.shard_index is None:
            return
        jobs = self.num_shards
        if jobs is None:
            raise UsageError("--shard_index is one of --num_shards jobs; give that number too")
        if not 0 <= self.shard_index < jobs:
            raise UsageError(
                f"--shard_index is {self.shard_index}; with --num_shards {jobs} give a number from "
                f"0 to {jobs - 1}"
            )
        if self.runner == "ray":
            raise UsageError(
                "--shard_index is the share of one of several jobs without a cluster, and --runner "
                "ray computes all; leave one of the two out"
            )

    @property
    def by_shards(self) -> bool:
        """Whether a job is cut into pieces at all."""
        return self.runner == "ray" or self.num_shards is not None

    def has(self, number: int) -> bool:
        """Return whether this job does the piece of a number."""
        return self.shard_index is None or number % (self.num_shards or 1) == self.shard_index

    def run(
        self, make: Callable[[], Callable[[Item], Value]], items: Iterable[Item]
    ) -> Iterator[Finished[Item, Value]]:
        """Yield each piece once it is done, or was set aside; see `run_locally`, `run_on_ray`.

        Raises:
            TlcliError: ``make`` failed, or the cluster cannot be used.
        """
        if self.runner == "ray":
            from tlcli.runners.ray_cluster import Cluster, run_on_ray

            return run_on_ray(make, items, Cluster(self.address))
        return run_locally(make, items)
