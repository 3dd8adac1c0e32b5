"""The main job without a network and on a read-only disk, but for its outputs and caches."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

# Only what is below the folder $W may be written; the network has no interface that is up.
_CONFINE = """
set -e
mount --make-rprivate /
mount --bind "$W" "$W"
mount -o remount,bind,ro /
cd "$W"
"""


@pytest.fixture
def confined(tmp_path: Path) -> list[str]:
    """Return what a script is run with; skip where that is not permitted."""
    if shutil.which("unshare") is None:
        pytest.skip("no program unshare, which makes namespaces")
    command = ["unshare", "--user", "--map-root-user", "--net", "--mount", "bash", "-c"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command = ["unshare", "--net", "--mount", "bash", "-c"]
    tried = subprocess.run(
        [*command, _CONFINE + "touch here"],
        env={**os.environ, "W": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"namespaces are not permitted here: {tried.stderr.strip()[:200]}")
    return command


@pytest.mark.slow
def test_the_main_job_needs_no_network_and_writes_only_where_it_was_told(
    confined: list[str], tmp_path: Path
) -> None:
    draw = [sys.executable, str(ROOT / "examples" / "draw_houses.py")]
    subprocess.run([*draw, "--output", str(tmp_path / "photos"), "--count", "24"], check=True)
    (tmp_path / "tmp").mkdir()
    script = (
        _CONFINE
        + """
    if touch /here "$HOME/here" 2>/dev/null; then echo "the disk can be written"; exit 9; fi
    "$P" -c "import socket; s = socket.socket(); s.settimeout(9); s.connect(('127.0.0.1', 9))" \\
        2>&1 | grep -q "unreachable"
    "$P" -m tlcli retrain --image_dir photos --how_many_training_steps 50 --output_graph out/g.pb
    "$P" -m tlcli label --graph out/g.pb photos/house_with_pool
    "$P" -m tlcli evaluate --graph out/g.pb --image_dir photos
    """
    )
    done = subprocess.run(
        [*confined, script],
        env={
            **os.environ,
            "W": str(tmp_path),
            "P": sys.executable,
            "TMPDIR": str(tmp_path / "tmp"),
            "TLCLI_CACHE_DIR": str(tmp_path / "cache"),
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    assert "house with pool (score=" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"here", "photos", "tmp", "cache", "out"}
    assert list((tmp_path / "tmp").iterdir()) == []
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {
        ".pb", ".txt", ".json", ".html", ".tflite",
    }  # fmt: skip
