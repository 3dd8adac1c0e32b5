"""Measure what an engine adds to the work: extraction by shards, with and without Ray.

    python -m benchmarks.machines.engine --data ../shared

Prints a Markdown table and two ratios: two Ray workers of one core each against one, and what one
Ray worker takes per image beyond bare extraction in one process on one core. Each row is measured
on the same photos in a process of its own: the time from the beginning of the first shard to the
end of the last, so starting Ray and loading the backbone do not count. The machine needs two idle
cores, and the parts take 5 KB of disk for each photo.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

MODULE = "efficientnet_lite0"
WAYS = ("bare", "shards", "ray 1", "ray 2")
PER_SHARD = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with flowers/photos")
    parser.add_argument("--shards", type=int, default=8, help=f"of {PER_SHARD} photos")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measured(options.way, options.data, options.shards)))
        return
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [
                *(sys.executable, __file__, "--data", str(options.data), "--way", way),
                *("--shards", str(options.shards)),
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rates[way].append(json.loads(done.stdout.splitlines()[-1]))
    middle = {way: statistics.median(found) for way, found in rates.items()}
    print("| way | images/s, median | lowest | highest |\n|---|---|---|---|")
    for way, found in rates.items():
        print(f"| {way} | {middle[way]:.1f} | {min(found):.1f} | {max(found):.1f} |")
    print(f"\n2 workers against 1: {middle['ray 2'] / middle['ray 1']:.2f} x (target 1.8)")
    share = middle["bare"] / middle["ray 1"] - 1
    print(f"overhead of the engine per image: {share:.1%} of bare extraction (target below 5%)")
    share = middle["bare"] / middle["shards"] - 1
    print(f"of which shards and part files, without Ray: {share:.1%}")


def measured(way: str, data: Path, count: int) -> float:
    """Return images per second."""
    logging.disable(logging.WARNING)
    pieces = shards(data, count)
    images = sum(len(shard.images) for shard in pieces)
    with tempfile.TemporaryDirectory() as folder:
        make = functools.partial(maker, way == "bare", folder)
        if way.startswith("ray"):
            from tlcli.runners.ray_cluster import run_on_ray

            with cluster(int(way[-1])) as found:
                ends = [each.value for each in run_on_ray(make, pieces, found)]
        else:
            from tlcli.runners.local import run_locally
            from tlcli.system.cpus import use_at_most

            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            use_at_most(1)
            ends = [each.value for each in run_locally(make, pieces)]
    assert all(end is not None for end in ends)
    return images / (max(end for _, end in ends) - min(start for start, _ in ends))


def shards(data: Path, count: int) -> list[Any]:
    """Return shards of equal size; photos are taken again where there are too few."""
    from tlcli.core.data.image_list import ImageFile
    from tlcli.shards.planning import Shard

    root = (data / "flowers" / "photos").resolve()
    names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.jpg"))]
    assert len(names) >= PER_SHARD, f"there are {len(names)} photos in {root}"
    found = []
    for number in range(count):
        first = number * PER_SHARD
        own = [names[(first + each) % len(names)] for each in range(PER_SHARD)]
        images = (ImageFile(str(root), name.partition("/")[0], name, "x") for name in own)
        found.append(Shard(number, f"{number:032}", str(root), tuple(images)))
    return found


def maker(is_bare: bool, folder: str) -> Callable[[Any], tuple[float, float]]:
    """Return what computes a shard, and says when it began and ended."""
    from dataclasses import replace

    from tlcli.backbones.resolve import resolve
    from tlcli.shards.computing import ShardComputer, Work

    found = resolve(MODULE)
    backbone = replace(found, load_graph=functools.cache(found.load_graph))
    computer = ShardComputer(backbone, Path(folder))
    backbone.load_graph()

    def work(shard: Any) -> tuple[float, float]:
        begun = time.monotonic()
        if is_bare:
            extracted(backbone, [image.file for image in shard.images])
        else:
            computer(Work(shard))
        return begun, time.monotonic()

    return work


def extracted(backbone: Any, files: Iterable[str]) -> None:
    """Hash, decode and run images as a retraining on one machine does, without a cache."""
    from tlcli.core.bottlenecks.extraction import Request, compute
    from tlcli.core.data.content_hashes import hash_files
    from tlcli.core.parts.part_cache import Parts
    from tlcli.shards.computing import ShardStore

    paths = list(files)
    contents = hash_files(paths, {}, paths, {})
    requests = [Request(path, content, None) for path, content in zip(paths, contents, strict=True)]
    compute(backbone, requests, ShardStore(Parts([])), None)


def cluster(workers: int) -> Any:
    """Return a context of a cluster on this machine with so many CPUs."""
    from contextlib import contextmanager

    @contextmanager
    def started() -> Any:
        import ray

        from tlcli.runners.ray_cluster import Cluster

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
        ray.init(
            address="local",
            num_cpus=workers,
            object_store_memory=200_000_000,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            yield Cluster()
        finally:
            ray.shutdown()

    return started()


if __name__ == "__main__":
    main()
