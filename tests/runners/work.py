"""Work for the tests of runners; processes of a cluster import it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tlcli.errors import BackboneError, DataError


def doubling() -> Callable[[int], int]:
    return lambda number: 2 * number


def failing_at_three() -> Callable[[int], int]:
    def work(number: int) -> int:
        if number == 3:
            raise DataError("three is no number")
        return number

    return work


def missing() -> Callable[[int], int]:
    raise BackboneError("the weights are not installed")


def dying_at_three() -> Callable[[int], int]:
    def work(number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    return work


def sleeping() -> Callable[[float], float]:
    def work(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    return work


class Slow:
    """Writes the process and the node that it runs on, and takes its time."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds

    def __call__(self) -> Callable[[int], int]:
        return self.work

    def work(self, number: int) -> int:
        import ray

        with (self.folder / str(number)).open("a") as file:
            file.write(f"{os.getpid()} {ray.get_runtime_context().get_node_id()}\n")
        time.sleep(self.seconds)
        with (self.folder / str(number)).open("a") as file:
            file.write("done\n")
        return number
