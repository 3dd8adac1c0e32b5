"""Measure how many photos of other subjects ``tlcli label --unknown`` finds, and at which price.

    python -m benchmarks.unknown --data ../shared

Prints a Markdown table. Four fifths of the photos of a set, drawn again for each seed, are what a
graph knows. "False rejects" are those of the last fifth that it calls unknown, "other sets" the
photos of all other sets that it finds, and "one label left out" the photos of each label where the
graph knows the others alone. The last columns have the first two figures of the maximum probability
of logistic regression, with its threshold set in the same way: by the scores of held-out photos.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.accuracy.data import load
from benchmarks.accuracy.recipes import recipes
from benchmarks.tables import table
from tlcli.arrays import Doubles, Floats, Indices
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.final_layer.logistic_regression import fit_lbfgs
from tlcli.core.final_layer.samples import Samples, inner_folds
from tlcli.core.unknown.fitting import FALSE_REJECTS, fit_unknown
from tlcli.core.unknown.model import THRESHOLD

SETS = ("flowers", "aerial", "food", "textures", "digits")
Rejects = Callable[[Floats], Doubles]
"""Tells of vectors [N, D] which are unknown, bool [N]."""


@dataclass
class Figures:
    """Proportions of photos that are called unknown, one of each seed."""

    known: list[float] = field(default_factory=list)
    far: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        """Return their means."""
        return [f"{np.mean(each):.1%}" for each in (self.known, self.far)]


def as_tlcli(training: Samples) -> Rejects:
    """Return what a graph of tlcli calls unknown."""
    model = fit_unknown(training)
    assert model is not None
    return lambda vectors: model.scores(_unlabelled(vectors))[0] > THRESHOLD


def by_probability(training: Samples) -> Rejects:
    """Return what has a low maximum probability."""

    def fitted(samples: Samples) -> Callable[[Floats], Doubles]:
        used, numbers = np.unique(samples.labels, return_inverse=True)
        layer = fit_lbfgs(samples.with_labels(numbers.astype(np.intp)), len(used)).layer
        return lambda vectors: layer.probabilities(vectors).max(axis=1)

    folds = inner_folds(training.labels)
    held_out = [
        fitted(training.subset(folds != fold))(training.subset(folds == fold).gathered())
        for fold in range(int(folds.max()) + 1)
    ]
    limit = np.quantile(np.concatenate(held_out), FALSE_REJECTS)
    best = fitted(training)
    return lambda vectors: best(vectors) < limit


METHODS: Mapping[str, Callable[[Samples], Rejects]] = {
    "--unknown": as_tlcli,
    "maximum probability": by_probability,
}


def measure(samples: Samples, others: Floats, seeds: int, method: str) -> Figures:
    """Return the figures of a set.

    Args:
        samples: all its photos.
        others: vectors of the other sets.
        seeds: draws of the fifth that is kept apart.
        method: one of `METHODS`.
    """
    found = Figures()
    for seed in range(seeds):
        tested = fifth(samples.labels, seed)
        training, testing = samples.subset(~tested), samples.subset(tested)
        rejects = METHODS[method](training)
        found.known.append(float(rejects(testing.gathered()).mean()))
        found.far.append(float(rejects(others).mean()))
    return found


def measure_near(samples: Samples) -> float:
    """Return which proportion of each label is unknown to a graph of the others, their mean."""
    found = []
    for label in np.unique(samples.labels):
        rejects = as_tlcli(samples.subset(samples.labels != label))
        found.append(rejects(samples.subset(samples.labels == label).gathered()).mean())
    return float(np.mean(found))


def fifth(labels: Indices, seed: int) -> np.ndarray:
    """Return which rows are tested: a fifth of each label, bool [N]."""
    tested = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.random.default_rng(seed).permutation(np.flatnonzero(labels == label))
        tested[rows[: len(rows) // 5]] = True
    return tested


def _unlabelled(vectors: Floats) -> Samples:
    return Samples(vectors, np.zeros(len(vectors), np.intp))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    sets: dict[str, Samples] = {}
    with tempfile.TemporaryDirectory() as scratch, BottleneckStore() as store:
        for name in SETS:
            collection = load(name, options.data, store, Path(scratch))
            vectors, blocks = collection.vectors(recipes()["standard"], store)
            head = np.ascontiguousarray(vectors[:, : blocks[0].size if blocks else None])
            sets[name] = Samples(head, np.asarray(collection.labels, np.intp))
    rows = []
    for name, samples in sets.items():
        others = np.concatenate([each.vectors for key, each in sets.items() if key != name])
        own, probability = (
            measure(samples, others, options.seeds, method).cells() for method in METHODS
        )
        near = f"{measure_near(samples):.1%}"
        rows.append([name, f"{len(samples):,}", *own, near, *probability])
    figures = ("false rejects", "other sets", "one label left out")
    compared = [f"{figure}, by maximum probability" for figure in figures[:2]]
    print(table(("known", "photos", *figures, *compared), rows))


if __name__ == "__main__":
    main()
