"""What the stages of a run cost on this machine, one core at a time.

What is not here is assumed: a page of a listing takes 50 ms on the network beside the reading of
it, 50 MB per second reach a worker, and the store gives 10 GB per second to all.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machines.entries import FINGERPRINT, Size, measured
from benchmarks.machines.names import images

ASSUMED = {"list_page": 0.05, "worker_bandwidth": 50e6, "store_bandwidth": 10e9}
LISTED = 100_000
PLANNED = 500_000
VECTORS = 40_000
WIDTH = 1280
TASKS = 200
PER_SHARD = 3000
# From a new process to the first vector, as `--runner ray` does it in a worker.
START = """
import sys
from pathlib import Path
from benchmarks.machines.costs import computer_of
computer_of([Path(sys.argv[1])], Path(sys.argv[2]))()
"""


def measure(data: Path, photos: int) -> dict[str, float]:
    """Return the costs in the form of `Costs`, in seconds of processor time.

    Args:
        data: the folder with ``flowers/photos``.
        photos: how many of them are taken.
    """
    files = sorted((data / "flowers" / "photos").glob("*/*.jpg"))[:photos]
    if not files:
        raise SystemExit(f"there are no photos in {data / 'flowers' / 'photos'}")
    with tempfile.TemporaryDirectory(prefix="tlcli-costs-") as folder:
        work = Path(folder)
        found = {**ASSUMED, **_of_the_driver(work), **_of_a_worker(files, work)}
    found["image_bytes"] = sum(file.stat().st_size for file in files) / len(files)
    found["submit"] = _submit()
    return found


def _of_the_driver(work: Path) -> dict[str, float]:
    def each(step: str, count: int, width: int = WIDTH) -> float:
        return measured(step, Size(count, width, work)).cpu / count

    found = {"list_entry": each("list", LISTED)}
    found["plan"] = each("plan", PLANNED) - each("name", PLANNED)
    found["write"] = each("write", VECTORS)
    parts = len(list(work.rglob("*.parquet")))
    found["open"] = each("open", VECTORS) * VECTORS / parts
    found["read"] = each("look_up", VECTORS) + each("gather", VECTORS)
    found["fit"] = _fit()
    return found


def _fit() -> float:
    import numpy as np

    from tlcli.core.final_layer.discriminant_analysis import fit_lda
    from tlcli.core.final_layer.samples import Samples

    draw, labels = np.random.default_rng(0), np.arange(VECTORS) % 100
    vectors = draw.standard_normal((VECTORS, WIDTH), np.float32)
    once = Samples(vectors, labels)
    half = Samples(vectors[: VECTORS // 2], labels[: VECTORS // 2])
    # The end of a fit takes the same time with any number of vectors.
    seconds = [_cpu(lambda rows=rows: fit_lda(rows, 100)) for rows in (half, once)]
    return max(0.0, (seconds[1] - seconds[0]) / (VECTORS - VECTORS // 2))


def _of_a_worker(files: list[Path], work: Path) -> dict[str, float]:
    from tlcli.core.data.content_hashes import hash_files
    from tlcli.core.images.preprocessing import read_pixels

    count = len(files)
    command = [sys.executable, "-c", START, str(files[0]), str(work / "start")]
    before = time.perf_counter()
    subprocess.run(command, check=True, cwd=Path(__file__).resolve().parents[2])
    found = {"start": time.perf_counter() - before}
    computer_of(files[:2], work / "warm")()
    hashing = _cpu(lambda: hash_files(files, {}, list(map(str, files)), {}))
    decoding = _cpu(lambda: [read_pixels(file, 224, 224) for file in files])
    all_of_them = _cpu(computer_of(files, work / "all"))
    single = _cpu(computer_of(files[:1], work / "single"))
    found["hash"], found["decode"] = hashing / count, decoding / count
    # What a shard takes beside its images.
    found["shard"] = max(0.0, single - all_of_them / count)
    found["engine"] = (all_of_them - found["shard"] - hashing - decoding) / count
    return found


def computer_of(files: list[Path], folder: Path) -> Callable[[], Any]:
    """Return what computes a shard of some files with the default backbone."""
    from tlcli.core.data.image_list import ImageFile
    from tlcli.shards.computing import ShardComputer, Work
    from tlcli.shards.planning import plan

    root = str(files[0].parents[1].absolute())
    backbone = _backbone()
    found = [
        ImageFile(root, "flowers", f"{file.parent.name}/{file.name}", "flowers") for file in files
    ]
    works = [Work(shard) for shard in plan(found, FINGERPRINT, "{}")]
    computer = ShardComputer(backbone, folder)
    return lambda: [computer(each) for each in works]


@functools.cache
def _backbone() -> Any:
    """Return the default backbone; its graph is loaded once, as in a worker."""
    from tlcli.backbones.resolve import resolve

    found = resolve("efficientnet_lite0")
    return replace(found, load_graph=functools.cache(found.load_graph))


def _submit() -> float:
    """Return what the driver takes for a shard: its pickling, Ray's call, the result."""
    from tlcli.runners.ray_cluster import Cluster, run_on_ray
    from tlcli.shards.computing import Work
    from tlcli.shards.planning import Shard

    found = tuple(images(PER_SHARD))
    works = [Work(Shard(number, FINGERPRINT, "s3://b", found)) for number in range(TASKS)]
    done = run_on_ray(_Nothing, works, Cluster())
    next(done)  # Ray has started, and one of its processes

    def rest() -> None:
        for _ in done:
            pass

    return _cpu(rest) / (TASKS - 1)


class _Nothing:
    def __call__(self, work: Any) -> None:
        return None


def _cpu(action: Callable[[], Any]) -> float:
    before = time.process_time()
    action()
    return time.process_time() - before
