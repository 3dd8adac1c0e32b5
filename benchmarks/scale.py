"""Measure how time, memory and the cache grow from a thousand images to a million.

    python benchmarks/scale.py --data ../shared

Prints four Markdown tables: what each image costs in a folder of 1,000, 10,000 and 100,000
different files, by stage; what whole retrainings on them cost, with an empty and with a full
cache; what a cache of 10,000, 100,000 and 1,000,000 vectors (D = 1280) takes to open
and to read; and whole retrainings on the largest of them: by SGD, by L-BFGS, and by SGD with
cross-validation. Every row is measured in a process of its own. A million vectors take 8 GB of
disk for a while, and about twenty-five minutes; --quick stops at a tenth, --cached skips the
first two tables.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# NumPy and tlcli are imported in the functions: the process that starts the others stays small.

FINGERPRINT = "0" * 64
SIZE = 1280
LABELS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
LOOKED_UP = 3670
# The smallest network: the rest of the work is the larger share.
SMALL_NETWORK = Path("legacy", "backbones", "mobilenet_v1_0.25_128", "frozen_graph.pb")
ROUNDS = 3
# What is measured on the largest cache: name, solver, folds of the cross-validation.
RETRAININGS = (
    ("sgd, 4000 steps", "sgd", 0),
    ("lbfgs, strength chosen", "lbfgs", 0),
    ("sgd and --cross_validate 2", "sgd", 2),
)
# ext4 takes 65,000 names of one file.
LINKS = 40_000
# A file that was written less than this ago is hashed again, by tlcli's own rule.
SETTLING_SECONDS = 2.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--folder", type=Path, help="where to work, instead of the temporary one")
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    parser.add_argument("--cached", action="store_true", help="nothing but the caches")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        kind, *arguments = options.measure
        found = MEASUREMENTS[kind](*arguments)
        print(json.dumps({**found, "memory": peak_memory()}))
        return
    part = 10 if options.quick else 1
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="tlcli-scale-") as name:
        folder = Path(name)
        counts = [1000, 3000, 10_000] if options.quick else [1000, 10_000, 100_000]
        if not options.cached:
            show_growth(options.data, folder, counts)
            show_retrainings(options.data / SMALL_NETWORK, folder, counts)
        show_caches(folder, [10_000 // part, 100_000 // part, 1_000_000 // part])


def measured(kind: str, *arguments: object) -> dict[str, float]:
    """Return what a measurement found in a new process, and its peak memory in MB."""
    command = [sys.executable, __file__, "--measure", kind, *map(str, arguments)]
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def peak_memory() -> float:
    """Return the peak memory of this process in MB."""
    try:  # since the program began; the other also counts that of its parent
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class Stopwatch:
    """The least seconds of wall time and of processor time of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, action: Any) -> Any:
        wall, processor = time.perf_counter(), time.process_time()
        result = action()
        for name, value in (
            (stage, time.perf_counter() - wall),
            (f"{stage} cpu", time.process_time() - processor),
        ):
            self.seconds[name] = min(value, self.seconds.get(name, value))
        return result


# -- time per image


def show_growth(data: Path, folder: Path, counts: list[int]) -> None:
    stages = ("list", "hash new", "hash unchanged", "look up", "split", "warm")
    print("Microseconds per image, wall time (processor time):\n")
    print(f"| images | {' | '.join(stages)} | peak memory, MB |")
    print(f"|---:|{'---:|' * (len(stages) + 1)}", flush=True)
    for count in counts:
        photos = folder / f"photos-{count}"
        write_photos(data, photos, count)
        found = measured("growth", photos, folder / f"cache-of-{count}")
        cells = [
            f"{found[stage] / count * 1e6:.1f} ({found[stage + ' cpu'] / count * 1e6:.1f})"
            for stage in stages
        ]
        print(f"| {count:,} | {' | '.join(cells)} | {found['memory']:,.0f} |", flush=True)
    print()


def write_photos(data: Path, folder: Path, count: int) -> None:
    """Write small photos of which no two have the same content."""
    import io

    from PIL import Image

    small = []
    for path in sorted((data / "flowers" / "photos").glob("*/*.jpg"))[::10]:
        file = io.BytesIO()
        with Image.open(path) as image:
            image.convert("RGB").resize((32, 32)).save(file, "JPEG", quality=60)
        small.append(file.getvalue())
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    for number in range(count):
        # A JPEG decoder stops before what follows the image.
        (folder / LABELS[number % 5] / f"{number:07d}.jpg").write_bytes(
            small[number % len(small)] + b"%d" % number
        )
    time.sleep(SETTLING_SECONDS)


