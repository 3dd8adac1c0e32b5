from __future__ import annotations

import os

import numpy as np
import pytest

from tlcli.runtime import blas_threads
from tlcli.runtime.blas_threads import in_parallel, one_blas_thread


def test_results_are_the_same_and_the_number_of_threads_is_restored() -> None:
    found = blas_threads._functions()
    if found is None:
        pytest.skip("this NumPy was built with another BLAS")
    before, matrix = found[0](), np.random.default_rng(0).normal(size=(300, 300))
    product = matrix @ matrix
    with one_blas_thread():
        assert found[0]() == 1
        np.testing.assert_allclose(matrix @ matrix, product, atol=1e-9)
    assert found[0]() == before


def test_the_number_is_restored_after_an_error() -> None:
    found = blas_threads._functions()
    before = None if found is None else found[0]()
    with pytest.raises(KeyError), one_blas_thread():
        raise KeyError
    assert found is None or found[0]() == before


def test_the_number_is_restored_when_the_last_of_several_is_done() -> None:
    found = blas_threads._functions()
    if found is None:
        pytest.skip("this NumPy was built with another BLAS")
    before = found[0]()
    first, second = one_blas_thread(), one_blas_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)  # another thread may be done first
    assert found[0]() == 1
    second.__exit__(None, None, None)
    assert found[0]() == before


def test_idle_threads_sleep_unless_the_user_sets_it_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENBLAS_THREAD_TIMEOUT", raising=False)
    blas_threads.let_idle_threads_sleep()
    assert int(os.environ["OPENBLAS_THREAD_TIMEOUT"]) < 26  # OpenBLAS takes 4 to 30
    monkeypatch.setenv("OPENBLAS_THREAD_TIMEOUT", "28")
    blas_threads.let_idle_threads_sleep()
    assert os.environ["OPENBLAS_THREAD_TIMEOUT"] == "28"


def test_each_item_is_worked_on_once() -> None:
    seen: list[int] = []
    in_parallel(seen.append, range(50))
    assert sorted(seen) == list(range(50))


def test_an_error_of_any_thread_reaches_the_caller() -> None:
    def work(item: int) -> None:
        if item == 7:
            raise KeyError(item)

    with pytest.raises(KeyError, match="7"):
        in_parallel(work, range(20))


def test_the_callers_rules_for_overflows_hold_in_all_threads() -> None:
    large = np.full(10, 1e38, np.float32)
    with np.errstate(over="ignore"):
        in_parallel(lambda _: large * large, range(20))
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        in_parallel(lambda _: large * large, range(20))
