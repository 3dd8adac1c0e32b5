"""Measure what a check of many photos takes, beside the retrainings before and after it.

    python -m benchmarks.check_time --data ../shared --photos 1000 10000
    python -m benchmarks.check_time --photos 100000 --side 96 \
        --module ../shared/legacy/backbones/mobilenet_v1_0.25_128/frozen_graph.pb

The photos are crops of the reference photos, all of different content, with the labels of these:
with few exceptions no two show the same. Runs the installed command in processes of their own and
prints a Markdown table: wall time, processor time and peak memory. This module must stay light, as
a child's peak memory starts at that of its parent.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks.measuring import Run, run

TLCLI = str(Path(sys.executable).parent / "tlcli")
FOLDERS = ("flowers/photos", "sets/aerial", "sets/food", "sets/textures")
SHORTEST, LONGEST = 0.35, 0.75
"""Sides of a crop relative to the photo."""
_LARGE, _HOURS = 20_000, 6 * 3600


def draw(sources: list[Path], target: Path, numbers: range, side: int) -> None:
    """Write crops of photos.

    Args:
        sources: photos in a folder per label.
        target: for a folder per label.
        numbers: of the crops; each is drawn by its own number.
        side: of the longer side of a crop, in pixels.
    """
    import numpy as np
    from PIL import Image

    by_source: dict[Path, list[int]] = {}
    for number in numbers:
        by_source.setdefault(sources[number % len(sources)], []).append(number)
    for source, own in by_source.items():
        folder = target / f"{source.parent.parent.name} {source.parent.name}"
        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(source) as opened:
            photo = opened.convert("RGB")
        for number in own:
            random = np.random.default_rng(number)
            parts = random.uniform(SHORTEST, LONGEST, 2)
            width, height = (
                max(32, int(part * length)) for part, length in zip(parts, photo.size, strict=True)
            )
            left, top = (
                int(random.integers(0, length - own_length + 1))
                for own_length, length in zip((width, height), photo.size, strict=True)
            )
            crop = photo.crop((left, top, left + width, top + height))
            crop.thumbnail((side, side))
            crop.save(folder / f"{number:07}.jpg", quality=int(random.integers(75, 96)))


def draw_all(data: Path, target: Path, count: int, side: int) -> None:
    """Write ``count`` crops of the reference photos, in processes of their own."""
    sources = sorted(path for each in FOLDERS for path in (data / each).glob("*/*.jpg"))
    # A source belongs to one process, which opens it once.
    workers = 4
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        parts = [range(each, count, workers) for each in range(workers)]
        stride = len(sources) - len(sources) % workers
        for _ in pool.map(
            draw, *zip(*((sources[:stride], target, part, side) for part in parts), strict=True)
        ):
            pass


def measure(folder: Path, options: argparse.Namespace, count: int) -> list[tuple[str, Run]]:
    """Return the runs on drawn photos by what they are, in their order."""
    photos = folder / "photos"
    draw_all(options.data, photos, count, options.side)
    module = ["--module", str(options.module.resolve())] if options.module else []
    environment = {"TLCLI_CACHE_DIR": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": ""}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")

    def timed(*arguments: str) -> Run:
        command = [TLCLI, *arguments, "--image_dir", str(photos), *module, "--quiet"]
        return run(command, env=environment, cwd=folder, timeout=_HOURS)

    checked = ("check", "--format", "json", "--output", "found.json")
    runs = [
        ("`check`, nothing cached", timed(*checked)),
        ("`check`, vectors cached", timed(*checked)),
    ]
    if count <= _LARGE:
        runs.append(("`retrain`, vectors cached", timed("retrain")))
    return runs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--side", type=int, default=320, help="longer side in pixels")
    parser.add_argument("--module", type=Path, default=None, help="backbone, a file")
    parser.add_argument("--folder", type=Path, default=None, help="for the photos")
    options = parser.parse_args()
    print(
        "| photos | run | seconds | of processors | memory |\n| ---: | --- | ---: | ---: | ---: |"
    )
    for count in options.photos:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for name, found in measure(Path(folder), options, count):
                cells = (f"{found.wall:.0f}", f"{found.cpu:.0f}", f"{found.memory / 1e6:,.0f} MB")
                print(f"| {count:,} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
