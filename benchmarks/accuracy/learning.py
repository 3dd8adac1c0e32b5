"""Measure how well the learning curve predicts, and how often the probe picks the best backbone.

    python -m benchmarks.accuracy.learning --data ../shared
    python -m benchmarks.accuracy.learning --data ../shared --choice

Prints Markdown tables. The vectors are those of the backbones that are installed, cached as always.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy.data import PHOTOS, STORED, load
from benchmarks.accuracy.recipes import recipes
from tlcli.backbones.probe.comparison import ProbeSettings, compare_modules
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.data.image_folder import scan_folder
from tlcli.core.evaluation.learning_curve import (
    CurveSettings,
    LearningCurve,
    measure_learning_curve,
)
from tlcli.core.final_layer.samples import Samples

SETS = ("aerial", "food", "textures", "flowers", "digits", *STORED)


def first(curve: LearningCurve, count: int) -> LearningCurve:
    """Return a curve with its first points alone."""
    covariance = curve.covariance[:count, :count]
    return replace(curve, points=curve.points[:count], covariance=covariance)


def mean_curve(curves: list[LearningCurve]) -> LearningCurve:
    accuracies = np.mean([[accuracy for _, accuracy in each.points] for each in curves], axis=0)
    counts = [count for count, _ in curves[0].points]
    return replace(curves[0], points=tuple(zip(counts, accuracies.tolist(), strict=True)))


def half(samples: Samples, seed: int) -> Samples:
    """Return every second sample of each label, drawn by the seed."""
    random = np.random.default_rng(seed)
    chosen = np.zeros(len(samples), np.bool_)
    for label in np.unique(samples.labels):
        own = random.permutation(np.flatnonzero(samples.labels == label))
        chosen[own[: len(own) // 2]] = True
    return samples.subset(chosen)


def curve_of(samples: Samples, labels: int, seed: int) -> LearningCurve:
    limits = CurveSettings(seed=seed, most_values=10**9)
    found = measure_learning_curve(samples, labels, settings=limits)
    assert found is not None
    return found


def predictions(samples: Samples, labels: int, seeds: int) -> list[float]:
    """Return the figures of a row: errors in points, and how often the interval was right."""
    whole = [curve_of(samples, labels, seed) for seed in range(seeds)]
    rest = []
    for each in [*whole, mean_curve(whole)]:
        counts, accuracies = zip(*each.points[3:], strict=True)
        expected = [first(each, 3).expected(count).value for count in counts]
        rest.append(100 * np.abs(np.subtract(expected, accuracies)))
    twice, inside = [], []
    truth = mean_curve(whole).points[-1]
    for seed in range(seeds):
        found = curve_of(half(samples, seed), labels, seed).expected(truth[0])
        twice.append(100 * (found.value - truth[1]))
        inside.append(found.low <= truth[1] <= found.high)
    single = np.concatenate(rest[:-1])
    return [
        *(float(single.mean()), float(single.max()), float(rest[-1].mean())),
        *(float(np.abs(twice).mean()), float(np.mean(twice)), 100 * float(np.mean(inside))),
    ]


def choice(folder: Path, settings: ProbeSettings, seeds: int) -> list[float]:
    """Return how often the best backbone was chosen, and the points lost, mean and worst."""
    found = scan_folder(folder).images
    truth: dict[str, float] = {}
    for each in compare_modules(found, replace(settings, images=len(found))).candidates:
        assert each.accuracy is not None
        truth[each.module] = each.accuracy.value
    lost = []
    for seed in range(100, 100 + seeds):
        drawn = compare_modules(found, replace(settings, seed=seed))
        lost.append(100 * (max(truth.values()) - truth[drawn.best]))
    return [100 * float(np.mean(np.array(lost) < 1e-9)), float(np.mean(lost)), max(lost)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--choice", action="store_true", help="measure the probe of backbones")
    parser.add_argument("--images", type=int, default=200, help="images of a probe")
    parser.add_argument("--layers", choices=("head", "ms"), default="head", help="of a probe")
    parser.add_argument("--modules", nargs="+", default=[])
    options = parser.parse_args()
    if options.choice:
        print("| data | best chosen, % | points lost | at most |\n|---|---|---|---|")
        for name in (each for each in options.sets if PHOTOS.get(each)):
            folder = options.data / PHOTOS[name]
            settings = ProbeSettings(
                tuple(options.modules),
                images=options.images,
                layers=options.layers,
                trust=True,
                measures_speed=False,
            )
            row = choice(folder, settings, options.seeds)
            print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in row) + " |", flush=True)
        return
    print(
        "| data | 20 to 60%: mean error | worst | of mean curves | twice: mean | bias | inside, % |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch, BottleneckStore(None) as store:
        for name in options.sets:
            data = load(name, options.data, store, Path(scratch))
            vectors, _ = data.vectors(recipes()["original"], store)
            _, groups = np.unique(data.groups, return_inverse=True)
            samples = Samples(vectors, data.labels, groups=groups)
            row = predictions(samples, int(data.labels.max()) + 1, options.seeds)
            print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |", flush=True)


if __name__ == "__main__":
    main()
