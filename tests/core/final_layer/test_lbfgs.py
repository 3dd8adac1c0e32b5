from __future__ import annotations

import numpy as np
import pytest

from tlcli.core.final_layer.lbfgs import (
    Doubles,
    dot,
    inner_product,
    label_scores,
    minimise_lbfgs,
    norm,
    product,
)


@pytest.mark.parametrize("shape", [(3, 4, 5), (300, 200, 50), (7, 600, 600), (100, 2048, 5)])
def test_products_in_pieces_equal_whole_ones(shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    generator = np.random.default_rng(0)
    left = generator.normal(size=(rows, inner)).astype(np.float32)
    right = generator.normal(size=(inner, columns)).astype(np.float32)
    np.testing.assert_allclose(product(left, right), left @ right, atol=2e-3)
    np.testing.assert_allclose(inner_product(left, right), left @ right, atol=2e-3)
    scores = label_scores(right.T.copy(), left)
    np.testing.assert_allclose(scores, (left @ right).T, atol=2e-3)
    assert scores.flags.c_contiguous


def test_dot_and_norm() -> None:
    assert dot(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])) == 11
    assert norm(np.array([[3.0], [4.0]])) == 5


def bowl(point: Doubles) -> tuple[float, Doubles]:
    scales = np.logspace(0, 2, 30).reshape(2, 15)
    away = point - 3
    return float((scales * away**2).sum()), 2 * scales * away


def test_finds_the_minimum_of_a_badly_scaled_bowl(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "tlcli")
    point, evaluations = minimise_lbfgs(bowl, np.zeros((2, 15)), 1e-6, lambda gradient: gradient)
    np.testing.assert_allclose(point, 3, atol=1e-5)
    assert evaluations < 400
    assert not caplog.messages


def test_logs_that_it_did_not_converge(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "tlcli")
    minimise_lbfgs(bowl, np.zeros((2, 15)), 1e-6, lambda gradient: gradient, 3)
    (message,) = caplog.messages
    assert message.startswith("L-BFGS did not converge in 3 steps: gradient norm ")


def test_stops_at_once_at_the_minimum() -> None:
    start = np.ones((1, 2))
    point, evaluations = minimise_lbfgs(
        lambda point: (0.0, np.zeros_like(point)), start, 1e-9, lambda gradient: gradient
    )
    assert evaluations == 1
    assert point is start
