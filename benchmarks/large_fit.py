"""Measure retrainings on more vectors than fit in memory, by the command, on drawn part files.

    python benchmarks/large_fit.py --images 1000000 --labels 1000 --folder /data/large

Writes part files of EfficientNet-Lite0's fingerprint (D = 1280, 5 KB for each image) with drawn
vectors, and images that are links to a few files, as no image is read. Then each of --solvers is
fitted by `tlcli retrain` in a process of its own, whose data may be bounded by --data_gb.
Prints a Markdown table: seconds of wall and CPU time, the largest memory of the process's own and
with what it had mapped, and the accuracy. --folder is kept for a further call; remove it yourself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZE, MODULE = 1280, "efficientnet_lite0"
# A file has no more links than that on usual drives.
LINKS = 60_000
# Distance of the labels' means from one another, in deviations of a value.
APART = 0.12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--solvers", nargs="*", default=["lda", "sgd"])
    parser.add_argument("--steps", type=int, default=4000, help="of SGD")
    parser.add_argument("--data_gb", type=float, help="as by `ulimit -d`")
    # What is not known here is an option of retrain.
    options, options.more = parser.parse_known_args()
    draw(options.folder, options.images, options.labels)
    print("| solver | wall s | CPU s | own memory MB | with mapped files MB | accuracy | stages |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for solver in options.solvers:
        print(f"| {solver} {' | '.join(fitted(options, solver))} |", flush=True)


def draw(folder: Path, images: int, labels: int) -> None:
    """Write the images and the parts, unless they are there."""
    from retrain.arguments.options import RetrainOptions
    from retrain.sources import find_backbone, find_images
    from tlcli.core.parts.part_cache import part_path
    from tlcli.shards.computing import options_text
    from tlcli.shards.planning import plan

    if (folder / "done").exists():
        return
    photos = folder / "photos"
    if not photos.is_dir():
        link(photos, images, labels)
    options = RetrainOptions(image_dir=photos, module=MODULE)
    backbone = find_backbone(options)
    dataset = find_images(options).dataset
    numbers = {label: number for number, label in enumerate(dataset.labels)}
    for shard in plan(dataset.images, backbone.fingerprint, options_text(None)):
        path = part_path(folder / "parts", backbone.fingerprint, shard.key)
        if not path.exists():
            write(path, shard, backbone, numbers)
    (folder / "done").touch()


def link(photos: Path, images: int, labels: int) -> None:
    folder = photos.with_name("contents")
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        source = folder / str(number // LINKS)
        if number % LINKS == 0:
            source.write_text(f"image {number}")
            os.utime(source, (1e9, 1e9))
        label = number * labels // images
        target = photos / f"label_{label:05}" / f"{number:08}.jpg"
        if number == 0 or (number - 1) * labels // images != label:
            target.parent.mkdir(parents=True)
        os.link(source, target)


def write(path: Path, shard: Any, backbone: Any, numbers: dict[str, int]) -> None:
    import numpy as np

    from tlcli.core.bottlenecks.cache import reader
    from tlcli.core.data.content_hashes import FileState
    from tlcli.core.parts.part_file import PartFacts, PartRows, write_part
    from tlcli.shards.computing import options_text

    count = len(shard.images)
    random = np.random.default_rng(int(shard.key[:12], 16))
    vectors = random.standard_normal((count, SIZE), np.float32)
    for row, image in enumerate(shard.images):
        vectors[row] += APART * mean(numbers[image.label])
    np.maximum(vectors, 0, out=vectors)
    write_part(
        path,
        PartRows(
            [image.name for image in shard.images],
            [FileState.of(Path(image.file).stat()).mark for image in shard.images],
            [hashlib.sha256(image.name.encode()).hexdigest() for image in shard.images],
            [image.label for image in shard.images],
            *([[""] * count] * 2),
            vectors,
        ),
        PartFacts(
            *(shard.key, backbone.fingerprint, backbone.name, options_text(None), shard.root),
            *(shard.first, shard.last, count, SIZE, reader()),
        ),
    )


def mean(label: int) -> Any:
    import numpy as np

    return np.random.default_rng(label).standard_normal(SIZE, np.float32)


def fitted(options: argparse.Namespace, solver: str) -> Iterator[str]:
    """Yield the cells of one row."""
    folder = options.folder.absolute()
    steps = ("--how_many_training_steps", str(options.steps)) if solver == "sgd" else ()
    command = [
        *(sys.executable, "-m", "tlcli", "retrain", "--image_dir", str(folder / "photos")),
        *("--bottleneck_dir", str(folder / "parts"), "--num_shards", "1", "--module", MODULE),
        *("--output_graph", str(folder / "out" / f"{solver}.pb"), "--format", "json"),
        *("--solver", solver, "--layers", "head", *steps, *options.more),
    ]
    bound = None if options.data_gb is None else int(options.data_gb * 1e9)

    def limit() -> None:
        if bound is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))

    begun = time.perf_counter()
    own = mapped = 0
    with (folder / "out.json").open("w") as out:
        process = subprocess.Popen(command, stdout=out, preexec_fn=limit)
        while process.poll() is None:
            time.sleep(0.2)
            anonymous, files = memory_of(process.pid)
            own, mapped = max(own, anonymous), max(mapped, anonymous + files)
    wall = time.perf_counter() - begun
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield f"{wall:.0f}"
    yield f"{used.ru_utime + used.ru_stime:.0f}"
    yield f"{own / 1000:.0f}"
    yield f"{mapped / 1000:.0f}"
    if process.returncode:
        yield f"exit code {process.returncode}"
        return
    result = json.loads((folder / "out.json").read_text())
    yield f"{result['test_accuracy']:.1%}"
    yield ", ".join(f"{name} {took:.0f}" for name, took in result["seconds"].items())


def memory_of(process: int) -> tuple[int, int]:
    """Return kilobytes of memory of a process: its own, and of files that it has mapped."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    values = dict(line.split(":", 1) for line in lines)
    return tuple(int(values.get(name, "0").split()[0]) for name in ("RssAnon", "RssFile"))


if __name__ == "__main__":
    main()
