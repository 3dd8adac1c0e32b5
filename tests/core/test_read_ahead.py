"""Decoding ahead: order, bounds, slow sources, failures and early ends."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from tlcli.core.read_ahead import Array, ReadAhead
from tlcli.errors import DataError, GraphError, ImageError


def as_array(number: int) -> Array:
    return np.array(number)


def test_batches_are_full_and_in_order() -> None:
    barrier = threading.Event()

    def read(number: int) -> Array:
        if number == 0:  # the first is the slowest
            barrier.wait(5)
        elif number == 3:
            barrier.set()
        return as_array(number)

    batches = list(ReadAhead(range(10), read, 4, 4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [item for batch in batches for item, _ in batch] == list(range(10))
    assert all(value == np.array(item) for batch in batches for item, value in batch)


def test_nothing_gives_no_batch() -> None:
    assert list(ReadAhead([], as_array, 4, 2)) == []


def test_no_more_is_drawn_than_a_few_batches_ahead() -> None:
    drawn: list[int] = []
    enough = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(10_000):
            drawn.append(number)
            if number == 5:
                enough.set()
            yield number

    batches = iter(ReadAhead(numbers(), as_array, 2, 2))
    next(batches)
    assert enough.wait(5)
    # Six wait in the queue, one is held by the thread that draws, two were handed out.
    assert len(drawn) <= 2 + 6 + 2
    batches.close()  # type: ignore[attr-defined]


def test_an_item_is_read_as_soon_as_it_is_there() -> None:
    typed: queue.Queue[int | None] = queue.Queue()

    def lines() -> Iterator[int]:
        while (number := typed.get(timeout=10)) is not None:
            yield number

    batches = iter(ReadAhead(lines(), as_array, 8, 2))
    for number in range(3):  # each is answered before the next is typed
        typed.put(number)
        assert [item for item, _ in next(batches)] == [number]
    typed.put(None)
    assert list(batches) == []


def test_what_cannot_be_read_is_a_value_of_its_own() -> None:
    def read(number: int) -> Array:
        if number == 1:
            raise ImageError("truncated image")
        if number == 2:
            raise ZeroDivisionError("division by zero")
        if number == 3:
            raise MemoryError
        return as_array(number)

    ((_, one, two, three, four),) = ReadAhead(range(5), read, 8, 2)
    assert str(one[1]) == "truncated image"
    assert "ZeroDivisionError" in str(two[1])
    assert "memory" in str(three[1])
    assert isinstance(four[1], np.ndarray)


def test_what_the_source_raises_comes_after_what_it_gave() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise DataError("the list ends here")

    batches = iter(ReadAhead(numbers(), as_array, 1, 1))
    assert [item for item, _ in next(batches)] == [1]
    with pytest.raises(DataError, match="ends here"):
        next(batches)


def test_an_early_end_stops_the_threads() -> None:
    before = set(threading.enumerate())
    batches = iter(ReadAhead(iter(int, 1), as_array, 2, 2))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


def test_an_error_of_the_graph_ends_the_batches() -> None:
    def read(number: int) -> Array:
        if number == 2:
            raise GraphError("the graph cannot be run")
        return as_array(number)

    batches = iter(ReadAhead(range(9), read, 1, 2))
    assert [next(batches)[0][0] for _ in range(2)] == [0, 1]
    with pytest.raises(GraphError, match="cannot be run"):
        next(batches)


def test_it_is_crowded_while_items_wait() -> None:
    typed: queue.Queue[int | None] = queue.Queue()
    crowded: list[bool] = []
    both = threading.Event()

    def lines() -> Iterator[int]:
        while (number := typed.get(timeout=10)) is not None:
            if number == 2:
                both.set()
            yield number

    def read(number: int) -> Array:
        if number == 1:
            both.wait(5)
            while not ahead.is_crowded:
                threading.Event().wait(0.001)
        crowded.append(ahead.is_crowded)
        return as_array(number)

    ahead = ReadAhead(lines(), read, 1, 1)
    batches = iter(ahead)
    typed.put(0)
    next(batches)
    for number in (1, 2, None):
        typed.put(number)
    assert [batch[0][0] for batch in batches] == [1, 2]
    assert crowded == [False, True, False]
