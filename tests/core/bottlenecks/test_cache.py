"""The bottleneck cache: what it stores and what it rejects."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlcli.core.bottlenecks import cache as cache_module
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.cache_database import FILE_NAME
from tlcli.errors import CacheError
from tlcli.system.digests import sha256_bytes

A, B = sha256_bytes(b"a"), sha256_bytes(b"b")


def vector(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def edit(folder: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(folder / FILE_NAME)
    with connection:
        connection.execute(statement, values)
    connection.close()


# -- vectors


def test_a_vector_comes_back_in_the_next_run(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as store:
        store.put("net", None, {A: vector(1, 2)})
    with BottleneckStore(tmp_path) as store:
        found = store.get("net", None, [A, B])
        assert list(found) == [A]
        assert found[A].dtype == np.float32
        assert found[A].tolist() == [1, 2]
        found[A][0] = 5  # belongs to the caller


def test_no_vector_meets_another_network_view_or_image(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as store:
        store.put("net", None, {A: vector(1)})
        store.put("net", "flip=1", {A: vector(2)})
        store.put("other", None, {A: vector(3, 4)})
        assert store.get("net", None, [B]) == {}
        assert store.get("net", "flip=0", [A]) == {}
        assert store.get("third", None, [A]) == {}
        assert store.get("net", "flip=1", [A])[A].tolist() == [2]
        assert store.get("other", None, [A])[A].tolist() == [3, 4]
        assert (store.bottleneck_size("net"), store.bottleneck_size("other")) == (1, 2)
        assert store.bottleneck_size("third") is None


def test_more_contents_than_sqlite_takes_at_once(tmp_path: Path) -> None:
    many = {sha256_bytes(str(i).encode()): vector(i) for i in range(2500)}
    with BottleneckStore(tmp_path) as store:
        store.put("net", None, many)
        found = store.get("net", None, [*many, *many])
    assert {key: value.tolist() for key, value in found.items()} == {
        key: value.tolist() for key, value in many.items()
    }


def test_vectors_are_written_into_the_rows_of_a_matrix(tmp_path: Path) -> None:
    contents = [sha256_bytes(str(i).encode()) for i in range(1200)]
    with BottleneckStore(tmp_path) as store:
        store.put("net", None, {c: vector(i, -i) for i, c in enumerate(contents) if i % 3})
        matrix = np.full((2600, 2), 7, np.float32)
        rows = list(range(2599, 199, -1))
        found = store.fill("net", None, [*contents, *contents], matrix, rows)
        assert found.tolist() == [i % 3 > 0 for i in range(1200)] * 2
        for index, row in enumerate(rows):
            i = index % 1200
            assert matrix[row].tolist() == ([i, -i] if i % 3 else [7, 7])
        assert (matrix[:200] == 7).all()
        narrow = np.zeros((1, 1), np.float32)
        assert not store.fill("net", None, contents[1:2], narrow).any()
        assert not store.fill("other", None, contents[1:2], matrix).any()


def test_counting_reads_no_vector(tmp_path: Path) -> None:
    names = [sha256_bytes(str(number).encode()) for number in range(1200)]
    with BottleneckStore(tmp_path) as cache:
        assert cache.count("net", names) == 0
        cache.put("net", None, {name: vector(1, 2) for name in names[:1100]})
        cache.put("net", "flipped", {name: vector(1, 2) for name in names})
        cache.put("other", None, {names[0]: vector(1, 2)})
        assert cache.count("net", names) == 1100
        assert cache.count("net", names[1050:]) == 50
        assert cache.count("other", names) == 1
        assert cache.count("net", []) == 0


@settings(deadline=None, max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["n1", "n2"]),
            st.sampled_from([None, "v1", "v2"]),
            st.sampled_from([A, B]),
            st.lists(st.floats(width=32), min_size=3, max_size=3),
        ),
        max_size=12,
    )
)
def test_the_last_vector_put_is_the_one_got(
    puts: list[tuple[str, str | None, str, list[float]]],
) -> None:
    truth: dict[tuple[str, str | None, str], np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder, BottleneckStore(Path(folder)) as store:
        for network, view, content, values in puts:
            truth[network, view, content] = vector(*values)
            store.put(network, view, {content: vector(*values)})
        for network in ("n1", "n2"):
            for view in (None, "v1", "v2"):
                found = store.get(network, view, [A, B])
                wanted = {c: v for (n, w, c), v in truth.items() if (n, w) == (network, view)}
                assert {c: v.tobytes() for c, v in found.items()} == {
                    c: v.tobytes() for c, v in wanted.items()
                }


def test_vectors_of_another_length_are_refused(tmp_path: Path) -> None:
    with BottleneckStore(tmp_path) as store:
        store.put("net", None, {A: vector(1, 2)})
        with pytest.raises(CacheError, match="vectors of 2 values, not 1"):
            store.put("net", None, {B: vector(1)})
        assert list(store.get("net", None, [A, B])) == [A]
        store.put("net", None, {B: vector(3, 4)})  # the refused write is not left open
        assert list(store.get("net", None, [B])) == [B]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE vectors SET checksum = checksum + 1",
        "UPDATE vectors SET vector = x'00000040'",
        "UPDATE vectors SET vector = x'0000'",
        "UPDATE vectors SET vector = x'000040400000803f'",
        "UPDATE vectors SET vector = 'text'",
        "UPDATE vectors SET vector = 5",
        f"UPDATE vectors SET content = '{B}'",
        "UPDATE vectors SET view = 'x'",
        "UPDATE backbones SET fingerprint = 'other'",
        "UPDATE backbones SET bottleneck_size = 1",
    ],
)
def test_a_row_that_was_changed_is_a_miss(tmp_path: Path, change: str) -> None:
    with BottleneckStore(tmp_path) as store:
        store.put("net", None, {A: vector(1, 3)})
    edit(tmp_path, change)
    with BottleneckStore(tmp_path) as store:
        for network in ("net", "other"):
            for view in (None, "x"):
                assert store.get(network, view, [A, B]) == {}


@pytest.mark.parametrize("damaged", [5, 0, -1, 1 << 60, "x"])
def test_a_damaged_size_is_replaced_where_no_vector_bears_it_out(
    tmp_path: Path, damaged: object
) -> None:
    vectors = {A: vector(1, 2, 3, 4)}
    with BottleneckStore(tmp_path) as opened:
        opened.put("f", None, vectors)
    edit(tmp_path, "UPDATE backbones SET bottleneck_size = ?", damaged)
    with BottleneckStore(tmp_path) as opened:
        assert opened.get("f", None, vectors) == {}
        opened.put("f", None, vectors)
        assert np.array_equal(opened.get("f", None, vectors)[A], vectors[A])


# -- images that cannot be read


def test_a_failure_is_remembered_for_this_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BottleneckStore(tmp_path) as store:
        assert store.failures([A]) == {}
        store.record_failure(A, "truncated image")
    with BottleneckStore(tmp_path) as store:
        assert store.failures([A]) == {A: "truncated image"}
        assert store.failures([A, B, A]) == {A: "truncated image"}
        monkeypatch.setattr(cache_module, "PREPROCESSING_VERSION", 2)
        assert store.failures([A]) == {}
