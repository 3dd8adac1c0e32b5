"""A fine-tuning that is interrupted or killed, run as the installed command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.retrain.tuning.striped import keras_file, striped_photos
from tests.support import tlcli

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX systems"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a fine-tuned graph, of so many photos that a signal finds it at work."""
    folder = tmp_path_factory.mktemp("stopped")
    keras_file(folder)
    striped_photos(folder / "photos", 150)
    assert tlcli(*arguments(folder, folder), cache=folder / "cache").code == 0
    return folder


def arguments(place: Path, folder: Path) -> list[object]:
    return [
        "retrain", "--image_dir", place / "photos", "--module", place / "small.keras",
        "--preset", "original", "--solver", "lbfgs", "--fine_tune", "all", "--no_report",
        "--output_graph", folder / "graph.pb", "--format", "json",
    ]  # fmt: skip


def with_cache(place: Path, folder: Path) -> Path:
    """Return a folder whose cache has the vectors already, and no fine-tuning."""
    others = shutil.ignore_patterns("fine_tuned")
    shutil.copytree(place / "cache", folder / "cache", ignore=others)
    return folder


def started(place: Path, folder: Path) -> subprocess.Popen[str]:
    with (folder / "log").open("wb") as file:
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "tlcli"), *map(str, arguments(place, folder))],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env={**os.environ, "TLCLI_CACHE_DIR": str(folder / "cache")},
            # A shell starts what runs in the background with interrupts ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def wait_for(is_there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 300
    while not is_there():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)


def test_an_interrupt_writes_the_frozen_classifier_and_its_figures(
    place: Path, tmp_path: Path
) -> None:
    with_cache(place, tmp_path)
    log = tmp_path / "log"
    with started(place, tmp_path) as process:
        wait_for(lambda: "step 0 of" in log.read_text(), process)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    text = log.read_text()
    assert "Interrupted: the written graph has the frozen network" in text
    assert text.splitlines()[-1].startswith("Interrupted. All vectors are kept in ")
    assert text.splitlines()[-1].endswith(" The graph was written.")
    assert "Traceback" not in text
    result = json.loads(out)
    assert result["fine_tuned"]["interrupted"]
    assert not result["fine_tuned"]["kept"]
    assert result["test_accuracy"] > 0.3
    card = json.loads((tmp_path / "graph.json").read_text())
    assert not card["training"]["fine_tuned"]["kept"]
    assert "fine-tuned" not in card["backbone"]["source"]
    assert card["files"].keys() >= {"graph.pb"}


def test_a_killed_fine_tuning_goes_on_to_the_same_graph(place: Path, tmp_path: Path) -> None:
    with_cache(place, tmp_path)
    states = tmp_path / "cache" / "fine_tuned"
    with started(place, tmp_path) as process:
        wait_for(lambda: any(not each.name.startswith(".") for each in _files(states)), process)
        process.kill()
    assert not (tmp_path / "graph.pb").exists()
    run = tlcli(*arguments(place, tmp_path), cache=tmp_path / "cache")
    assert run.code == 0, run.err
    resumed = next(line for line in run.err.splitlines() if line.startswith("Fine-tuning all"))
    step, of = (int(word) for word in resumed.split("step ")[1].split(" of "))
    assert 0 < step < of
    assert (tmp_path / "graph.pb").read_bytes() == (place / "graph.pb").read_bytes()
    (kept,) = _files(states)
    shown = tlcli("cache", "show", "--format", "json", cache=tmp_path / "cache").json["entries"]
    (entry,) = [each for each in shown if each["kind"] == "fine-tuned weights"]
    assert entry["bytes"] == kept.stat().st_size
    assert entry["backbone"] == run.json["backbone"]["name"]
    assert tlcli("cache", "limit", "1", "--once", cache=tmp_path / "cache").code == 0
    assert not _files(states)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
