"""Time and memory of everything that one process does for all images of a run.

Each step is measured in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machines.bucket import served
from benchmarks.machines.names import ROOT, content_of, images, mark_of, name_of

FINGERPRINT = "f" * 64
# What `BottleneckStore.contents` looks up at a time.
AT_ONCE = 8000


@dataclass(frozen=True)
class Figures:
    """What a step took.

    Attributes:
        entries: images.
        wall: seconds.
        cpu: seconds of processor of this process.
        memory: peak of the process, MB.
        start: the same after imports, before the step.
    """

    entries: int
    wall: float
    cpu: float
    memory: float
    start: float


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        count: images.
        width: D of vectors.
        folder: with the parts.
    """

    count: int
    width: int
    folder: Path


def name(size: Size) -> None:
    for _ in images(size.count):
        pass


def plan(size: Size) -> None:
    from tlcli.shards.planning import plan as shards

    assert sum(len(shard.images) for shard in shards(images(size.count), FINGERPRINT, "{}")) == (
        size.count
    )


def hold(size: Size) -> None:
    """Do what retrain does with a listing that took no time."""
    from tlcli.core.data.image_list import Group, images_of
    from tlcli.core.data.image_objects import ObjectNames
    from tlcli.shards.planning import plan as shards

    found: dict[str, ObjectNames] = {}
    for number in range(size.count):
        text = name_of(number)
        label = text.partition("/")[0]
        if label not in found:
            found[label] = ObjectNames()
        found[label].append(text, 100_000 + number % 1000, f"{number:032x}")
    groups = [Group(label, label, names, f"{label}/") for label, names in found.items()]
    held = images_of(ROOT, groups)
    assert sum(len(shard.images) for shard in shards(held, FINGERPRINT, "{}")) == size.count


def list_bucket(size: Size) -> None:
    from tlcli.storage.objects import entries

    assert sum(1 for _ in entries(ROOT)) == size.count


def write(size: Size) -> None:
    import numpy as np

    from tlcli.core.parts.part_cache import part_path
    from tlcli.core.parts.part_file import PartFacts, PartRows, write_part
    from tlcli.shards.planning import plan as shards

    draw, first = np.random.default_rng(0), 0
    for shard in shards(images(size.count), FINGERPRINT, "{}"):
        numbers = range(first, first + len(shard.images))
        first += len(numbers)
        labels = [image.label for image in shard.images]
        empty = [""] * len(numbers)
        write_part(
            part_path(size.folder, FINGERPRINT, shard.key),
            PartRows(
                [image.name for image in shard.images],
                list(map(mark_of, numbers)),
                list(map(content_of, numbers)),
                *(labels, empty, empty),
                draw.random((len(numbers), size.width), np.float32),
            ),
            PartFacts(
                *(shard.key, FINGERPRINT, "none", "{}", ROOT, shard.first, shard.last),
                *(len(numbers), size.width),
            ),
        )


def _files(size: Size) -> list[Path]:
    from tlcli.core.parts.part_cache import part_files

    return part_files(size.folder)[FINGERPRINT]


def open_parts(size: Size) -> None:
    from tlcli.core.parts.part_cache import PartIndex

    assert sum(facts.rows for _, facts in PartIndex(_files(size)).parts) == size.count


def look_up(size: Size) -> None:
    from tlcli.core.parts.part_cache import PartIndex

    index = PartIndex(_files(size))
    for start in range(0, size.count, AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, size.count))
        assert len(index.known(f"{ROOT}/{name_of(number)}" for number in numbers)) == len(numbers)


def merge(size: Size) -> None:
    """Read all vectors in one pass and add them, as solvers on sums do."""
    import numpy as np

    from tlcli.core.parts.part_cache import open_parts as opened

    total, rows = np.zeros(size.width), 0
    for part in opened(_files(size)):
        for _, vectors in part.vectors(np.arange(part.facts.rows)):
            total += vectors.sum(0, dtype=np.float64)
            rows += len(vectors)
    assert rows == size.count
    assert abs(total.mean() / rows - 0.5) < 0.1


def gather(size: Size) -> None:
    """Read the vectors of all images into one matrix, by content."""
    import numpy as np

    from tlcli.core.parts.part_cache import Parts

    matrix = np.zeros((size.count, size.width), np.float32)
    contents = [content_of(number) for number in range(size.count)]
    assert Parts(_files(size)).fill("", contents, matrix).all()


STEPS: dict[str, tuple[str, Callable[[Size], None]]] = {
    "name": ("making the names alone", name),
    "plan": ("planning shards, names included", plan),
    "hold": ("holding a listing, and planning it", hold),
    "list": ("listing a bucket over HTTP", list_bucket),
    "write": ("writing parts", write),
    "open": ("opening the parts", open_parts),
    "look_up": ("looking up all files in the parts", look_up),
    "merge": ("one pass over all vectors", merge),
    "gather": ("all vectors into one matrix", gather),
}


def measured(step: str, size: Size) -> Figures:
    """Return what a step takes in a new process."""
    if step == "list":
        with served(size.count) as settings:
            return _measured(step, size, settings)
    return _measured(step, size, {})


def _measured(step: str, size: Size, settings: dict[str, str]) -> Figures:
    command = [sys.executable, "-m", "benchmarks.machines.entries", step]
    done = subprocess.run(
        [*command, str(size.count), str(size.width), str(size.folder)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **settings},
        cwd=Path(__file__).resolve().parents[2],
    )
    return Figures(**json.loads(done.stdout))


def peak() -> float:
    """Return the peak memory of this process in MB; that of its parent is not counted."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def main() -> None:
    # What a step imports is imported before the clock starts.
    from tlcli.core.parts.part_file import import_pyarrow

    step, count, width, folder = sys.argv[1:]
    size = Size(int(count), int(width), Path(folder))
    import_pyarrow()
    start, wall, cpu = peak(), time.perf_counter(), time.process_time()
    STEPS[step][1](size)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        json.dumps(
            {"entries": size.count, "wall": wall, "cpu": cpu, "memory": peak(), "start": start}
        )
    )


if __name__ == "__main__":
    main()
