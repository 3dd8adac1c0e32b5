"""Decoding ahead: order, bounds, slow sources, failures and early ends."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.classifier.prefetch import Array, Prefetcher
from tlcli.errors import DataError, GraphError, ImageError


def as_array(number: int) -> Array:
    return np.array(number)


def lines(typed: queue.Queue[int | None]) -> Iterator[int]:
    """Yield what is typed, as it comes, up to None."""
    while (number := typed.get(timeout=10)) is not None:
        yield number


def test_batches_are_full_and_in_order() -> None:
    barrier = threading.Event()

    def read(number: int) -> Array:
        if number == 0:  # the first is the slowest
            barrier.wait(5)
        elif number == 3:
            barrier.set()
        return as_array(number)

    batches = list(Prefetcher(range(10), read, 4, 4))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert [item for batch in batches for item, _ in batch] == list(range(10))
    assert all(value == np.array(item) for batch in batches for item, value in batch)


def test_nothing_gives_no_batch() -> None:
    assert list(Prefetcher([], as_array, 4, 2)) == []


def test_no_more_is_drawn_than_a_few_batches_ahead() -> None:
    drawn: list[int] = []
    enough = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(10_000):
            drawn.append(number)
            if number == 5:
                enough.set()
            yield number

    batches = iter(Prefetcher(numbers(), as_array, 2, 2))
    next(batches)
    assert enough.wait(5)
    # Six are read ahead, two were handed out.
    assert len(drawn) <= 2 + 6
    batches.close()  # type: ignore[attr-defined]


def test_an_item_is_read_as_soon_as_it_is_there() -> None:
    typed: queue.Queue[int | None] = queue.Queue()
    batches = iter(Prefetcher(lines(typed), as_array, 8, 2))
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

    ((_, one, two, three, four),) = Prefetcher(range(5), read, 8, 2)
    assert str(one[1]) == "truncated image"
    assert "ZeroDivisionError" in str(two[1])
    assert "memory" in str(three[1])
    assert isinstance(four[1], np.ndarray)


def test_what_the_source_raises_comes_after_what_it_gave() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise DataError("the list ends here")

    batches = iter(Prefetcher(numbers(), as_array, 1, 1))
    assert [item for item, _ in next(batches)] == [1]
    with pytest.raises(DataError, match="ends here"):
        next(batches)


def test_an_early_end_stops_the_threads() -> None:
    before = set(threading.enumerate())
    batches = iter(Prefetcher(iter(int, 1), as_array, 2, 2))
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

    batches = iter(Prefetcher(range(9), read, 1, 2))
    assert [next(batches)[0][0] for _ in range(2)] == [0, 1]
    with pytest.raises(GraphError, match="cannot be run"):
        next(batches)


def test_it_is_crowded_while_several_are_read() -> None:
    typed: queue.Queue[int | None] = queue.Queue()
    crowded: dict[int, bool] = {}
    second, first = threading.Event(), threading.Event()

    def read(number: int) -> Array:
        if number == 1:
            assert second.wait(5)
        elif number == 2:
            second.set()
            assert first.wait(5)
        crowded[number] = ahead.is_crowded
        if number == 1:
            first.set()
        return as_array(number)

    ahead = Prefetcher(lines(typed), read, 1, 2)
    batches = iter(ahead)
    typed.put(0)
    next(batches)
    for number in (1, 2, None):
        typed.put(number)
    assert [batch[0][0] for batch in batches] == [1, 2]
    assert (crowded[0], crowded[1]) == (False, True)


def test_a_source_that_never_answers_holds_no_other_thread() -> None:
    answer = threading.Event()

    def lines() -> Iterator[int]:
        yield 0
        answer.wait(10)
        yield 1

    before = set(threading.enumerate())
    batches = iter(Prefetcher(lines(), as_array, 1, 3))
    assert [item for item, _ in next(batches)] == [0]
    batches.close()  # type: ignore[attr-defined]
    started = set(threading.enumerate()) - before
    ends = time.monotonic() + 5
    while sum(thread.is_alive() for thread in started) > 1 and time.monotonic() < ends:
        time.sleep(0.01)
    assert sum(thread.is_alive() for thread in started) == 1  # the one that asked
    answer.set()
    for thread in started:
        thread.join(5)
        assert not thread.is_alive()


@given(
    count=st.integers(0, 40),
    size=st.integers(1, 9),
    threads=st.integers(1, 5),
    broken=st.sets(st.integers(0, 39)),
)
@settings(max_examples=60, deadline=None)
def test_every_item_comes_once_and_in_order(
    count: int, size: int, threads: int, broken: set[int]
) -> None:
    def read(number: int) -> Array:
        if number in broken:
            raise ImageError("broken")
        return as_array(number)

    batches = list(Prefetcher(range(count), read, size, threads))
    assert [item for batch in batches for item, _ in batch] == list(range(count))
    assert all(1 <= len(batch) <= size for batch in batches)
    for item, value in (pair for batch in batches for pair in batch):
        assert isinstance(value, ImageError) == (item in broken)


@given(
    count=st.integers(0, 60),
    threads=st.integers(1, 4),
    group=st.integers(1, 9),
    broken=st.sets(st.integers(0, 59)),
)
@settings(max_examples=60, deadline=None)
def test_groups_are_read_and_then_worked_on(
    count: int, threads: int, group: int, broken: set[int]
) -> None:
    read: list[int] = []
    waiting: dict[int, int] = {}

    def look(number: int) -> Array:
        thread = threading.get_ident()
        waiting[thread] = waiting.get(thread, 0) + 1
        assert waiting[thread] <= group
        if number in broken:
            waiting[thread] -= 1
            raise ImageError("broken")
        read.append(number)
        return as_array(number)

    def double(value: Array) -> Array:
        waiting[threading.get_ident()] -= 1
        return 2 * value

    batches = list(Prefetcher(range(count), look, 1, threads, double, group))
    assert [item for batch in batches for item, _ in batch] == list(range(count))
    for ((item, value),) in batches:
        if item in broken:
            assert str(value) == "broken"
        else:
            assert value == 2 * item
    assert sorted(read) == sorted(set(range(count)) - broken)


def test_a_group_takes_no_more_than_is_there() -> None:
    typed: queue.Queue[int | None] = queue.Queue()
    batches = iter(Prefetcher(lines(typed), as_array, 1, 2, as_array, 16))
    for number in range(3):  # each is answered before the next is typed
        typed.put(number)
        assert [item for item, _ in next(batches)] == [number]
    typed.put(None)
    assert list(batches) == []


def test_a_slow_group_shows_what_it_has() -> None:
    go_on = threading.Event()

    def slowly(value: Array) -> Array:
        if value == 0:
            time.sleep(0.15)  # longer than results are kept together
        elif value == 1:
            assert go_on.wait(10)
        return value

    batches = iter(Prefetcher(range(2), as_array, 1, 1, slowly, 2))
    assert next(batches)[0][0] == 0
    go_on.set()
    assert [batch[0][0] for batch in batches] == [1]


def test_an_error_of_the_graph_behind_others_comes_in_its_place() -> None:
    def fail(value: Array) -> Array:
        if value == 3:
            raise GraphError("the graph cannot be run")
        return value

    batches = iter(Prefetcher(range(9), as_array, 1, 2, fail, 4))
    assert [next(batches)[0][0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(GraphError, match="cannot be run"):
        next(batches)
