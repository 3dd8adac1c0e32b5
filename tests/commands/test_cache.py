"""``tlcli cache``, run as the installed command on the cache of a finished retraining."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from tests.support import ROOT, Run, Trained, tlcli
from tlcli.cache.limit import keep_limit
from tlcli.commands.cache import parse_size
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.cache_usage import remove_vectors, stored_vectors
from tlcli.system.cache_folders import hold, remove_unheld

TLCLI = str(Path(sys.executable).parent / "tlcli")


@pytest.fixture
def cache(trained: Trained, tmp_path: Path) -> Path:
    """Return a copy of the cache of a retraining, with a model that somebody placed there."""
    copied = tmp_path / "cache"
    shutil.copytree(trained.cache, copied, ignore=shutil.ignore_patterns("trials"))
    (copied / "models").mkdir()
    (copied / "models" / "mine.keras").write_bytes(bytes(1000))
    (copied / "models" / "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(
        bytes(5000)
    )
    return copied


def run(cache: Path, *arguments: object) -> Run:
    return tlcli("cache", *arguments, cache=cache)


def kinds(cache: Path) -> dict[tuple[str, str], int]:
    entries = run(cache, "show", "--format", "json").json["entries"]
    return {(entry["kind"], entry["backbone"]): entry["count"] for entry in entries}


def test_show_lists_kinds_and_backbones(cache: Path) -> None:
    found = kinds(cache)
    assert found["vectors", "efficientnet_lite0"] >= 48
    assert found["exported backbones", "efficientnet_lite0"] >= 2
    assert found["downloaded weights", "inception_v3"] == 1
    text = run(cache, "show").out
    assert text.startswith(f"{cache}: ")
    assert "no limit" in text
    assert "mine.keras" not in text


def test_help_names_the_folder(tmp_path: Path) -> None:
    assert f"The cache is in {tmp_path}; " in run(tmp_path, "--help").out


@pytest.mark.slow
def test_clear_removes_all_but_what_a_person_placed_there(cache: Path) -> None:
    refused = run(cache, "clear")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert kinds(cache)
    done = run(cache, "clear", "--yes")
    assert done.code == 0, done.err
    assert "Removed: vectors of efficientnet_lite0" in done.out
    assert kinds(cache) == {}
    assert [path.name for path in (cache / "models").iterdir()] == ["mine.keras"]
    assert (cache / "bottlenecks" / "bottlenecks.sqlite").stat().st_size < 100_000


def test_clear_of_one_backbone_leaves_the_others(cache: Path) -> None:
    assert run(cache, "clear", "--module", "InceptionV3", "--yes").code == 0
    found = kinds(cache)
    assert ("downloaded weights", "inception_v3") not in found
    assert found["vectors", "efficientnet_lite0"] >= 48
    gone = run(cache, "clear", "--module", "efficientnet_lite0", "--yes", "--format", "json").json
    assert {row["kind"] for row in gone["removed"]} >= {"vectors", "exported backbones"}
    assert "efficientnet_lite0" not in {name for _, name in kinds(cache)}


def test_clear_asks_on_a_terminal(cache: Path) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", f"""
import os, pty, sys
code = pty.spawn([{TLCLI!r}, "cache", "clear"], stdin_read=lambda _: b"n\\n")
sys.exit(os.waitstatus_to_exitcode(code))
"""],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm", "TLCLI_CACHE_DIR": str(cache)},
    )  # fmt: skip
    assert "Remove the cache, " in asked.stdout
    assert kinds(cache)


@pytest.mark.slow
def test_a_limit_is_kept_by_a_later_run(cache: Path, trained: Trained, tmp_path: Path) -> None:
    assert "no limit" in run(cache, "limit").out
    assert run(cache, "limit", "100MB").code == 0
    assert kinds(cache)["vectors", "efficientnet_lite0"] >= 48
    (cache / "settings.json").write_text('{"limit": 200000}')
    done = tlcli(
        "retrain", "--image_dir", trained.photos, "--output_graph", tmp_path / "g.pb",
        "--no_report", "--quiet", "--how_many_training_steps", 10, cache=cache,
    )  # fmt: skip
    assert done.code == 0, done.err
    entries = run(cache, "show", "--format", "json").json
    assert entries["limit"] == 200_000
    assert entries["bytes"] <= 200_000
    assert run(cache, "limit", "none").code == 0
    assert not (cache / "settings.json").exists()


def test_a_file_above_the_limit_goes_before_older_vectors(tmp_path: Path) -> None:
    vectors = {f"{number:064}": np.full(1280, number, np.float32) for number in range(20)}
    with BottleneckStore(tmp_path / "bottlenecks") as store:
        store.put("fingerprint", None, vectors)
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "used_last.tflite").write_bytes(bytes(5_000_000))
    assert run(tmp_path, "limit", "4MB", "--once").code == 0
    (left,) = run(tmp_path, "show", "--format", "json").json["entries"]
    assert (left["kind"], left["count"]) == ("vectors", 20)


def test_a_limit_for_once_is_not_kept(cache: Path) -> None:
    done = run(cache, "limit", "1MB", "--once", "--format", "json")
    assert done.code == 0, done.err
    assert done.json["removed"]
    assert run(cache, "show", "--format", "json").json["bytes"] <= 1_000_000
    assert not (cache / "settings.json").exists()
    assert run(cache, "limit", "--once").code == 2


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("500 mb", 5 * 10**8), ("1.5g", 15 * 10**8), ("7", 7), ("none", None)],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size
    with pytest.raises(click.UsageError, match="500MB or 2GB"):
        parse_size(text + "!")


def test_an_empty_cache_is_nothing_wrong(tmp_path: Path) -> None:
    for arguments in (["show"], ["clear"], ["limit"], ["limit", "1GB", "--once"]):
        done = run(tmp_path / "none", *arguments)
        assert done.code == 0, done.err
    assert not (tmp_path / "none").exists()


def test_a_process_that_has_the_cache_open_goes_on(tmp_path: Path) -> None:
    """Deleted rows are misses there; the file is the same, and what it adds is kept."""
    vectors = {f"{number:064}": np.full(50, number, np.float32) for number in range(100)}
    with BottleneckStore(tmp_path) as store:
        store.put("fingerprint", None, vectors)
        store.mark_used("fingerprint", "mine")
        assert remove_vectors(tmp_path, {"fingerprint"}, keep=30) >= 0
        assert sorted(store.get("fingerprint", None, vectors)) == sorted(vectors)[70:]
        remove_vectors(tmp_path)
        assert store.get("fingerprint", None, vectors) == {}
        store.put("fingerprint", None, vectors)
    (stored,) = stored_vectors(tmp_path)
    assert (stored.name, stored.count) == ("mine", 100)
    with sqlite3.connect(tmp_path / "bottlenecks.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_images_that_a_process_reads_are_not_removed(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(b"photo")
    program = (
        "import sys, pathlib; from tlcli.system.cache_folders import hold; "
        "print(hold(pathlib.Path(sys.argv[1])), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert not remove_unheld(folder)
        assert (folder / "photo.jpg").is_file()
        process.communicate("")
    assert remove_unheld(folder)
    assert not folder.exists()
    assert not hold(folder)


def test_a_limit_that_cannot_be_kept_is_a_warning(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is kept at the end of a run, whose outputs are written."""
    with sqlite3.connect(cache / "bottlenecks" / "bottlenecks.sqlite") as connection:
        connection.execute("PRAGMA user_version=99")  # as of a newer tlcli
    (cache / "settings.json").write_text('{"limit": 0}')
    monkeypatch.setenv("TLCLI_CACHE_DIR", str(cache))
    keep_limit()
    assert "stays above its limit: " in caplog.text
