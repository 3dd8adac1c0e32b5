from __future__ import annotations

import threading

import pytest

from tlcli.runtime.ahead import Ahead


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
