"""McNemar's exact test, and the sentence that says what it found."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from tlcli.core.evaluation.comparison import GraphComparison
from tlcli.core.evaluation.graph_accuracy import GraphAccuracy
from tlcli.core.evaluation.metrics import evaluate, mcnemar


@pytest.mark.parametrize(
    ("counts", "p_value"),
    [
        ((0, 0), 1.0),
        ((5, 5), 1.0),
        ((1, 0), 1.0),
        ((5, 0), 2 / 32),
        ((6, 0), 2 / 64),
        # 2 (1 + 12 + 66) / 4096
        ((10, 2), 158 / 4096),
        ((2, 10), 158 / 4096),
    ],
)
def test_known_values(counts: tuple[int, int], p_value: float) -> None:
    assert mcnemar(*counts) == pytest.approx(p_value, rel=1e-12)


@pytest.mark.parametrize(
    ("one", "other"), [(500, 501), (480, 560), (900, 1100), (40, 1500), (4900, 5200)]
)
def test_large_counts_agree_with_whole_numbers(one: int, other: int) -> None:
    count = one + other
    term = tail = 1  # C(n, k) from C(n, k - 1): exact, and quick
    for number in range(1, min(one, other) + 1):
        term = term * (count - number + 1) // number
        tail += term
    assert mcnemar(one, other) == pytest.approx(
        float(min(Fraction(1), Fraction(2 * tail, 2**count))), rel=1e-9
    )


def test_counts_beyond_floats_stay_probabilities() -> None:
    assert mcnemar(0, 5000) == 0.0
    assert 0.9 < mcnemar(500_000, 500_001) <= 1.0
    # Five standard deviations of sqrt(n) / 2 from the middle.
    p_value = mcnemar(502_500, 497_500)
    assert p_value == pytest.approx(math.erfc(5 / math.sqrt(2)), rel=0.05)


def test_it_falls_as_the_counts_part() -> None:
    values = [mcnemar(20 - fewer, fewer) for fewer in range(10, -1, -1)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 9


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        mcnemar(-1, 2)


def comparison(only_first: int, only_second: int) -> GraphComparison:
    def graph(name: str) -> GraphAccuracy:
        return GraphAccuracy(name, ("a", "b"), evaluate(np.zeros(1), np.zeros(1), 2), (), ())

    return GraphComparison(graph("old.pb"), graph("new.pb"), 9, only_first, only_second, 1, ())


@pytest.mark.parametrize(
    ("counts", "start", "inside"),
    [
        ((0, 0), "No image was labelled rightly by one graph alone", "do not tell"),
        ((1, 0), "The difference may well be chance: of the 1 image that", "p = 1.00"),
        ((3, 8), "The difference may well be chance: of the 11 images", "p = 0.23"),
        ((2, 10), "new.pb is better by more than chance", "p = 0.0386"),
        ((40, 2), "old.pb is better by more than chance", "p < 0.0001"),
    ],
)
def test_the_sentence(counts: tuple[int, int], start: str, inside: str) -> None:
    found = comparison(*counts)
    assert found.sentence().startswith(start)
    assert inside in found.sentence()
    assert found.is_significant == ("better" in start)
