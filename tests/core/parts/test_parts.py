"""Part files: written, read as one cache, and found damaged."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support import ROOT
from tlcli.core.parts.part_cache import PartIndex, Parts, open_parts
from tlcli.core.parts.part_file import Part, PartFacts, PartRows, Unreadable, write_part

SIZE = 5


def content(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def vectors(start: int, stop: int) -> np.ndarray:
    return np.random.default_rng(start).random((stop - start, SIZE), dtype=np.float32)


def written(path: Path, start: int, stop: int, view: str = "") -> np.ndarray:
    """Write images start to stop as a part, and return their vectors."""
    names = [f"rose/{number:04}.jpg" for number in range(start, stop)]
    count, values = stop - start, vectors(start, stop)
    write_part(
        path,
        PartRows(
            names,
            ["10-20-30-7"] * count,
            list(map(content, range(start, stop))),
            ["rose"] * count,
            [""] * count,
            [view] * count,
            values,
        ),
        PartFacts(
            path.stem, "f", "fake", "{}", "/photos", names[0], names[-1], count, SIZE, "reader",
            (Unreadable("rose/x.jpg", content(9999), "not an image", "1-2-3-4"),),
        ),
    )  # fmt: skip
    return values


def test_vectors_of_several_parts_are_found_by_content_in_any_order(tmp_path: Path) -> None:
    first = written(tmp_path / "a.parquet", 0, 600)
    second = written(tmp_path / "b.parquet", 600, 700)
    parts = Parts([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    numbers = [650, 3, 599, 3, 10_000, 600]
    matrix = np.zeros((8, SIZE), np.float32)
    found = parts.fill("", list(map(content, numbers)), matrix, [7, 0, 1, 2, 3, 4])
    assert found.tolist() == [True, True, True, True, False, True]
    both = np.concatenate([first, second])
    assert np.array_equal(matrix[[7, 0, 1, 2, 4]], both[[650, 3, 599, 3, 600]])
    assert parts.count(list(map(content, numbers))).sum() == 5
    assert parts.bottleneck_size() == SIZE


def test_views_are_told_apart(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.parquet", 0, 3)
    view = written(tmp_path / "b.parquet", 0, 4, "flip=1")
    parts = Parts([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    for name, expected in (("", plain), ("flip=1", view[:3])):
        matrix = np.zeros((3, SIZE), np.float32)
        assert parts.fill(name, list(map(content, range(3))), matrix).all()
        assert np.array_equal(matrix, expected)
    assert not parts.fill("flip=0", [content(0)], np.zeros((1, SIZE), np.float32)).any()


def test_vectors_of_another_size_are_a_miss(tmp_path: Path) -> None:
    written(tmp_path / "a.parquet", 0, 3)
    matrix = np.zeros((1, SIZE + 1), np.float32)
    assert not Parts([tmp_path / "a.parquet"]).fill("", [content(0)], matrix).any()


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        written(tmp_path / name / "a.parquet", 0, 300)
    first, second = (tmp_path / name / "a.parquet" for name in ("one", "other"))
    assert first.read_bytes() == second.read_bytes()
    assert [each.name for each in first.parent.iterdir()] == ["a.parquet"]


def test_the_footer_has_facts_and_sums(tmp_path: Path) -> None:
    values = written(tmp_path / "a.parquet", 0, 300).astype(np.float64)
    part = Part(tmp_path / "a.parquet")
    assert (part.facts.rows, part.facts.first, part.facts.last) == (
        300, "rose/0000.jpg", "rose/0299.jpg",
    )  # fmt: skip
    assert part.sums.count == 300
    assert np.array_equal(part.sums.values, values.sum(0))
    assert np.allclose(part.sums.squares, (values**2).sum(0), rtol=1e-14)


@pytest.mark.parametrize("damage", ["cut", "changed", "another file", "gone"])
def test_a_damaged_part_is_a_miss(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    written(path, 0, 300)
    expected = written(other, 300, 400)
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = data.index(vectors(0, 300)[100].tobytes())
        changed = data[:middle] + bytes(8) + data[middle + 8 :]
        path.write_bytes({"cut": data[:2000], "changed": changed}.get(damage, b"PAR1 no part"))
    matrix = np.zeros((200, SIZE), np.float32)
    wanted = [content(number) for number in (*range(100), *range(300, 400))]
    found = Parts([path, other]).fill("", wanted, matrix)
    assert found[100:].all()
    assert np.array_equal(matrix[100:], expected)
    assert not found[:100].any()
    assert "a.parquet cannot be read" in caplog.text


def test_contents_are_found_by_file(tmp_path: Path) -> None:
    written(tmp_path / "a.parquet", 0, 5)
    written(tmp_path / "b.parquet", 5, 9)
    index = PartIndex(sorted(tmp_path.glob("*.parquet")))
    asked = ["/photos/rose/0003.jpg", "/photos/./rose/0008.jpg", "/other/rose/0003.jpg"]
    assert index.known(asked) == {
        asked[0]: ("10-20-30-7", content(3)),
        asked[1]: ("10-20-30-7", content(8)),
    }
    assert [path.stem for path in index.overlapping("rose/0003.jpg", "rose/0004.jpg")] == ["a"]
    assert index.failures("reader") == {content(9999): "not an image"}
    assert index.failures("another") == {}


def test_only_parts_with_missing_names_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With ten million images there are thousands of parts, and names come in thousands."""
    for number in range(4):
        written(tmp_path / f"{number}.parquet", 5 * number, 5 * number + 5)
    index = PartIndex(sorted(tmp_path.glob("*.parquet")))
    for number in (0, 1, 3):  # one that is read from now on is reported
        path = tmp_path / f"{number}.parquet"
        path.write_bytes(path.read_bytes()[:100])
    asked = [f"/photos/rose/{number:04}.jpg" for number in (14, 12, 10)]
    assert index.known(asked) == {
        path: ("10-20-30-7", content(number))
        for path, number in zip(asked, (14, 12, 10), strict=True)
    }
    assert not caplog.records


def test_a_part_is_closed_when_the_next_is_asked_for(tmp_path: Path) -> None:
    written(tmp_path / "a.parquet", 0, 2)
    opened = open_parts([tmp_path / "a.parquet"])
    part = next(opened)
    assert next(opened, None) is None
    with pytest.raises(ValueError, match="closed"):
        part._file.read()


@pytest.mark.parametrize(
    ("raised", "sentence"),
    [
        ("ModuleNotFoundError(\"No module named 'pyarrow'\", name='pyarrow')", "package pyarrow:"),
        ("ImportError('pyarrow requires NumPy 2.0')", "(pyarrow requires NumPy 2.0)"),
    ],
)
def test_a_pyarrow_that_is_missing_is_told_from_one_that_does_not_fit(
    raised: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "pyarrow.py").write_text(f"raise {raised}\n")
    code = "from tlcli.core.parts.part_file import import_pyarrow; import_pyarrow()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert sentence in done.stderr
    assert done.stderr.endswith("pip install --upgrade 'tlcli[shards]'\n")
