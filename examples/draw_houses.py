"""Paint aerial views of houses with and without swimming pools, as test images for tlcli.

    python examples/draw_houses.py --output houses --count 200

makes the folders ``houses/house_with_pool`` and ``houses/house_without_pool``. Both have
gardens, roads, neighbours, cars and trees, and blue things that are no pools: roofs, cars,
tarpaulins, trampolines, ponds, solar panels, tennis courts. The same seed gives the same
pictures; picture number N does not depend on how many are made.

    python examples/draw_houses.py --output gardens --count 200 --multi_label

makes one folder of the same pictures, and ``gardens/labels.csv``, which lists what each of them
shows: a pool, a trampoline, a tennis court, several of them, or none.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

# Python itself does so, unless PYTHONSAFEPATH is set.
sys.path.insert(0, str(Path(__file__).resolve().parent))
from aerial.painting import paint, paint_labelled

LABELS = ("house_with_pool", "house_without_pool")


def draw_one(output: Path, number: int, seed: int) -> Path:
    """Paint one picture into its folder and return its path."""
    # Each has its own seed, so that a larger set only adds pictures.
    random = np.random.default_rng([seed, number])
    label = LABELS[number % 2]
    path = output / label / f"aerial_{number:05}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    paint(label == LABELS[0], random).save(path, quality=int(random.integers(60, 96)))
    return path


def draw_houses(output: Path, count: int, seed: int) -> list[Path]:
    """Paint ``count`` pictures, half of them with pools, and return their paths."""
    arguments = ([output] * count, range(count), [seed] * count)
    if count < 40:
        return list(map(draw_one, *arguments))
    with ProcessPoolExecutor() as pool:
        return list(pool.map(draw_one, *arguments, chunksize=10))


def draw_listed(output: Path, number: int, seed: int) -> str:
    """Paint one picture and return its line of the list: path and labels."""
    random = np.random.default_rng([seed, number])
    picture, labels = paint_labelled(number % 2 == 0, random)
    path = output / "photos" / f"aerial_{number:05}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=int(random.integers(60, 96)))
    return f"{path.relative_to(output).as_posix()},{'|'.join(labels)}\n"


def draw_list(output: Path, count: int, seed: int) -> Path:
    """Paint ``count`` pictures and return the list of what they show."""
    arguments = ([output] * count, range(count), [seed] * count)
    if count < 40:
        lines = list(map(draw_listed, *arguments))
    else:
        with ProcessPoolExecutor() as pool:
            lines = list(pool.map(draw_listed, *arguments, chunksize=10))
    path = output / "labels.csv"
    path.write_text("path,label\n" + "".join(lines), encoding="utf-8")
    return path


def main(arguments: list[str] | None = None) -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description="Paint aerial views of houses with and without pools."
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the two folders")
    parser.add_argument("--count", type=int, default=200, help="number of pictures (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the pictures (default 0)")
    parser.add_argument(
        "--multi_label", action="store_true", help="list several things that a picture shows"
    )
    chosen = parser.parse_args(arguments)
    if chosen.count < 2 or chosen.seed < 0:
        parser.error("--count must be 2 or more and --seed not below 0")
    if chosen.multi_label:
        print(f"{chosen.count} pictures in {draw_list(chosen.output, chosen.count, chosen.seed)}")
        return 0
    paths = draw_houses(chosen.output, chosen.count, chosen.seed)
    print(f"{len(paths)} pictures in {chosen.output / LABELS[0]} and {chosen.output / LABELS[1]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
