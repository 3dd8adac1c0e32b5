"""Work done by the processes of a Ray cluster.

Each piece of work is a Ray task: Ray finds a process for it, and another one where the process or
its machine is lost. A process keeps what ``make`` returned, so a backbone is loaded once in each.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from tlcli.errors import StorageError, TlcliError, UsageError
from tlcli.runners.local import Finished
from tlcli.system.cpus import available_cpus, use_at_most

Item = TypeVar("Item")
Value = TypeVar("Value")

MISSING = "--runner ray needs the package ray: pip install 'tlcli[ray]'"
# Shared memory of a cluster that is started here: pieces of work are names of files.
_SHARED_BYTES = 200_000_000
# What waits in Ray: enough for a cluster that adds machines as work waits for them.
_LEAST_WAITING = 64
_CONNECT_SECONDS = 10.0
# What Ray reads when it is imported, unless the person has set it.
_SETTINGS = {
    # It would report its use to its makers.
    "RAY_USAGE_STATS_ENABLED": "0",
    # It would print what befalls the cluster to standard output, where results are.
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}

# In the processes of the cluster: what `make` returned, by the run.
_made: dict[str, Callable[[Any], Any]] = {}


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster and how it is used.

    Attributes:
        address: of a running cluster ("auto", "HOST:6379", "ray://HOST:10001"); None: that in
            ``RAY_ADDRESS``, else one is started on this machine and ended afterwards.
        cpus: that a piece of work takes, at least 1.
        retries: of a piece whose process or machine was lost, to which the system refused a
            file, or for which there was too little memory.
        patience: seconds to wait for a cluster without any CPU before the work ends.
    """

    address: str | None = None
    cpus: int = 1
    retries: int = 3
    patience: float = 600.0


class WorkerError(TlcliError):
    """What a worker needs for any piece of work is missing on its machine."""


def check_ray() -> None:
    """Refuse to go on without Ray.

    Raises:
        UsageError: it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError(MISSING)


def run_on_ray(
    make: Callable[[], Callable[[Item], Value]], items: Iterable[Item], cluster: Cluster
) -> Iterator[Finished[Item, Value]]:
    """Yield the result of each piece of work as it is done, in any order.

    Args:
        make: returns the function that does a piece; it is pickled, and called once in each
            process.
        items: the pieces, pickled, taken as the cluster needs them.
        cluster: where.

    Raises:
        TlcliError: ``make`` failed, or the cluster cannot be used. What goes wrong in a piece,
            after Ray's retries, sets this piece aside.
    """
    check_ray()
    # By default a piece that needs more memory than there is would be tried for ever.
    for name, value in {**_SETTINGS, "RAY_task_oom_retries": str(cluster.retries)}.items():
        os.environ.setdefault(name, value)
    import ray

    with _connected(cluster):
        run = os.urandom(8).hex()
        shared = ray.put(make)
        task = ray.remote(_work).options(
            num_cpus=cluster.cpus,
            max_retries=cluster.retries,
            retry_exceptions=[OSError, MemoryError],
        )
        source = iter(items)
        waiting: dict[Any, Item] = {}
        while True:
            for item in islice(source, max(0, _most_waiting(cluster) - len(waiting))):
                waiting[task.remote(run, shared, item, cluster.cpus)] = item
            if not waiting:
                return
            done = _next(list(waiting), cluster)
            yield _finished(done, waiting.pop(done))


def _work(run: str, make: Callable[[], Callable[[Any], Any]], item: Any, cpus: int) -> Any:
    """Do a piece of work in a process of the cluster."""
    if run not in _made:
        use_at_most(cpus)
        logging.getLogger("tlcli").setLevel(logging.ERROR)
        try:
            made = make()
        except TlcliError as error:
            raise WorkerError(str(error)) from None
        _made.clear()
        _made[run] = made
    try:
        return _made[run](item)
    except StorageError as error:
        if error.is_passing:
            raise OSError(str(error)) from None
        return _Refused(str(error))
    except TlcliError as error:
        # As text: trying it again would not help.
        return _Refused(str(error))


class _Refused(str):
    """Why a piece of work cannot be done, however often it is tried."""

    __slots__ = ()


def _finished(done: Any, item: Item) -> Finished[Item, Any]:
    import ray

    try:
        value = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, WorkerError):
            raise WorkerError(str(cause)) from None
        return Finished(item, None, f"{type(cause).__name__}: {cause}")
    except ray.exceptions.RayError as error:
        return Finished(item, None, f"{type(error).__name__}: {_first_line(error)}")
    if isinstance(value, _Refused):
        return Finished(item, None, str(value))
    return Finished(item, value)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else "no reason was given"


def _most_waiting(cluster: Cluster) -> int:
    return max(_LEAST_WAITING, 2 * _cpus() // cluster.cpus)


def _cpus() -> int:
    import ray

    return int(ray.cluster_resources().get("CPU", 0))


def _next(waiting: list[Any], cluster: Cluster) -> Any:
    """Return a piece that is done.

    Raises:
        WorkerError: the cluster had no CPU for as long as its patience.
    """
    import ray

    last = time.monotonic()
    while True:
        found, _ = ray.wait(waiting, num_returns=1, timeout=min(10.0, cluster.patience))
        if found:
            return found[0]
        if _cpus() >= cluster.cpus:
            last = time.monotonic()
        elif time.monotonic() - last >= cluster.patience:
            raise WorkerError(
                f"the Ray cluster has had no CPU for {cluster.patience:.0f} seconds; add machines "
                "and run the command again: what is done stays"
            )


def _check_reachable(address: str) -> None:
    """Refuse an address at which nobody listens: Ray itself tries for many minutes.

    Raises:
        TlcliError: there is nobody.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # such as "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise _unusable(f"at {address}", error.strerror or str(error)) from error


def _unusable(where: str, reason: str) -> TlcliError:
    return TlcliError(
        f"no Ray cluster can be used {where}: {reason}; check --address, and that `ray status` "
        "shows the cluster"
    )


@contextmanager
def _connected(cluster: Cluster) -> Iterator[None]:
    """Connect to the cluster, or start one; end what was started."""
    import ray

    if ray.is_initialized():
        # A program that uses tlcli as a library has its own.
        yield
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS") or None
    own: dict[str, Any] = {}
    if address is not None:
        _check_reachable(address)
    else:
        own = {
            "num_cpus": max(available_cpus(), cluster.cpus),
            "object_store_memory": _SHARED_BYTES,
            "include_dashboard": False,
        }
    try:
        # Without "local", Ray would join a cluster that someone else runs here.
        ray.init(
            address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = "on this machine" if address is None else f"at {address}"
        raise _unusable(where, _first_line(error)) from error
    try:
        yield
    finally:
        with suppress(Exception):
            ray.shutdown()
