"""Work done in this process."""

from __future__ import annotations

import pytest

from tests.runners.work import doubling, failing_at_three, missing
from tlcli.errors import BackboneError
from tlcli.runners.local import run_locally


def test_results_come_in_order() -> None:
    assert [done.value for done in run_locally(doubling, range(5))] == [0, 2, 4, 6, 8]


def test_a_piece_that_fails_is_set_aside() -> None:
    done = list(run_locally(failing_at_three, range(5)))
    assert [each.value for each in done] == [0, 1, 2, None, 4]
    assert [each.reason for each in done if each.value is None] == ["three is no number"]


def test_what_every_piece_needs_ends_the_work() -> None:
    with pytest.raises(BackboneError, match="not installed"):
        next(run_locally(missing, range(5)))


def test_nothing_is_made_for_no_work() -> None:
    assert list(run_locally(missing, [])) == []
