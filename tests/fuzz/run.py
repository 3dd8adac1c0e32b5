"""Fuzz the readers, guided by what of their code an input reaches.

    python -m tests.fuzz.run [--seconds N] [--keep FOLDER] [TARGET ...]

Each target runs in a process of its own. What is found lies in the folder of ``--keep`` as
TARGET-crash-...; put it into tests/fuzz/found/TARGET/ and it is tried by every test run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = "models"
"""The target that is no function of bytes: `tests.fuzz.models`."""


# The fuzzer limits the peak memory of its process, which starts out with that of the process it
# was forked from; a test run's may be gigabytes, so a small one stands between.
_BETWEEN = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"


def fuzz(target: str, seconds: float, corpus: Path, keep: Path) -> int:
    """Fuzz one target in a child; return how many inputs were tried, -1 where one was found."""
    arguments = ["--child", target, str(seconds), str(corpus), str(keep)]
    # The child ends without tidying up.
    with tempfile.TemporaryDirectory(dir=_memory()) as place:
        return _inputs(arguments, {**os.environ, "TMPDIR": place})


def _memory() -> str | None:
    """Return a folder in memory where there is one: a disk would take most of the time."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _inputs(arguments: list[str], environment: dict[str, str]) -> int:
    done = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-c", _BETWEEN),
            *(sys.executable, "-m", "tests.fuzz.run", *arguments),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    runs = re.search(r"^Done (\d+) runs|number_of_executed_units: (\d+)", done.stderr, re.MULTILINE)
    if done.returncode or not runs:
        print(done.stdout[-1000:] + done.stderr[-4000:], file=sys.stderr)
        return -1
    return int(runs[1] or runs[2])


def _child(target: str, seconds: str, corpus: str, keep: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["tlcli"]):
        from tests.fuzz.targets import TARGETS

    chosen = TARGETS[target]
    for number, seed in enumerate(chosen.seeds()):
        (Path(corpus) / f"seed-{number}").write_bytes(seed)
    largest = max([chosen.largest, *map(len, chosen.seeds())])
    flags = [
        f"-max_total_time={max(1, round(float(seconds)))}",
        f"-max_len={largest}",
        "-rss_limit_mb=3000",
        "-timeout=120",
        "-print_final_stats=1",
        "-verbosity=0",
        f"-artifact_prefix={keep}/{target}-",
    ]
    atheris.Setup([sys.argv[0], *flags, corpus], chosen.run)
    atheris.Fuzz()


def main() -> int:
    """Fuzz what the arguments name; 1 where something was found."""
    from tests.fuzz import models
    from tests.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = ", ".join([*TARGETS, MODELS])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=known)
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz")
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    found = 0
    for target in options.targets or [*TARGETS, MODELS]:
        if target == MODELS:
            found += models.report(options.seconds, time.time_ns(), options.keep) > 0
            continue
        with tempfile.TemporaryDirectory() as corpus:
            runs = fuzz(target, options.seconds, Path(corpus), options.keep.resolve())
        print(f"{target}: {'FOUND' if runs < 0 else f'{runs:,} inputs'}", flush=True)
        found += runs < 0
    return 1 if found else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(*sys.argv[2:])
    else:
        sys.exit(main())
