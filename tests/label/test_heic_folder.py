"""Folders of HEIC photos through the command: one child per processor, none of them left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.core.images.test_heif import FILES
from tests.runtime.test_child_process import LINUX, _is_running, _wait_for
from tests.support import Trained
from tlcli.system.cpus import available_cpus

COUNT = 150
DAMAGED = (40, 100)


def photos(folder: Path, count: int = COUNT) -> Path:
    """Return a folder of photos, two of which end libheif by a segmentation fault."""
    folder.mkdir()
    for number in range(count):
        name = "ends_libheif.bin" if number in DAMAGED else f"turned_{(3, 6, 8)[number % 3]}.heic"
        shutil.copy(FILES / name, folder / f"{number:04}.heic")
    return folder


def labelling(trained: Trained, folder: Path) -> subprocess.Popen[str]:
    command = ["label", "--graph", str(trained.graph), "--format", "jsonl", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-m", "tlcli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder.parent)},
    )


def children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended
            found += [int(child) for child in task.read_text().split()]
    return found


@LINUX
@pytest.mark.slow
def test_a_folder_of_photos_is_labelled_by_few_children(trained: Trained, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    seen: set[int] = set()
    with labelling(trained, folder) as process:
        assert process.stdout is not None
        rows = []
        for line in process.stdout:
            rows.append(json.loads(line))
            seen |= set(children(process.pid))
        assert process.wait() == 1  # two were not labelled
    failed = [number for number, row in enumerate(rows) if "error" in row]
    assert (len(rows), failed) == (COUNT, list(DAMAGED))
    assert {rows[number]["error"] for number in DAMAGED} == {"damaged or unsupported image"}
    assert len(seen) <= 6 * available_cpus()
    _wait_for(lambda: [] if any(map(_is_running, seen)) else ["gone"])
    assert list(tmp_path.glob(".tlcli-tmp-*")) == []


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_no_child(
    trained: Trained, tmp_path: Path, number: int, code: int
) -> None:
    folder = photos(tmp_path / "photos", 400)  # it does not come to the end of so many
    with labelling(trained, folder) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        found = _wait_for(lambda: [" ".join(map(str, children(process.pid)))])
        process.send_signal(number)
        process.stdout.read()
        text = process.stderr.read()
        assert process.wait(300) == code, text
    assert "Traceback" not in text
    _wait_for(lambda: [] if any(map(_is_running, map(int, found.split()))) else ["gone"])
    assert list(tmp_path.glob(".tlcli-tmp-*")) == []
