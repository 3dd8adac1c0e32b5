"""Images of the collection of files that broke a promise, given to the commands."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support import Trained, tlcli

SKIPPED = {
    "iptc_holding_eps.jpg": "not an image",
    "progressive_3000_scans.jpg": "too many scans: 30000 of 13000 x 13000 pixels",
}
# Processor time, of this machine and its children.
SECONDS = 10


@pytest.fixture
def fake_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program named gs first on the PATH; return the file that it makes when it starts."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\nexit 1\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path / "started"


def hostile(shared: Path, name: str) -> Path:
    path = shared / "hostile" / name
    if not path.exists():
        pytest.skip(f"there is no {path}")
    return path


def processor_seconds() -> float:
    used = os.times()
    return used.children_user + used.children_system


@pytest.mark.skipif(os.name == "nt", reason="the fake Ghostscript is a shell script")
@pytest.mark.parametrize("name", SKIPPED)
def test_label_skips_it_and_starts_nothing(
    name: str, shared: Path, trained: Trained, fake_ghostscript: Path
) -> None:
    whole = sorted(trained.photos.rglob("*.jpg"))[-1]
    before = processor_seconds()
    run = tlcli(
        "label", "--graph", trained.graph, hostile(shared, name), whole, "--format", "jsonl"
    )
    assert processor_seconds() - before < SECONDS
    first, second = map(json.loads, run.out.splitlines())
    assert first["error"] == SKIPPED[name]
    assert second["predictions"]
    assert run.code == 1
    assert not fake_ghostscript.exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the fake Ghostscript is a shell script")
@pytest.mark.parametrize("command", ["retrain", "evaluate"])
def test_a_folder_that_holds_them_is_read(
    command: str, shared: Path, trained: Trained, fake_ghostscript: Path, tmp_path: Path
) -> None:
    photos = shutil.copytree(trained.photos, tmp_path / "photos")
    for name in SKIPPED:
        shutil.copy(hostile(shared, name), photos / "house_with_pool" / name)
    more = {
        "retrain": ("--how_many_training_steps", 20, "--output_graph", tmp_path / "graph.pb"),
        "evaluate": ("--graph", trained.graph),
    }
    before = processor_seconds()
    run = tlcli(command, "--image_dir", photos, *more[command], cache=tmp_path / "cache")
    assert run.code == 0, run.err
    assert processor_seconds() - before < 10 * SECONDS
    for name, reason in SKIPPED.items():
        assert name in run.err + run.out
        assert reason in run.err + run.out
    assert not fake_ghostscript.exists()


@pytest.mark.parametrize("name", SKIPPED)
def test_serve_answers_others_meanwhile(name: str, shared: Path, trained: Trained) -> None:
    from tests.serve.running import running

    content = hostile(shared, name).read_bytes()
    with running("--graph", trained.graph, "--max_pixels", 170_000_000) as server:
        before = server.processor_seconds()
        status, answer = server.ask("POST", "/label", content)
        assert status == 400
        assert answer["error"] == SKIPPED[name]
        assert server.processor_seconds() - before < SECONDS
