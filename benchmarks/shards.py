"""Measure shards: planning a list of images, and reading its parts as one cache.

    python benchmarks/shards.py --images 10000000

Prints a Markdown table. Each row is measured in a process of its own: seconds of wall time and of
CPU time, and the largest memory. The images of planning do not exist; the parts hold random vectors
(D = 1280), 5 KB of disk for each of --vectors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZE = 1280
FINGERPRINT = "f" * 64
PER_LABEL = 10_000
PER_PART = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000_000, help="of planning")
    parser.add_argument("--vectors", type=int, default=200_000, help="of reading")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, count, folder = options.measure
        print(json.dumps(measured(name, int(count), Path(folder))))
        return
    print("| what | entries | wall s | CPU s | memory MB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, count in (
            ("names", options.images),
            ("plan", options.images),
            ("write", options.vectors),
            ("open", options.vectors),
            ("read", options.vectors),
        ):
            command = [sys.executable, __file__, "--measure", name, str(count), folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout)
            print(
                f"| {STEPS[name][0]} | {count:,} | {row['wall']:.1f} | {row['cpu']:.1f} "
                f"| {row['memory']:.0f} |",
                flush=True,
            )


def measured(name: str, count: int, folder: Path) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    STEPS[name][1](count, folder)
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def names(count: int, folder: Path) -> None:
    for _ in images(count):
        pass


def planned(count: int, folder: Path) -> None:
    from tlcli.shards.planning import plan

    assert sum(len(shard.images) for shard in plan(images(count), FINGERPRINT, "{}")) == count


def images(count: int) -> Iterator[Any]:
    """Yield what a listing gives, in the order of names."""
    from tlcli.core.data.image_folder import ImageFile

    for number in range(count):
        label = f"label {number // PER_LABEL:05}"
        yield ImageFile("/photos", label, f"{label}/{number:08}.jpg", label)


def contents(start: int, stop: int) -> list[str]:
    return [hashlib.sha256(b"%d" % number).hexdigest() for number in range(start, stop)]


def write(count: int, folder: Path) -> None:
    import numpy as np

    from tlcli.core.parts.part_cache import part_path
    from tlcli.core.parts.part_file import PartFacts, PartRows, write_part

    random = np.random.default_rng(0)
    for start in range(0, count, PER_PART):
        stop = min(start + PER_PART, count)
        own = [f"rose/{number:08}.jpg" for number in range(start, stop)]
        size = stop - start
        write_part(
            part_path(folder, FINGERPRINT, f"{start:032}"),
            PartRows(
                *(own, [f"{start}-1700000000000000000-1700000000000000000-7"] * size),
                *(contents(start, stop), ["rose"] * size, [""] * size, [""] * size),
                random.random((size, SIZE), np.float32),
            ),
            PartFacts(
                *(f"{start:032}", FINGERPRINT, "none", "{}", "/photos", own[0], own[-1]),
                *(size, SIZE),
            ),
        )


def open_index(count: int, folder: Path) -> None:
    from tlcli.core.parts.part_cache import PartIndex, part_files

    index = PartIndex(part_files(folder)[FINGERPRINT])
    assert sum(facts.rows for _, facts in index.parts) == count


def read(count: int, folder: Path) -> None:
    import numpy as np

    from tlcli.core.parts.part_cache import Parts, part_files

    matrix = np.zeros((count, SIZE), np.float32)
    assert Parts(part_files(folder)[FINGERPRINT]).fill("", contents(0, count), matrix).all()


STEPS = {
    "names": ("making the names alone", names),
    "plan": ("planning shards, names included", planned),
    "write": ("writing parts", write),
    "open": ("opening parts", open_index),
    "read": ("reading all vectors of the parts", read),
}


if __name__ == "__main__":
    main()
