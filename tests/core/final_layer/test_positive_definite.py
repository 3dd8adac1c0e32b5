"""Equations with a positive definite matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.final_layer.positive_definite import factorise, solve
from tlcli.core.final_layer.sampling import philox


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(1, 4), st.sampled_from(["f4", "f8"]), st.integers(0, 1000))
def test_the_solution_is_that_of_a_general_method(
    count: int, columns: int, kind: str, seed: int
) -> None:
    draw = np.random.Generator(philox(seed, 0, 0))
    rows = draw.standard_normal((count, count + 3))
    matrix = rows @ rows.T / count + np.eye(count)
    right = draw.standard_normal((count, columns))
    wanted = np.linalg.solve(matrix, right)
    factor, found = matrix.astype(kind), right.astype(kind)
    factorise(factor)
    solve(factor, found)
    np.testing.assert_allclose(found, wanted, atol=1e-4 if kind == "f4" else 1e-11)


def test_a_matrix_that_is_not_positive_definite_is_refused() -> None:
    matrix = np.eye(200)
    matrix[150, 150] = -1
    with pytest.raises(np.linalg.LinAlgError):
        factorise(matrix)
