from __future__ import annotations

import threading

import pytest

from tlcli.runtime.ahead import Ahead, Once


def name() -> str:
    return threading.current_thread().name


def fails() -> None:
    raise KeyError("ahead")


def test_what_began_is_returned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with Ahead() as ahead:
        ahead.begin(name)
        assert ahead.result(name) == "tlcli-ahead"
        assert ahead.result(name) == name()
        ahead.begin(fails)
        with pytest.raises(KeyError, match="ahead"):
            ahead.result(fails)
        ahead.begin(fails)  # nobody asks


def test_one_processor_does_one_thing_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    with Ahead() as ahead:
        ahead.begin(name)
        assert ahead.result(name) == name()


def test_a_shared_value_is_computed_by_the_first_who_asks() -> None:
    computed = []
    begun = threading.Event()

    def compute(value: int) -> int:
        computed.append(value)
        begun.wait(10)
        return value

    shared = Once(compute, 3)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(shared())) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join()
    assert found == [3, 3]
    assert computed == [3]
    with pytest.raises(KeyError, match="ahead"):
        Once(fails)()
