"""Part files that others replace: what may go without a loss."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tlcli.core.parts.obsolete import obsolete_parts
from tlcli.core.parts.part_file import PartFacts, PartRows, write_part
from tlcli.system.digests import sha256_bytes


def written(
    folder: Path, age: int, names: list[str], views: tuple[str, ...] = ("",), content: str = ""
) -> Path:
    """Write a part of images that is so many hours old."""
    rows = [(name, view) for name in names for view in views]
    path = folder / f"{age:02}.parquet"
    count = len(rows)
    write_part(
        path,
        PartRows(
            [name for name, _ in rows],
            [""] * count,
            [sha256_bytes((content or name).encode()) for name, _ in rows],
            ["rose"] * count,
            [""] * count,
            [view for _, view in rows],
            np.zeros((count, 3), np.float32),
        ),
        PartFacts("k", "f", "fake", "{}", str(folder), names[0], names[-1], count, 3),
    )
    os.utime(path, (1e9 - 3600 * age,) * 2)
    return path


def test_a_part_is_obsolete_once_newer_ones_have_all_of_its_vectors(tmp_path: Path) -> None:
    for name in "abcdefgh":
        (tmp_path / name).touch()
    old = written(tmp_path, 9, ["a", "b", "c"])
    grown = written(tmp_path, 8, ["a", "b", "c", "d"])
    other = written(tmp_path, 7, ["e", "f"])
    assert obsolete_parts([other, grown, old]) == [old]
    # A shard that was cut into two.
    first = written(tmp_path, 6, ["a", "b"])
    assert obsolete_parts([old, grown, other, first]) == [old]
    second = written(tmp_path, 5, ["c", "d", "g"])
    assert obsolete_parts([old, grown, other, first, second]) == [old, grown]
    # The same images with views have all that is in those without, and not the other way round.
    views = written(tmp_path, 4, ["e", "f"], ("", "flip=1"))
    assert obsolete_parts([other, views]) == [other]
    plain = written(tmp_path, 3, ["e", "f"])
    assert obsolete_parts([plain, views]) == []


def test_vectors_of_files_that_are_gone_keep_no_part(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).touch()
    old = written(tmp_path, 9, ["a", "b", "c"])
    assert obsolete_parts([old]) == []
    new = written(tmp_path, 8, ["a", "b"])
    assert obsolete_parts([old, new]) == [old]
    # Without any newer part of its images, nothing tells that they are not elsewhere.
    alone = written(tmp_path, 7, ["x", "y"])
    assert obsolete_parts([old, new, alone]) == [old]
    (tmp_path / "c").touch()
    assert obsolete_parts([old, new, alone]) == []


def test_what_cannot_be_read_is_not_obsolete(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1")
    assert obsolete_parts([damaged, written(tmp_path, 1, ["a"])]) == []
    assert obsolete_parts([]) == []


def test_copies_of_images_keep_their_own_parts(tmp_path: Path) -> None:
    first = written(tmp_path, 9, ["rose/a", "rose/b"], content="the same")
    second = written(tmp_path, 8, ["tulip/a", "tulip/b", "tulip/c"], content="the same")
    assert obsolete_parts([first, second]) == []
