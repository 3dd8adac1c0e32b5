"""The garbage collector is paused inside and back afterwards, whatever happens."""

from __future__ import annotations

import gc

import pytest

from tlcli.system.gc_pause import gc_paused


def test_collection_is_back_after_an_error() -> None:
    assert gc.isenabled()

    @gc_paused()
    def fails() -> None:
        assert not gc.isenabled()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert gc.isenabled()


def test_inner_blocks_leave_the_outer_one_paused() -> None:
    @gc_paused()
    def inner() -> bool:
        return gc.isenabled()

    with gc_paused():
        assert not inner()
        assert not gc.isenabled()
    assert gc.isenabled()
    assert not inner()
    assert gc.isenabled()


def test_a_caller_that_switched_it_off_keeps_it_off() -> None:
    gc.disable()
    try:
        with gc_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