def growth(photos: str, cache: str) -> dict[str, float]:
    import numpy as np

    from tlcli.core.bottlenecks.cache import BottleneckStore
    from tlcli.core.data.image_folder import scan_folder
    from tlcli.core.data.splits import assign_splits, cross_label_duplicates

    watch = Stopwatch()
    with BottleneckStore(Path(cache)) as store:
        images = scan_folder(Path(photos)).images
        files = [image.file for image in images if image.file is not None]
        contents: list[Any] = watch("hash new", lambda: store.contents(files))
        for part in parts(contents):
            put_vectors(store, FINGERPRINT, part)
        matrix = np.zeros((len(images), SIZE), np.float32)
        names, labels = [image.name for image in images], [image.label for image in images]

        def split() -> None:
            assign_splits(names, labels, contents, 10, 10)
            cross_label_duplicates(names, labels, contents)

        def warm() -> None:
            watch("list", lambda: scan_folder(Path(photos)))
            assert watch("hash unchanged", lambda: store.contents(files)) == contents
            assert watch("look up", lambda: store.fill(FINGERPRINT, None, contents, matrix)).all()
            watch("split", split)

        for _ in range(ROUNDS):
            watch("warm", warm)
    return watch.seconds


def show_retrainings(network: Path, folder: Path, counts: list[int]) -> None:
    print(
        "| images, MobileNet v1 0.25 128 | empty cache: whole run, s | bottlenecks, ms per image "
        "| full cache: whole run, s | bottlenecks, ms per image | peak memory, MB |"
    )
    print(f"|{'---:|' * 6}", flush=True)
    for count in counts:
        photos, cache = folder / f"photos-{count}", folder / f"vectors-of-{count}"
        cells, peaks = [], []
        for _ in ("empty cache", "full cache"):
            found = measured("retrain", photos, cache, folder / "out", "sgd", 0, network)
            bottlenecks = found["stage bottlenecks"] / count * 1e3
            cells += [f"{found['retrain']:.1f}", f"{bottlenecks:.2f}"]
            peaks.append(found["memory"])
        print(f"| {count:,} | {' | '.join(cells)} | {max(peaks):,.0f} |", flush=True)
    print()


# -- size and speed of a cache


def show_caches(folder: Path, counts: list[int]) -> None:
    print(
        f"| vectors | file, MB | bytes per vector | open, ms | look up {LOOKED_UP:,}, ms "
        "| read all, s | peak memory, MB |"
    )
    print(f"|{'---:|' * 7}", flush=True)
    for count in counts:
        cache = folder / f"vectors-{count}"
        measured("write", cache, count)
        size = sum(file.stat().st_size for file in cache.iterdir())
        opened = measured("open", cache, count)
        read = measured("read", cache, count)
        print(
            f"| {count:,} | {size / 1e6:,.0f} | {size / count:,.0f} | {opened['open'] * 1e3:.1f} "
            f"| {opened['look up'] * 1e3:.0f} | {read['read']:.2f} | {read['memory']:,.0f} |",
            flush=True,
        )
    photos = folder / "linked"
    link_photos(photos, cache, count)
    print(
        f"\n| final layer only, {count:,} cached vectors | s | CPU s | read, s | fit, s "
        "| folds and tests, s | peak memory, MB |"
    )
    print(f"|---|{'---:|' * 6}", flush=True)
    for name, solver, folds in RETRAININGS:
        found = measured("retrain", photos, cache, folder / "out", solver, folds)
        print(
            f"| {name} | {found['retrain']:.0f} | {found['retrain cpu']:.0f} "
            f"| {found['stage bottlenecks']:.0f} | {found['stage fit']:.0f} "
            f"| {found['stage evaluation']:.0f} | {found['memory']:,.0f} |",
            flush=True,
        )


