"""Fuzz whole model files: each is loaded and labels an image, as `tlcli label` would do it.

    python -m tests.fuzz.models [--seconds N] [--start NUMBER] [--keep FOLDER] [--seeds FOLDER]

The number of a case determines its file. A worker loads them in a process of its own; where that
dies, hangs, or raises anything but a `TlcliError` of one line, the file is kept and counted as a
failure. Where only the child of the trial died, the file counts as survived.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = ("labelled", "refused", "survived")
# Without a word of a worker; the child of a trial has less.
_PATIENCE = 180.0
_LONGEST = 700


def file_of_case(number: int, folder: Path, seeds: list[Path]) -> Path:
    """Write the file of a case, a frozen graph, a LiteRT file or a SavedModel; return its path."""
    from tests.fuzz.graph_files import as_saved_model, changed_graph, graph_file
    from tests.fuzz.litert_files import changed_litert, litert_file

    chance = random.Random(number)
    kind = chance.random()
    seed = chance.choice(seeds) if seeds and kind < 0.3 else None
    if seed is not None and seed.suffix == ".tflite":
        name, content = "model.tflite", changed_litert(seed.read_bytes(), chance)
    elif seed is not None:
        name, content = "model.pb", changed_graph(seed.read_bytes(), chance)
    elif kind < 0.6:
        name, content = "model.tflite", litert_file(chance)
    else:
        name, content = "model.pb", graph_file(chance)
    if chance.random() < 0.05:  # no table is what it says it is
        changed = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        content = bytes(changed)
    elif name == "model.pb" and chance.random() < 0.1:
        name, content = "model/saved_model.pb", as_saved_model(content)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path.parent if name.startswith("model/") else path


def attempt(path: Path) -> str:
    """Load a file and label an image; return one of `OUTCOMES` or what failed, in words."""
    from tlcli.core.classifier.loading import load
    from tlcli.errors import TlcliError

    try:
        with load(path, labels=["a", "b"]) as classifier:
            (prediction,) = classifier.label([_image()])
    except TlcliError as error:
        text = str(error)
        if "\n" in text or len(text) > _LONGEST or "unexpected" in text or "Traceback" in text:
            return f"no sentence: {text}"
        if "a trial run of it" in text:
            return "survived"
        return "refused"
    return "labelled" if prediction.error is None else "refused"


def _image() -> bytes:
    import numpy as np
    from PIL import Image

    file = io.BytesIO()
    ramp = np.arange(9 * 7 * 3, dtype=np.uint8).reshape(9, 7, 3)
    Image.fromarray(ramp).save(file, "PNG")
    return file.getvalue()


def _work(start: int, seeds: list[Path]) -> None:
    """Try case after case; write a line before and after each."""
    import logging

    from tests.fuzz.fork_server import ForkedChild
    from tlcli.runtime import child_process

    logging.getLogger("tlcli").setLevel(logging.CRITICAL)
    child_process.ChildProcess = ForkedChild  # type: ignore[misc,assignment]
    with tempfile.TemporaryDirectory(dir=os.environ["TMPDIR"]) as folder:
        number = start
        while True:
            print(f"begin {number}", flush=True)
            path = file_of_case(number, Path(folder), seeds)
            try:
                outcome = attempt(path)
            except Exception as error:
                outcome = f"unexpected {type(error).__name__}: {error}"
            print(f"end {' '.join(outcome.split())}", flush=True)
            number += 1


def fuzz(
    seconds: float, start: int, keep: Path, seeds: list[Path], cases: int | None = None
) -> Counter[str]:
    """Try cases for a time, or a number of them; return how many ended how.

    Args:
        seconds: after which no case begins.
        start: number of the first case.
        keep: folder that receives what failed.
        seeds: files to change, in addition to those that are made.
        cases: the most to try.
    """
    counts: Counter[str] = Counter()
    deadline = time.monotonic() + seconds
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        number, last = start, None if cases is None else start + cases
        while time.monotonic() < deadline and (last is None or number < last):
            number = _run_worker(number, last, deadline, Path(folder), (keep, seeds), counts)
    return counts


def _run_worker(
    number: int,
    last: int | None,
    deadline: float,
    folder: Path,
    files: tuple[Path, list[Path]],
    counts: Counter[str],
) -> int:
    """Let one worker try cases until it dies or time is over; return the next number."""
    keep, seeds = files
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.models", "--work", str(number), *map(str, seeds)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "TLCLI_CACHE_DIR": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert worker.stdout is not None
    failure = None
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(worker.stdout, selectors.EVENT_READ)
            begun = False
            while True:
                if not selector.select(_PATIENCE):
                    failure = "it never ended"
                    break
                line = worker.stdout.readline().decode("utf-8", "replace").strip()
                if not line:
                    code = worker.wait()
                    failure = f"the worker died ({code})"
                    break
                word, _, rest = line.partition(" ")
                if word == "begin":
                    number, begun = int(rest), True
                    if time.monotonic() > deadline or number == last:
                        return number
                elif begun:
                    if rest not in OUTCOMES:
                        _keep(number, rest, keep, seeds)
                        rest = "failures"
                    counts[rest] += 1
                    begun = False
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
    counts["failures"] += 1
    _keep(number, failure, keep, seeds)
    return number + 1


def _keep(number: int, failure: str, keep: Path, seeds: list[Path]) -> None:
    print(f"case {number}: {failure}", file=sys.stderr, flush=True)
    folder = keep / f"case-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    file_of_case(number, folder, seeds)


def seed_files(folder: Path) -> list[Path]:
    """Return the small model files below a folder, in the order of their paths."""
    found = [*folder.rglob("*.tflite"), *folder.rglob("*.pb")]
    return sorted(
        path
        for path in found
        if path.name != "saved_model.pb" and 200 < path.stat().st_size < 100_000
    )


def main() -> int:
    """Fuzz as the arguments say; 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cases", type=int, help="stop after so many")
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--seeds", type=Path, help="folder of files to change as well")
    options = parser.parse_args()
    seeds = [] if options.seeds is None else seed_files(options.seeds.resolve())
    return int(report(options.seconds, options.start, options.keep, seeds, options.cases) > 0)


def report(
    seconds: float, start: int, keep: Path, seeds: Sequence[Path] = (), cases: int | None = None
) -> int:
    """Fuzz and print how many files ended how; return the number of failures."""
    counts = fuzz(seconds, start, keep, list(seeds), cases)
    words = ", ".join(f"{counts[name]:,} {name}" for name in (*OUTCOMES, "failures"))
    print(f"models: {sum(counts.values()):,} files: {words}", flush=True)
    return counts["failures"]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        _work(int(sys.argv[2]), [Path(each) for each in sys.argv[3:]])
    else:
        sys.exit(main())
