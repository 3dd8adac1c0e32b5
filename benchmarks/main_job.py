"""Measure the main job on the reference data: times, memory, and that nothing is computed twice.

    python benchmarks/main_job.py --data ../shared

Runs the installed command in processes of their own and prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TLCLI = str(Path(sys.executable).parent / "tlcli")
FLOWERS = 3670  # as many as TensorFlow's flower_photos


class Ran(NamedTuple):
    """Seconds of wall and of processors, peak resident megabytes, and standard output."""

    seconds: float
    processors: float
    megabytes: float
    output: str

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s, {self.processors:.1f} s of processors, {self.megabytes:.0f} MB"
        )


def run(arguments: list[object], folder: Path) -> Ran:
    """Run tlcli in ``folder``."""
    out = folder / "stdout.txt"
    environment = {**os.environ, "TLCLI_CACHE_DIR": str(folder / "cache")}
    # As after installing: modules are compiled, whatever the checkout's owner forbids.
    environment |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        with out.open("wb") as stdout, (folder / "stderr.txt").open("wb") as stderr:
            os.dup2(stdout.fileno(), 1)
            os.dup2(stderr.fileno(), 2)
        os.execve(TLCLI, [TLCLI, *map(str, arguments)], environment)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit((folder / "stderr.txt").read_text())
    processors = usage.ru_utime + usage.ru_stime
    return Ran(seconds, processors, usage.ru_maxrss / 1024, out.read_text())


def fastest(arguments: list[object], folder: Path, times: int) -> Ran:
    """Return the fastest of several runs."""
    return min(run(arguments, folder) for _ in range(times))


def grow(photos: Path, target: Path, count: int) -> None:
    """Fill ``target`` with ``count`` photos of distinct content: a JPEG may end in any bytes."""
    # By number, which mixes the labels: few photos are of all of them.
    sources = sorted(photos.glob("*/*.jpg"), key=lambda path: (path.name, path))
    for number in range(count):
        source = sources[number % len(sources)]
        place = target / source.parent.name / f"{number:06}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(source.read_bytes() + str(number).encode())


def houses(data: Path, folder: Path) -> str:
    """Time the final layer of the 518 imported house vectors, best of five."""
    arguments = [
        "retrain", "--import_bottlenecks", data / "houses" / "bottlenecks", "--quiet",
        "--how_many_training_steps", 500, "--final_layer_only",
    ]  # fmt: skip
    best = fastest(arguments, folder, 5)
    return f"518 house vectors imported, 500 steps, `--final_layer_only` | {best}"


def flowers(data: Path, folder: Path, photos: int) -> list[str]:
    """Retrain on so many photos with the default preset and with SGD, and label them."""
    grow(data / "flowers" / "photos", folder / "photos", photos)
    arguments = ["retrain", "--image_dir", "photos", "--format", "json", "--quiet"]
    run(arguments, folder)
    standard = fastest(arguments, folder, 3)
    shutil.rmtree(folder / "cache")
    arguments += ["--preset", "original"]
    cold = run(arguments, folder)
    warm = fastest(arguments, folder, 3)
    computed = [json.loads(each.output)["cache"]["computed"] for each in (cold, warm)]
    few = run(["label", "--image", "photos/daisy", "--format", "jsonl"], folder)
    many = run(["label", "--image", "photos", "--format", "jsonl"], folder)
    counts = [len(each.output.splitlines()) for each in (few, many)]
    return [
        f"`retrain --preset original` on {photos} photos, empty cache | {cold}, "
        f"{computed[0]} vectors computed",
        f"the same again, best of three | {warm}, {computed[1]} computed",
        f"`retrain` (standard), vectors in the cache, best of three | {standard}",
        f"`label` on a folder of {counts[0]} | {few}",
        f"`label` on a folder of {counts[1]} | {many}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--photos", type=int, default=FLOWERS)
    options = parser.parse_args()
    data = options.data.resolve()
    folder = Path(tempfile.mkdtemp(prefix="tlcli-benchmark-"))
    try:
        print("| what | measured |\n|---|---|")
        print(f"| {houses(data, folder)} |", flush=True)
        for line in flowers(data, folder, options.photos):
            print(f"| {line} |", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
