"""Retraining on a folder in which not everything that is named like an image is one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, tlcli


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_is_no_image_is_skipped_and_named(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = [sys.executable, str(ROOT / "examples" / "draw_houses.py")]
    subprocess.run([*draw, "--output", str(tmp_path / "photos"), "--count", "24"], check=True)
    folder = tmp_path / "photos" / "house_with_pool"
    monkeypatch.chdir(folder)
    whole = len(list(folder.iterdir()))
    (folder / "x1.jpg").mkdir()
    os.mkfifo("x2.jpg")
    (folder / "x3.jpg").symlink_to("/dev/zero")
    (folder / "x4.jpg").symlink_to("x4.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("x5.jpg")
    (folder / "x6.jpg").write_bytes(b"")
    (folder / "x7.jpg").write_bytes(b"<html>404</html>")
    for number, name in enumerate(("decompression_bomb.gif", "hopper_orientation_6.jpg"), 8):
        (folder / f"x{number}.jpg").write_bytes((shared / "odd" / name).read_bytes())

    run = tlcli(
        "retrain", "--image_dir", "photos", "--format", "json", "--no_report",
        "--how_many_training_steps", 20, cwd=tmp_path, cache=tmp_path / "cache",
    )  # fmt: skip

    assert run.code == 0, run.err
    assert run.json["labels"]["house with pool"]["images"] == whole + 1  # the turned one
    skipped = {Path(each["path"]).name: each["reason"] for each in run.json["skipped"]}
    assert {"x6.jpg", "x7.jpg", "x8.jpg"} <= set(skipped)
    assert set(skipped) <= {f"x{number}.jpg" for number in range(1, 9)}
    assert all(skipped.values())
    label = tlcli("label", folder, "--format", "jsonl", cwd=tmp_path, cache=tmp_path / "cache")
    assert label.code == 1
    lines = label.out.splitlines()
    assert sum('"predictions"' in line for line in lines) == whole + 1
    assert sum('"error"' in line for line in lines) == len(lines) - whole - 1 >= 3
