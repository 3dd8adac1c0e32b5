"""Runs of the installed command, and what they leave behind.

How much is tried is decided by TLCLI_FAULTS, a number of runs: unset, what a test suite can
afford; `make faults` gives hundreds.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.system.atomic_files import TEMPORARY_PREFIX
from tlcli.system.digests import sha256_bytes

COMMAND = str(Path(sys.executable).parent / "tlcli")
GRAPH, LABELS, TFLITE, CARD = (
    "output_graph.pb", "output_labels.txt", "output_graph.tflite", "output_graph.json",
)  # fmt: skip
# What a run must leave the same to the byte, however it came about.
EXACT = (GRAPH, LABELS, TFLITE)
TOLERANCE = 1e-4


def tries(default: int) -> int:
    """Return how many runs to disturb."""
    return int(os.environ.get("TLCLI_FAULTS", default))


def copy_photos(shared: Path, target: Path, folders: dict[str, str], count: int) -> Path:
    """Make an image folder of ``count`` flower photos a label; ``folders``: name to source."""
    for name, source in folders.items():
        (target / name).mkdir(parents=True)
        for photo in sorted((shared / "flowers" / "photos" / source).iterdir())[:count]:
            shutil.copyfile(photo, target / name / photo.name)
    return target


@dataclass
class Finished:
    """A command that ended or was killed."""

    code: int
    out: str
    err: str
    peak_bytes: int = 0

    @property
    def json(self) -> Any:
        """Return standard output as JSON."""
        return json.loads(self.out)


def environment(cache: Path, temporary: Path | None = None) -> dict[str, str]:
    """Return the environment of a run with a cache, and a temporary folder, of its own."""
    found = {**os.environ, "TLCLI_CACHE_DIR": str(cache)}
    if temporary is not None:
        temporary.mkdir(parents=True, exist_ok=True)
        found["TMPDIR"] = str(temporary)
    return found


def run(
    arguments: Sequence[object],
    folder: Path,
    cache: Path,
    temporary: Path | None = None,
    prefix: Sequence[str] = (),
    **more: Any,
) -> Finished:
    """Run the installed command to its end; no traceback, no death by a signal."""
    done = subprocess.run(
        [*prefix, COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(cache, temporary),
        capture_output=True,
        text=True,
        check=False,
        **more,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode >= 0, (done.returncode, done.stderr)
    return Finished(done.returncode, done.stdout, done.stderr)


# A process starts out with the peak of the one that it was forked from, and that of a test run
# with TensorFlow in it is a gigabyte: a small process of its own stands between.
_LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
with open(sys.argv[1], "w") as file:
    file.write(f"{os.waitstatus_to_exitcode(status)} {usage.ru_maxrss}")
"""


def measured(arguments: Sequence[object], folder: Path, cache: Path, **more: Any) -> Finished:
    """Run the installed command and measure the most memory that it held."""
    usage = folder / "usage.txt"
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(usage)]
    with (folder / "out.txt").open("wb") as out, (folder / "err.txt").open("wb") as err:
        subprocess.run(
            [*launcher, COMMAND, *map(str, arguments)],
            cwd=folder,
            env=environment(cache),
            stdout=out,
            stderr=err,
            check=True,
            **more,
        )
    texts = [(folder / name).read_text("utf-8", "replace") for name in ("out.txt", "err.txt")]
    assert "Traceback" not in texts[1], texts[1]
    code, peak = usage.read_text().split()
    scale = 1 if sys.platform == "darwin" else 1024
    return Finished(int(code), *texts, int(peak) * scale)


@contextlib.contextmanager
def started(command: Sequence[str], folder: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command with its output in files; whatever happens, it does not outlive the block."""
    with (folder / "killed.out").open("wb") as out, (folder / "killed.err").open("wb") as err:
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=err, preexec_fn=_interruptible, **more
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def _interruptible() -> None:
    # A shell's background job ignores Ctrl-C, and its children with it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def leftovers(*folders: Path) -> list[Path]:
    """Return temporary files of tlcli anywhere below the folders."""
    return [path for folder in folders for path in folder.rglob(TEMPORARY_PREFIX + "*")]


def strays(temporary: Path) -> list[Path]:
    """Return what lies in the folder for temporary files, but for a trial of Python's own.

    Python writes "blat" into a file to see whether it can, and removes it at once.
    """
    return [path for path in temporary.iterdir() if path.is_dir() or path.read_bytes() != b"blat"]


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file; None where there is none."""
    return sha256_bytes(path.read_bytes()) if path.is_file() else None


def vectors_in(cache: Path) -> dict[tuple[str, str, str], bytes]:
    """Return every vector of a cache by fingerprint, view and content, as SQLite holds it."""
    path = cache / "bottlenecks" / "bottlenecks.sqlite"
    if not path.exists():
        return {}
    with contextlib.closing(sqlite3.connect(path, timeout=300)) as connection:
        rows = connection.execute(
            "SELECT fingerprint, view, content, vector FROM vectors "
            "JOIN backbones ON backbones.id = backbone"
        ).fetchall()
    return {(row[0], row[1], row[2]): row[3] for row in rows}


def count_vectors(cache: Path) -> int:
    """Return how many vectors a cache holds while another process fills it."""
    path = cache / "bottlenecks" / "bottlenecks.sqlite"
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)
        ) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM vectors").fetchone()[0])
    except sqlite3.Error:  # not made yet
        return 0


Scores = dict[str, float]


def scores_of(graph: Path, photos: Sequence[Path]) -> list[Scores]:
    """Return each photo's scores by label, as `tlcli label` gives them."""
    import tlcli

    with tlcli.load(graph) as classifier:
        found = classifier.label(photos, top_k=None)
    return [{score.label: score.score for score in prediction.scores} for prediction in found]


def same_scores(one: Sequence[Scores], other: Sequence[Scores]) -> bool:
    """Return whether labels and scores agree."""
    return [set(scores) for scores in one] == [set(scores) for scores in other] and all(
        np.allclose([left[label] for label in left], [right[label] for label in left], atol=1e-4)
        for left, right in zip(one, other, strict=True)
    )


def read_card(path: Path) -> dict[str, Any]:
    """Return a card's values without its date."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if key != "created"}


def wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait some seconds, or until the process has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
