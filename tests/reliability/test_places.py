"""Outputs and caches in places that refuse to be written."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability import harness
from tests.reliability.retrainings import Bench, Workplace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="limits and mounts of POSIX systems"),
]


def sentence(done: harness.Finished) -> str:
    """Return the one line that a failed run said."""
    assert done.code == 1, (done.code, done.err)
    (line,) = [line for line in done.err.splitlines() if not line.startswith("Warning: ")]
    assert line.startswith("Error: ")
    return line


def retrain(place: Workplace, *more: object, **limits: object) -> harness.Finished:
    arguments = [*place.bench.new.arguments, *more]
    return harness.run(arguments, place.folder, place.cache, place.temporary, **limits)


def assert_old(place: Workplace) -> None:
    out = place.folder / "out"
    assert {name: harness.digest(out / name) for name in harness.EXACT} == place.bench.old.files
    assert harness.read_card(out / harness.CARD) == place.bench.old.card
    assert harness.leftovers(place.folder) == []


@contextlib.contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    """Mount on a folder; skip where that is not allowed."""
    done = subprocess.run(
        ["mount", *arguments, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this user may not mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def place(bench: Bench, tmp_path: Path) -> Workplace:
    shutil.copytree(bench.old.folder / "out", tmp_path / "out")
    return Workplace(bench, tmp_path, tmp_path / "cache", tmp_path / "tmp")


@pytest.mark.parametrize("limit", [1 << 20])
def test_a_file_that_may_grow_no_further_is_one_sentence(place: Workplace, limit: int) -> None:
    resource = pytest.importorskip("resource")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    said = sentence(retrain(place, preexec_fn=limited))
    assert "cache" in said or "cannot write" in said
    assert_old(place)
    place.check_after_the_rerun()


def test_a_full_disk_for_the_outputs(place: Workplace) -> None:
    out = place.folder / "out"
    out.rename(place.folder / "before")
    out.mkdir()
    size = sum(path.stat().st_size for path in (place.folder / "before").iterdir())
    with mounted(out, "-t", "tmpfs", "-o", f"size={size + (1 << 20)}", "tmpfs"):
        for path in (place.folder / "before").iterdir():
            shutil.copy(path, out)
        said = sentence(retrain(place))
        assert "No space left on device" in said
        assert_old(place)
        subprocess.run(["mount", "-o", "remount,size=100m", str(out)], check=True)
        shutil.rmtree(place.folder / "before")
        place.check_after_the_rerun(at_least=len(place.bench.new.vectors))


def test_a_full_disk_for_the_cache(place: Workplace) -> None:
    place.cache.mkdir()
    with mounted(place.cache, "-t", "tmpfs", "-o", "size=128k", "tmpfs"):
        said = sentence(retrain(place))
        assert "bottleneck cache" in said
        assert "full" in said
        assert_old(place)
        subprocess.run(["mount", "-o", "remount,size=10m", str(place.cache)], check=True)
        place.check_after_the_rerun()


def test_outputs_in_a_folder_that_is_read_only(place: Workplace) -> None:
    out = place.folder / "out"
    with mounted(out, "--bind", str(out)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(out)], check=True)
        assert "cannot write to out" in sentence(retrain(place))
        assert_old(place)
        # What only reads needs no place to write.
        assert harness.same_scores(
            harness.scores_of(out / harness.GRAPH, place.bench.probes), place.bench.old.scores
        )
    place.check_after_the_rerun()


def test_a_cache_that_is_read_only(place: Workplace) -> None:
    assert retrain(place, "--output_graph", "other/g.pb").code == 0
    with mounted(place.cache, "--bind", str(place.cache)):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place.cache)], check=True)
        said = sentence(retrain(place))
        assert "bottleneck cache" in said
        assert "nothing can be written there" in said
        assert "--bottleneck_dir" in said
        assert retrain(place, "--bottleneck_dir", "elsewhere", "--output_graph", "g.pb").code == 0
    assert_old(place)


@pytest.mark.parametrize("name", [harness.GRAPH, harness.CARD])
def test_one_output_that_may_not_be_replaced_keeps_all_the_others(
    place: Workplace, name: str
) -> None:
    kept = place.folder / "out" / name
    done = subprocess.run(["chattr", "+i", str(kept)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"files cannot be made immutable here: {done.stderr.strip()}")
    try:
        said = sentence(retrain(place))
        assert name in said
        assert "Operation not permitted" in said
        assert_old(place)
    finally:
        subprocess.run(["chattr", "-i", str(kept)], check=True)
    place.check_after_the_rerun()
