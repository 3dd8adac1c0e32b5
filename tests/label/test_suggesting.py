"""``tlcli label --suggest``: which images to label next."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from label.suggesting import suggested_rows
from tests.label.running import label

SCORES = st.integers(1, 12).flatmap(
    lambda count: st.integers(1, 4).flatmap(
        lambda labels: arrays(np.float32, (count, labels), elements=st.floats(0, 1, width=32))
    )
)


@given(SCORES, st.integers(1, 15))
def test_rows_are_different_and_always_the_same(scores: np.ndarray, count: int) -> None:
    rows = suggested_rows(scores, count)
    assert len(rows) == len(set(rows)) == min(count, len(scores))
    assert set(rows) <= set(range(len(scores)))
    assert suggested_rows(scores, count) == rows


def test_the_least_certain_come_first_and_copies_last() -> None:
    certain, unsure, other = [0.98, 0.01, 0.01], [0.4, 0.35, 0.25], [0.02, 0.5, 0.48]
    scores = np.array([certain, unsure, certain, unsure, other], np.float32)
    rows = suggested_rows(scores, 5)
    assert set(rows[:2]) == {1, 4}
    assert set(rows[-2:]) == {2, 3}
    assert set(suggested_rows(scores, 1)) < {1, 3, 4}
    assert suggested_rows(np.zeros((2, 3), np.float32), 2) == [0, 1]


def test_suggested_images_are_listed_for_other_commands(plates: Path, tmp_path: Path) -> None:
    listed = tmp_path / "next.txt"
    photos = plates / "photos"
    result = label(
        plates, photos, "--suggest", 2, "--format", "json", "--top_k", 1, "--output_list", listed
    )
    assert result.return_value == 0
    found = [each["image"] for each in json.loads(result.stdout)]
    assert listed.read_text().splitlines() == found
    assert len(set(found)) == 2
    again = label(plates, f"@{listed}", "--format", "jsonl")
    assert [json.loads(line)["image"] for line in again.stdout.splitlines()] == found


def test_an_unreadable_image_is_not_suggested(plates: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    (tmp_path / "good.jpg").write_bytes(photo.read_bytes())
    result = label(plates, tmp_path, "--suggest", 9, "--format", "csv")
    assert result.return_value == 1
    assert "good.jpg" in result.stdout
    assert "bad.jpg" not in result.stdout
    assert "bad.jpg" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--output_list", "x"], "--output_list is for --suggest N"),
        (["--suggest", "2", "--sort_into", "x"], "as @FILE"),
        (["--suggest", "0"], "too small"),
    ],
)
def test_what_does_not_go_together(
    plates: Path, photo: Path, arguments: list[str], sentence: str
) -> None:
    result = label(plates, photo, *arguments)
    assert sentence in str(result.exception)
