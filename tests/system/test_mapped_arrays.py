"""Matrices in files: zeros at first, gone at the end, and refused where there is no room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tlcli.errors import CacheError
from tlcli.system.mapped_arrays import is_mapped, mapped_zeros, touched


def test_parts_of_a_mapped_matrix_are_mapped_and_copies_are_not(tmp_path: Path) -> None:
    matrix = mapped_zeros((4, 3), tmp_path)
    assert matrix.shape == (4, 3)
    assert not matrix.any()
    assert all(map(is_mapped, (matrix, matrix[1:3], matrix[:, :2], np.ascontiguousarray(matrix))))
    assert not any(map(is_mapped, (matrix[[1, 2]], matrix.copy(), np.zeros((4, 3), np.float32))))
    assert mapped_zeros((0, 3), tmp_path).shape == (0, 3)


def test_pages_of_a_file_are_released_and_nothing_is_lost(tmp_path: Path) -> None:
    matrix = mapped_zeros((3000, 64), tmp_path / "new")
    for start in range(0, 3000, 100):
        matrix[start : start + 100] = start
        touched(matrix, 1 << 30)
    assert list(matrix[::100, 5]) == list(range(0, 3000, 100))
    assert not list((tmp_path / "new").iterdir())
    touched(np.zeros(3, np.float32), 1 << 40)


def test_a_file_without_room_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"need a file of [0-9.]+ TB in .*; make room, or give"):
        mapped_zeros((1 << 30, 1 << 30), tmp_path)
