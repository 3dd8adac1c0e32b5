"""The options of many machines, which mean the same in every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from tlcli.commands.options import whole

_Function = TypeVar("_Function", bound=Callable[..., Any])


def cluster_options(what: str) -> Callable[[_Function], _Function]:
    """Return the decorator for ``--runner`` and ``--address``.

    Args:
        what: is done there, for the help.
    """

    def add(function: _Function) -> _Function:
        function = click.option(
            "--address",
            metavar="NAME",
            help="Running Ray cluster, such as HOST:6379 or auto.  [default: RAY_ADDRESS, else one "
            "on this machine]",
        )(function)
        return click.option(
            "--runner",
            type=click.Choice(["local", "ray"], case_sensitive=False),
            default="local",
            show_default=True,
            help=f"Where {what}: in this process, or on a Ray cluster, of whose machines some may "
            "be lost on the way.",
        )(function)

    return add


def shard_options(jobs: str, job: str) -> Callable[[_Function], _Function]:
    """Return the decorator for ``--num_shards`` and ``--shard_index``.

    Args:
        jobs: the help of ``--num_shards``.
        job: the help of ``--shard_index``.
    """

    def add(function: _Function) -> _Function:
        index = click.option("--shard_index", type=whole, metavar="N", help=job)
        count = click.option("--num_shards", type=whole, metavar="N", help=jobs)
        return count(index(function))

    return add
