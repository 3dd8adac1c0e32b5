"""Equations with a positive definite matrix."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.final_layer.discriminant.products import products_of_rows
from tlcli.core.final_layer.positive_definite import factorise, row_parts, solution, solve
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


@pytest.mark.parametrize("count", [300, 700])
@pytest.mark.parametrize("diagonal", [1e-5, 1e-3, 10.0])
def test_an_exact_solution_has_the_digits_of_double_precision(count: int, diagonal: float) -> None:
    """Also where the matrix has no full rank and float32 alone would not do."""
    rows = np.random.Generator(philox(5, 0, 0)).standard_normal((count, count // 3))
    matrix = (rows @ rows.T / count).astype(np.float32)
    right = matrix[:, :3].astype(np.float64) + np.linspace(0, 1e30, 3)
    found = solution(matrix, diagonal, right, exact=True)
    whole = matrix + diagonal * np.eye(count)
    left_over = np.abs(whole @ found - right).max(axis=0)
    assert (left_over <= 1e-5 * np.abs(right).max(axis=0)).all()


def test_the_bits_do_not_depend_on_the_number_of_processors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = np.random.Generator(philox(6, 0, 0)).standard_normal((900, 40)).astype(np.float32)
    found = []
    for cpus in (1, 3):
        monkeypatch.setattr("os.cpu_count", lambda cpus=cpus: cpus)
        monkeypatch.setattr(
            "os.sched_getaffinity", lambda _, cpus=cpus: set(range(cpus)), raising=False
        )
        matrix = products_of_rows(rows)
        np.testing.assert_allclose(matrix, rows @ rows.T, atol=1e-4)
        matrix[np.diag_indices(900)] += 10
        factorise(matrix)
        found.append(np.tril(matrix))
    np.testing.assert_array_equal(*found)


@given(st.integers(0, 1000), st.integers(1, 100))
def test_parts_cover_all_rows_once(count: int, rows: int) -> None:
    parts = row_parts(count, rows)
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(count))
    assert all(part.stop - part.start <= rows for part in parts)
