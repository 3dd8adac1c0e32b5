from __future__ import annotations

import numpy as np
import pytest

from tlcli.runtime import blas_threads
from tlcli.runtime.blas_threads import one_blas_thread


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
