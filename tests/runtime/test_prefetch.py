"""Prefetching: order, bounds, slow sources, failures and early ends."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.errors import DataError, GraphError
from tlcli.runtime.prefetch import Prefetcher


def each(work: Callable[[int], int]) -> Callable[[Sequence[int]], Iterator[int]]:
    """Return what works on the items of a group one by one."""
    return lambda group: (work(number) for number in group)


same = each(lambda number: number)


def lines(typed: queue.Queue[int | None]) -> Iterator[int]:
    """Yield what is typed, as it comes, up to None."""
    while (number := typed.get(timeout=300)) is not None:
        yield number


def test_batches_are_full_and_in_order() -> None:
    barrier = threading.Event()

    def double(number: int) -> int:
        if number == 0:  # the first is the slowest
            barrier.wait(300)
        elif number == 3:
            barrier.set()
        return 2 * number

    batches = list(Prefetcher(range(10), each(double), 4, 4).batches())
    assert [len(batch) for batch in batches] == [4, 4, 2]
    pairs = [pair for batch in batches for pair in batch]
    assert pairs == [(number, 2 * number) for number in range(10)]


def test_nothing_gives_no_batch() -> None:
    assert list(Prefetcher([], same, 2, 4).batches()) == []
    assert list(Prefetcher([], same, 2)) == []


def test_no_more_is_drawn_than_a_few_batches_ahead() -> None:
    drawn: list[int] = []
    enough = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(10_000):
            drawn.append(number)
            if number == 5:
                enough.set()
            yield number

    batches = Prefetcher(numbers(), same, 2, 2).batches()
    next(batches)
    assert enough.wait(300)
    # Six are prefetched, two were handed out.
    assert len(drawn) <= 2 + 6
    batches.close()  # type: ignore[attr-defined]


def test_an_item_is_worked_on_as_soon_as_it_is_there() -> None:
    typed: queue.Queue[int | None] = queue.Queue()
    batches = Prefetcher(lines(typed), same, 2, 8).batches()
    for number in range(3):  # each is answered before the next is typed
        typed.put(number)
        assert [item for item, _ in next(batches)] == [number]
    typed.put(None)
    assert list(batches) == []


def test_what_the_source_raises_comes_after_what_it_gave() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise DataError("the list ends here")

    pairs = iter(Prefetcher(numbers(), same, 1))
    assert next(pairs) == (1, 1)
    with pytest.raises(DataError, match="ends here"):
        next(pairs)


def test_an_early_end_stops_the_threads() -> None:
    before = set(threading.enumerate())
    batches = Prefetcher(iter(int, 1), same, 2, 2).batches()
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("group", [1, 4])
def test_an_error_of_the_work_comes_at_its_item(group: int) -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise GraphError("the graph cannot be run")
        return number

    pairs = iter(Prefetcher(range(9), each(fail), 2, group=lambda: group))
    assert [next(pairs)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(GraphError, match="cannot be run"):
        next(pairs)


def test_a_batch_before_an_error_comes_first() -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise GraphError("the graph cannot be run")
        return number

    batches = Prefetcher(range(9), each(fail), 2, 2).batches()
    assert [next(batches) for _ in range(2)] == [[(0, 0), (1, 1)], [(2, 2)]]
    with pytest.raises(GraphError, match="cannot be run"):
        next(batches)


def test_what_was_computed_ahead_of_an_error_is_returned() -> None:
    computed = threading.Event()

    def fail(number: int) -> int:
        if number == 1:
            assert computed.wait(300)
            raise GraphError("the graph cannot be run")
        if number == 3:
            computed.set()
        return number

    prefetcher = Prefetcher(range(4), each(fail), 2)
    pairs = iter(prefetcher)
    assert next(pairs) == (0, 0)
    with pytest.raises(GraphError):
        next(pairs)
    assert prefetcher.stop() == [(2, 2), (3, 3)]
    assert not [t for t in threading.enumerate() if t.name.startswith("tlcli-prefetch")]
    assert Prefetcher(range(4), same, 2).stop() == []  # not begun


def test_it_is_crowded_while_several_lack_a_result() -> None:
    typed: queue.Queue[int | None] = queue.Queue()
    crowded: dict[int, bool] = {}
    second, first = threading.Event(), threading.Event()

    def work(number: int) -> int:
        if number == 1:
            assert second.wait(300)
        elif number == 2:
            second.set()
            assert first.wait(300)
        crowded[number] = prefetcher.is_crowded
        if number == 1:
            first.set()
        return number

    prefetcher = Prefetcher(lines(typed), each(work), 2)
    pairs = iter(prefetcher)
    typed.put(0)
    next(pairs)
    for number in (1, 2, None):
        typed.put(number)
    assert [item for item, _ in pairs] == [1, 2]
    assert (crowded[0], crowded[1]) == (False, True)


def test_a_source_that_never_answers_holds_no_other_thread() -> None:
    answer = threading.Event()

    def lines() -> Iterator[int]:
        yield 0
        answer.wait(300)
        yield 1

    before = set(threading.enumerate())
    pairs = iter(Prefetcher(lines(), same, 3))
    assert next(pairs) == (0, 0)
    pairs.close()  # type: ignore[attr-defined]
    started = set(threading.enumerate()) - before
    ends = time.monotonic() + 300
    while sum(thread.is_alive() for thread in started) > 1 and time.monotonic() < ends:
        time.sleep(0.01)
    assert sum(thread.is_alive() for thread in started) == 1  # the one that asked
    answer.set()
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()


@given(
    count=st.integers(0, 60),
    size=st.integers(1, 9),
    threads=st.integers(1, 5),
    group=st.integers(1, 9),
)
@settings(max_examples=60, deadline=None)
def test_every_item_comes_once_and_in_order(
    count: int, size: int, threads: int, group: int
) -> None:
    def work(items: Sequence[int]) -> Iterator[int]:
        assert 1 <= len(items) <= group
        return (2 * item for item in items)

    prefetcher = Prefetcher(range(count), work, threads, size, lambda: group)
    batches = list(prefetcher.batches())
    assert all(1 <= len(batch) <= size for batch in batches)
    pairs = [pair for batch in batches for pair in batch]
    assert pairs == [(number, 2 * number) for number in range(count)]


def test_a_group_takes_no_more_than_is_there() -> None:
    typed: queue.Queue[int | None] = queue.Queue()
    pairs = iter(Prefetcher(lines(typed), same, 2, group=lambda: 16))
    for number in range(3):  # each is returned before the next is typed
        typed.put(number)
        assert next(pairs) == (number, number)
    typed.put(None)
    assert list(pairs) == []


def test_a_slow_group_shows_what_it_has() -> None:
    go_on = threading.Event()

    def slowly(number: int) -> int:
        if number == 0:
            time.sleep(0.15)  # longer than results wait for the others of their group
        elif number == 1:
            assert go_on.wait(300)
        return number

    pairs = iter(Prefetcher(range(2), each(slowly), 1, group=lambda: 2))
    assert next(pairs) == (0, 0)
    go_on.set()
    assert list(pairs) == [(1, 1)]
