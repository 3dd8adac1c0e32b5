"""The statistics of the accuracy benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy.comparison import Difference, Outcome, difference, is_worse, joined
from benchmarks.accuracy.document import Report, write_tables
from benchmarks.accuracy.draws import draws
from benchmarks.accuracy.results import Results

LABELS = np.repeat([0, 1], 10)
GROUPS = [str(row) for row in range(20)]


def outcome(right: list[float]) -> Outcome:
    values = np.array([right])
    return Outcome(values, np.arange(values.size).reshape(1, -1) % 2, 0.1)


def test_every_image_is_tested_once_per_seed() -> None:
    for seed in range(2):
        tested = [draw.testing for draw in draws(LABELS, GROUPS, None, 5, seed)]
        assert len(tested) == 5
        assert sorted(np.concatenate(tested)) == [*range(20)]


def test_few_images_are_drawn_from_the_other_folds() -> None:
    fewer = list(draws(LABELS, GROUPS, 2, 5, 1))
    more = list(draws(LABELS, GROUPS, 3, 5, 1))
    for two, three in zip(fewer, more, strict=True):
        assert list(np.bincount(LABELS[two.training])) == [2, 2]
        assert set(two.training) < set(three.training)
        assert not set(three.training) & set(three.testing)


def test_no_draw_where_the_other_folds_have_no_more() -> None:
    assert not list(draws(LABELS, GROUPS, 8, 5, 1))


def test_difference_is_paired() -> None:
    better, base = outcome([1, 1, 1, 0, 1, 1]), outcome([1, 0, 1, 0, 1, 1])
    found = difference(better, base)
    assert found.points == pytest.approx(100 / 6)
    assert found.error == pytest.approx(100 / 6)
    assert difference(base, base) == Difference(0, 0)


def test_images_that_one_of_both_did_not_test_do_not_count() -> None:
    assert difference(outcome([1, np.nan, 1, 0]), outcome([1, 0, 1, 1])).points == pytest.approx(
        -100 / 3
    )


def test_divisions_are_joined_and_compared_seed_by_seed() -> None:
    better = joined([outcome([1, 1]), outcome([1, 0])])
    assert better.accuracy == 75
    assert better.right.shape == (2, 2)
    assert difference(better, outcome([1, 0])).points == 50  # of the seed that both have


@pytest.mark.parametrize(("points", "error", "worse"), [(-3, 1, True), (-3, 1.3, False)])
def test_worse_only_beyond_twice_the_error(points: float, error: float, worse: bool) -> None:
    assert is_worse(Difference(points, error)) is worse


def test_a_later_run_goes_on_from_what_was_kept(tmp_path: Path) -> None:
    key = ("food", None, "original")
    for seed in (0, 2):  # the second is missing, and the third waits for it
        Results(tmp_path / "kept").add(key, seed, outcome([1, 0]))
    results = Results(tmp_path / "kept")
    assert (key, 2) in results
    assert (key, 1) not in results
    assert results.outcomes()[key].right.shape == (1, 2)


def test_the_tables_are_written_into_the_document(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    outcomes = {
        ("plates, MobileNet v1", 5, "original"): outcome([1, 0, 0, 0]),
        ("food", None, "original"): outcome([1, 0, 1, 0]),
        ("food", None, "standard"): outcome([1, 1, 1, 0]),
    }
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- presets:begin -->\nearlier table\n<!-- presets:end -->\nafter\n")
    write_tables(page, str(Report(outcomes, ["original", "standard", "best"])))
    text = page.read_text()
    assert "| food | all | 50.0 | +25.0 (50.0) |" in text
    assert "| plates, MobileNet v1 | 5 | 25.0 |  |" in text
    assert "| **mean of the photos** | all | 50.0 | +25.0 (50.0) |" in text
    assert "`best`" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "earlier table" not in text
