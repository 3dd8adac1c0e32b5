"""Runs of the installed command that are killed, and what must be true of them afterwards.

Nothing here reaches into the product: a run is killed by the clock, when files that it writes
appear, when its cache has a number of vectors, or (in a child that Python's own audit events
tell of each change to the file system) just before the Nth of these changes.

How much is tried is decided by TLCLI_FAULTS, a number of runs: unset, what a test suite can
afford; `make faults` gives hundreds.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.core.files import TEMPORARY_PREFIX, sha256_bytes

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
    with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
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


@dataclass
class Version:
    """The outputs of an undisturbed run."""

    folder: Path
    arguments: list[str]
    files: dict[str, str | None]
    scores: list[Scores]
    card: dict[str, Any]
    vectors: dict[tuple[str, str, str], bytes]
    seconds: float
    writing: float


@dataclass
class Bench:
    """Two retrainings with as many labels, of other names: the older output and the newer one.

    Labels of one beside the graph of the other would fit in number and be wrong.
    """

    folder: Path
    probes: list[Path]
    module: list[str]
    old: Version = field(init=False)
    new: Version = field(init=False)

    def prepare(self, shared: Path, count: int) -> None:
        """Draw the photos and run both retrainings undisturbed."""
        copy_photos(
            shared, self.folder / "old_photos", {n: n for n in ("daisy", "roses", "tulips")}, 6
        )
        flowers = {"a rose": "roses", "sunflowers": "sunflowers", "the daisy": "daisy"}
        copy_photos(shared, self.folder / "new_photos", flowers, count)
        self.old = self._undisturbed("old")
        self.new = self._undisturbed("new")
        assert self.old.files[LABELS] != self.new.files[LABELS]
        assert not same_scores(self.old.scores, self.new.scores)

    def _undisturbed(self, name: str) -> Version:
        folder, cache = (
            self.folder / "reference" / name,
            self.folder / "reference" / f"{name}_cache",
        )
        folder.mkdir(parents=True)
        arguments = [
            "retrain", "--image_dir", str(self.folder / f"{name}_photos"), *self.module,
            "--output_graph", "out/output_graph.pb", "--how_many_training_steps", "200",
            "--export_bottlenecks", "text", "--format", "json", "--quiet",
            # The report takes as long as all the rest.
            *([] if "TLCLI_FAULTS" in os.environ else ["--no_report"]),
        ]  # fmt: skip
        start = time.monotonic()
        done = run(arguments, folder, cache)
        seconds = time.monotonic() - start
        assert done.code == 0, done.err
        stages = done.json["seconds"]
        return Version(
            folder,
            arguments,
            {name: digest(folder / "out" / name) for name in EXACT},
            scores_of(folder / "out" / GRAPH, self.probes),
            read_card(folder / "out" / CARD),
            vectors_in(cache),
            seconds,
            stages["export"] + stages.get("report", 0.0),
        )

    def workplace(self, number: int) -> Workplace:
        """Return a new folder with the older output in place and an empty cache."""
        folder = self.folder / f"try_{number}"
        shutil.copytree(self.old.folder / "out", folder / "out")
        return Workplace(self, folder, folder / "cache", folder / "tmp")


@dataclass
class Workplace:
    """A folder in which one disturbed run happens."""

    bench: Bench
    folder: Path
    cache: Path
    temporary: Path

    def start(self, prefix: Sequence[str] = ()) -> Any:
        """Start the newer retraining (see `started`)."""
        command = [*(prefix or [COMMAND]), *self.bench.new.arguments]
        return started(command, self.folder, env=environment(self.cache, self.temporary))

    def check_after_the_kill(self) -> str:
        """Check that what lies there is the older output or the newer; return which graph is."""
        old, new = self.bench.old, self.bench.new
        out = self.folder / "out"
        present = {name: digest(out / name) for name in EXACT}
        version = {old.files[GRAPH]: old, new.files[GRAPH]: new}.get(present[GRAPH])
        assert version is not None, "the graph is neither the older nor the newer one"
        # For programs that know nothing of cards: the labels of the graph, or none.
        assert present[LABELS] in (version.files[LABELS], None), "labels of another graph"
        assert present[TFLITE] in (old.files[TFLITE], new.files[TFLITE]), "a broken LiteRT file"
        assert same_scores(scores_of(out / GRAPH, self.bench.probes), version.scores)
        other = {old.files[TFLITE]: old, new.files[TFLITE]: new}[present[TFLITE]]
        assert same_scores(scores_of(out / TFLITE, self.bench.probes), other.scores)
        read_card(out / CARD)
        return "old" if version is old else "new"

    def check_after_the_rerun(self, at_least: int = 0) -> int:
        """Run the same command to its end; return how many vectors it found in the cache."""
        new = self.bench.new
        done = run(new.arguments, self.folder, self.cache, self.temporary)
        assert done.code == 0, done.err
        out = self.folder / "out"
        assert {name: digest(out / name) for name in EXACT} == new.files
        assert read_card(out / CARD) == new.card
        assert vectors_in(self.cache) == new.vectors
        hits = int(done.json["cache"]["hits"])
        assert hits >= at_least, "work that was kept was done again"
        assert hits + done.json["cache"]["computed"] == len(new.vectors)
        assert leftovers(self.folder) == []
        assert strays(self.temporary) == []
        assert not list(self.cache.rglob("*.damaged-*"))
        return hits

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)


def read_card(path: Path) -> dict[str, Any]:
    """Return a card's values without its date."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if key != "created"}


def wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait some seconds, or until the process has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _written(folder: Path, name: str) -> bool:
    return any(folder.glob(f"out/{TEMPORARY_PREFIX}*/{name}"))


def kill_retrain(place: Workplace, mode: str, chance: random.Random) -> int:
    """Start the newer retraining and kill it; return how many vectors it was seen to keep.

    Modes: "anywhere" in its duration; "extracting", at a number of vectors; "writing", after
    the first output appears beside its place; "committing", when all outputs are there.
    """
    new, kept = place.bench.new, 0
    with place.start() as process:
        if mode == "anywhere":
            wait(process, chance.uniform(0, 1.1 * new.seconds))
        elif mode == "extracting":
            wanted = chance.randint(1, len(new.vectors) - 1)
            while process.poll() is None and kept < wanted:
                kept = count_vectors(place.cache)
                time.sleep(0.001)
        else:
            name = GRAPH if mode == "writing" else CARD
            while process.poll() is None and not _written(place.folder, name):
                time.sleep(0.0005)
            wait(process, chance.uniform(0, 2 * new.writing))
        process.kill()
    return kept


# Says when Python has started: before that, no program can answer an interrupt.
READY = (
    sys.executable,
    "-c",
    "import os\nfrom tlcli.cli import main\nos.write(2, b'ready\\n')\nmain()",
)


def interrupt(process: subprocess.Popen[bytes], folder: Path, seconds: float) -> int:
    """Send SIGINT to a `READY` process some seconds after its start; return its exit code."""
    while process.poll() is None and not (folder / "killed.err").read_bytes():
        time.sleep(0.005)
    wait(process, seconds)
    process.send_signal(signal.SIGINT)
    return process.wait(120)


# Ends itself by SIGKILL just before the Nth change to the file system, told by Python's own
# audit events; with N = 0 it writes down how many there are.
_AT_EVENT = """
import os, signal, sys
limit, count = int(sys.argv.pop(1)), 0
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree",
           "tempfile.mkdtemp", "sqlite3.connect", "ctypes.dlsym", "os.chmod", "os.utime"}
def hook(event, arguments):
    global count
    if event == "open":
        mode, flags = arguments[1], arguments[2] or 0
        if not (flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
    elif event not in CHANGES:
        return
    if event == "ctypes.dlsym" and "renameat2" not in str(arguments):
        return
    count += 1
    if count == limit:
        os.kill(os.getpid(), signal.SIGKILL)
from tlcli.cli import main
sys.addaudithook(hook)
try:
    main()
finally:
    if not limit:
        os.write(2, f"changes: {count}\\n".encode())
"""
AT_EVENT = (sys.executable, "-c", _AT_EVENT)


def count_changes(place: Workplace) -> int:
    """Return before how many changes to the file system the newer retraining can be killed."""
    with place.start([*AT_EVENT, "0"]) as process:
        assert process.wait() == 0
    said = (place.folder / "killed.err").read_text().splitlines()
    return int(next(line for line in said if line.startswith("changes: ")).split()[1])


def kill_at_change(place: Workplace, number: int) -> bool:
    """Kill the newer retraining before its Nth change; return whether it came so far."""
    with place.start([*AT_EVENT, str(number)]) as process:
        return process.wait() == -signal.SIGKILL