def content_of(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def parts(values: Any) -> Iterator[Any]:
    for start in range(0, len(values), 2000):
        yield values[start : start + 2000]


def put_vectors(store: Any, fingerprint: str, contents: list[str]) -> None:
    import numpy as np

    seed = int(contents[0][:8], 16)
    vectors = np.random.default_rng(seed).standard_normal((len(contents), SIZE), np.float32)
    for content, vector in zip(contents, vectors, strict=True):
        vector[: len(LABELS)] += 20 * (np.arange(len(LABELS)) == int(content[-4:], 16) % 5)
    store.put(fingerprint, None, dict(zip(contents, vectors, strict=True)))


def write(cache: str, count: str) -> dict[str, float]:
    from tlcli.core.bottlenecks.cache import BottleneckStore

    watch = Stopwatch()
    with BottleneckStore(Path(cache)) as store:

        def put_all() -> None:
            for numbers in parts(range(int(count))):
                put_vectors(store, default_fingerprint(), [content_of(i) for i in numbers])

        watch("write", put_all)
    return watch.seconds


def default_fingerprint() -> str:
    """Return what the default backbone's vectors are found by."""
    from tlcli.backbones.resolve import resolve

    return resolve("efficientnet_lite0").fingerprint


def open_cache(cache: str, count: str) -> dict[str, float]:
    import numpy as np

    from tlcli.core.bottlenecks.cache import BottleneckStore

    watch = Stopwatch()
    fingerprint = default_fingerprint()
    rng = np.random.default_rng(0)
    matrix = np.zeros((LOOKED_UP, SIZE), np.float32)
    for _ in range(ROUNDS):
        wanted = [content_of(i) for i in rng.integers(0, int(count), LOOKED_UP)]
        store = watch("open", lambda: BottleneckStore(Path(cache)))
        found = watch("look up", lambda: store.fill(fingerprint, None, wanted, matrix))  # noqa: B023
        assert found.all()
        store.close()
    return watch.seconds


def read_all(cache: str, count: str) -> dict[str, float]:
    import numpy as np

    from tlcli.core.bottlenecks.cache import BottleneckStore

    watch = Stopwatch()
    contents = [content_of(i) for i in range(int(count))]
    matrix = np.zeros((len(contents), SIZE), np.float32)
    fingerprint = default_fingerprint()
    with BottleneckStore(Path(cache)) as store:
        found = watch("read", lambda: store.fill(fingerprint, None, contents, matrix))
    assert found.all()
    return watch.seconds


# -- a whole retraining


def link_photos(folder: Path, cache: Path, count: int) -> None:
    """Make a folder of links, and make the cache treat each as different content."""
    from tlcli.core.bottlenecks.cache_database import FILE_NAME
    from tlcli.core.bottlenecks.cache_files import checked_content
    from tlcli.core.data.content_hashes import FileState

    for label in LABELS:
        (folder / label).mkdir(parents=True)
    sources = [folder / f"{number}.bin" for number in range(-(-count // LINKS))]
    rows = []
    for number in range(count):
        source = sources[number // LINKS]
        if number % LINKS == 0:
            source.write_bytes(b"%d" % number)
        content = content_of(number)
        path = f"{folder}/{LABELS[int(content[-4:], 16) % 5]}/{number:07d}.jpg"
        os.link(source, path)
        rows.append((path, source, content))
    state = {source: FileState.of(source.stat()) for source in sources}  # a link changes it
    connection = sqlite3.connect(cache / FILE_NAME)
    with connection:
        connection.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
            (
                (path, *state[source], checked_content(path, state[source], content))
                for path, source, content in rows
            ),
        )
    connection.close()


def retrain(
    photos: str, cache: str, out: str, solver: str, folds: str, module: str | None = None
) -> dict[str, float]:
    from retrain.job import retrain as run

    watch = Stopwatch()
    result = watch(
        "retrain",
        lambda: run(
            photos,
            bottleneck_dir=Path(cache),
            output_graph=Path(out, "output_graph.pb"),
            final_layer_only=True,
            solver=solver,
            cross_validate=int(folds) or None,
            module=module,
            # The same at every size: with many images bfloat16 may pay.
            precision="float32",
        ),
    )
    assert module or result.cache["computed"] == 0
    return watch.seconds | {f"stage {name}": value for name, value in result.seconds.items()}


MEASUREMENTS = {
    "growth": growth,
    "write": write,
    "open": open_cache,
    "read": read_all,
    "retrain": retrain,
}


if __name__ == "__main__":
    main()
