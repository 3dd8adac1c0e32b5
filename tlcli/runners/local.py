"""Work done one piece after another in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from tlcli.errors import TlcliError

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Finished(Generic[Item, Value]):
    """A piece of work that came to an end.

    Attributes:
        item: the piece.
        value: its result; None where it was set aside.
        reason: why it was set aside; "" where it was not.
    """

    item: Item
    value: Value | None
    reason: str = ""


def run_locally(
    make: Callable[[], Callable[[Item], Value]], items: Iterable[Item]
) -> Iterator[Finished[Item, Value]]:
    """Yield the result of each piece of work, in order.

    Args:
        make: returns the function that does a piece; it is called once, before the first.
        items: the pieces, taken as they are needed.

    Raises:
        TlcliError: ``make`` failed. What goes wrong in a piece sets this piece aside.
    """
    work: Callable[[Item], Value] | None = None
    for item in items:
        if work is None:
            work = make()
        try:
            yield Finished(item, work(item))
        except (TlcliError, OSError, MemoryError) as error:
            yield Finished(item, None, str(error) or type(error).__name__)
