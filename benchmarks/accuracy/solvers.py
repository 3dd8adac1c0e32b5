"""Measure the solvers on stored bottleneck vectors, over several splits and seeds.

    python -m benchmarks.accuracy.solvers --data ../shared

Prints a Markdown table. The split of repetition k is the original's rule on names salted with
k: repetition 0 hashes "LABEL/NAME.jpg" itself, repetition k hashes "k/LABEL/NAME.jpg". (The
originals hashed the path as it was typed, so that a prefix is just what moved their splits.)
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlcli.core.bottlenecks.text_files import import_folder
from tlcli.core.data.splits import hash_percentage
from tlcli.core.evaluation.metrics import evaluate_layer
from tlcli.core.final_layer.discriminant_analysis import fit_lda
from tlcli.core.final_layer.logistic_regression import fit_lbfgs
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import SgdSettings, fit_sgd


@dataclass(frozen=True)
class Data:
    name: str
    vectors: np.ndarray
    names: list[str]
    labels: np.ndarray
    label_count: int

    def split(self, repetition: int) -> list[Samples]:
        """Return training, validation and testing rows of one repetition."""
        salt = f"{repetition}/" if repetition else ""
        place = np.array([hash_percentage(salt + name) for name in self.names])
        chosen = (place >= 20, place < 10, (place >= 10) & (place < 20))
        return [Samples(self.vectors[rows], self.labels[rows]) for rows in chosen]


def make_data(name: str, vectors: np.ndarray, names: list[str]) -> Data:
    folders = [image.split("/")[0] for image in names]
    labels, rows = np.unique(folders, return_inverse=True)
    return Data(name, vectors.astype(np.float32), names, rows, len(labels))


def load(folder: Path, name: str) -> Data:
    if name == "houses":
        items = import_folder(folder / "houses" / "bottlenecks").bottlenecks
        return make_data(name, np.array([i.vector for i in items]), [i.name for i in items])
    archive = np.load(folder / name / "bottlenecks.npz")
    return make_data(name, archive["vectors"], [str(image) for image in archive["names"]])


def lengths_of_one(split: list[Samples]) -> list[Samples]:
    def scale(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return [Samples(scale(samples.vectors), samples.labels) for samples in split]


def deviations_to(power: float) -> Callable[[list[Samples]], list[Samples]]:
    def apply(split: list[Samples]) -> list[Samples]:
        scale = (split[0].vectors.std(axis=0) + 1e-6) ** -power
        return [Samples(samples.vectors * scale, samples.labels) for samples in split]

    return apply


def as_they_are(split: list[Samples]) -> list[Samples]:
    return split


NORMALISATIONS = {
    "centred, one scale (the one used)": as_they_are,
    "each feature over its deviation": deviations_to(1.0),
    "each feature over the root of its deviation": deviations_to(0.5),
    "each vector over its length": lengths_of_one,
}


def sgd(data: Data, split: list[Samples], steps: int, seed: int) -> float:
    layer = fit_sgd(split[0], data.label_count, SgdSettings(steps=steps, seed=seed))
    return 100 * (evaluate_layer(layer, split[2]).accuracy or 0.0)


def lbfgs(data: Data, split: list[Samples]) -> float:
    layer = fit_lbfgs(split[0], data.label_count, validation=split[1]).layer
    return 100 * (evaluate_layer(layer, split[2]).accuracy or 0.0)


def lda(data: Data, split: list[Samples]) -> float:
    layer = fit_lda(split[0], data.label_count).layer
    return 100 * (evaluate_layer(layer, split[2]).accuracy or 0.0)


def line(data: Data, what: str, figures: list[float], seconds: float, seeds: int) -> str:
    mean, deviation = np.mean(figures), np.std(figures)
    splits = len(figures) // seeds
    return (
        f"| {data.name} | {what} | {splits} x {seeds} | {mean:.1f} ({deviation:.1f}) "
        f"| {seconds / len(figures):.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--sets", nargs="+", default=["houses", "flowers", "plates"])
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=10, help="seeds of SGD with 500 steps")
    parser.add_argument("--long-seeds", type=int, default=1, help="seeds of SGD with 4000 steps")
    parser.add_argument("--normalisations", action="store_true", help="compare them for lbfgs")
    options = parser.parse_args()
    print("| data | solver | splits x seeds | test accuracy, % | s per fit |")
    print("|---|---|---|---|---|")
    for name in options.sets:
        data = load(options.data, name)
        splits = [data.split(repetition) for repetition in range(options.splits)]
        jobs: list[tuple[str, int, Callable[[list[Samples], int], float]]] = [
            ("lda", 1, lambda split, _: lda(data, split)),  # noqa: B023
            ("lbfgs", 1, lambda split, _: lbfgs(data, split)),  # noqa: B023
        ]
        if options.normalisations:
            jobs = [
                (f"lbfgs, {what}", 1, lambda split, _, turn=turn: lbfgs(data, turn(split)))  # noqa: B023
                for what, turn in NORMALISATIONS.items()
            ]
        else:
            for steps, seeds in ((500, options.seeds), (4000, options.long_seeds)):
                jobs.append(
                    (
                        f"sgd, {steps} steps",
                        seeds,
                        lambda split, seed, steps=steps: sgd(data, split, steps, seed),  # noqa: B023
                    )
                )
        for what, seeds, job in jobs:
            started = time.perf_counter()
            figures = [job(split, seed) for split in splits for seed in range(seeds)]
            print(line(data, what, figures, time.perf_counter() - started, seeds), flush=True)


if __name__ == "__main__":
    main()
