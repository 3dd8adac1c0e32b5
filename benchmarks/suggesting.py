"""Does `tlcli label --suggest` choose better images than chance?

    python -m benchmarks.suggesting --data ../shared

The 3,670 flowers whose vectors the original tools stored: a quarter is kept apart as test images, a
classifier is fitted on five images per label of the rest, and four times fifty more are added:
random ones, the least certain ones, or those that ``--suggest`` proposes. Prints the test accuracy
of all of them, and differences to random choice, paired by draw, with twice their standard error.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from label.suggesting import suggested_rows
from tlcli.arrays import Array, Floats, Indices
from tlcli.core.final_layer.logistic_regression import fit_lbfgs
from tlcli.core.final_layer.samples import Samples

START_PER_LABEL, ADDED, ROUNDS = 5, 50, 4
Choice = Callable[[Floats, np.random.Generator], Array]


def _random(scores: Floats, generator: np.random.Generator) -> Array:
    return generator.choice(len(scores), ADDED, replace=False)


def _least_certain(scores: Floats, _: np.random.Generator) -> Array:
    best = np.sort(scores, axis=1)
    return np.argsort(best[:, -1] - best[:, -2])[:ADDED]


def _suggested(scores: Floats, _: np.random.Generator) -> Array:
    return np.array(suggested_rows(scores, ADDED))


CHOICES: dict[str, Choice] = {
    "random": _random,
    "least certain": _least_certain,
    "suggested": _suggested,
}


def measure(vectors: Floats, labels: Indices, choice: Choice, seed: int) -> list[float]:
    """Return the test accuracy in per cent before and after each round."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    test, pool = order[: len(order) // 4], order[len(order) // 4 :]
    count = int(labels.max()) + 1
    known = np.concatenate(
        [pool[labels[pool] == label][:START_PER_LABEL] for label in range(count)]
    )
    pool = np.setdiff1d(pool, known)
    accuracies = []
    for number in range(ROUNDS + 1):
        layer = fit_lbfgs(Samples(vectors[known], labels[known]), count).layer
        found = layer.logits(vectors[test]).argmax(axis=1)
        accuracies.append(100 * float((found == labels[test]).mean()))
        if number < ROUNDS:
            rows = choice(layer.probabilities(vectors[pool]), generator)
            known = np.concatenate([known, pool[rows]])
            pool = np.delete(pool, rows)
    return accuracies


def main() -> None:
    """Measure all ways to choose and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--draws", type=int, default=10, metavar="N")
    arguments = parser.parse_args()
    stored = np.load(arguments.data / "flowers" / "bottlenecks.npz")
    folders = [str(name).partition("/")[0] for name in stored["names"]]
    labels = np.unique(folders, return_inverse=True)[1].astype(np.intp)
    vectors = stored["vectors"].astype(np.float32)
    found = {
        name: np.array([measure(vectors, labels, choice, seed) for seed in range(arguments.draws)])
        for name, choice in CHOICES.items()
    }
    start = START_PER_LABEL * (int(labels.max()) + 1)
    images = [start + ADDED * number for number in range(ROUNDS + 1)]
    print("| images | " + " | ".join(found) + " |")
    print("| ---: |" + " ---: |" * len(found))
    for column, count in enumerate(images):
        cells = []
        for name, accuracies in found.items():
            mean = accuracies[:, column].mean()
            gain = accuracies[:, column] - found["random"][:, column]
            error = 2 * gain.std(ddof=1) / len(gain) ** 0.5
            is_gain = name != "random" and column
            cells.append(
                f"{mean:.1f}" + (f" ({gain.mean():+.1f} ± {error:.1f})" if is_gain else "")
            )
        print(f"| {count} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
