"""The benchmark of the server: it runs, and its table holds what it measured."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT, Trained


@pytest.mark.slow
def test_a_table_of_medians_and_ratios(trained: Trained) -> None:
    photo = trained.photo
    options = ["--rounds", "1", "--seconds", "0.3", "--clients", "1", "3"]
    options += ["--graph", str(trained.graph), "--image", str(photo)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "serving.py"), *options],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines()]
    assert len(rows) == 2 + 3 * 2
    assert {row[0].strip() for row in rows[2:]} == {
        *("predict, JSON", "predict, image file", "the page"),
    }
    for alone, several in zip(rows[2::2], rows[3::2], strict=True):
        assert [alone[1].strip(), alone[3].strip(), several[1].strip()] == ["1", "1.00", "3"]
        assert float(several[3]) == pytest.approx(float(several[2]) / float(alone[2]), rel=0.05)
