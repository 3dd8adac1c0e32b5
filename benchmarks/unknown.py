"""Measure how many photos of other subjects ``tlcli label --unknown`` finds, and at which price.

    python -m benchmarks.unknown --data ../shared

Prints a Markdown table. Four fifths of the photos of a set, drawn again for each seed, are what a
graph knows. Each cell has three figures: the photos of the last fifth that it calls unknown (false
rejects), the photos of all other sets that it finds, and the photos of each label that a graph of
the other labels finds. Beside ``--unknown`` there are two other scores, with thresholds that are
set in the same way, by the scores of held-out photos: the maximum probability of logistic
regression, and its energy joined with the cosine distance to the nearest training vector.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
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
from tlcli.core.unknown.model import THRESHOLD, unit_rows

SETS = ("flowers", "aerial", "food", "textures", "digits")
Rejects = Callable[[Floats], Doubles]
"""Tells of vectors [N, D] which are unknown, bool [N]."""


@dataclass
class Figures:
    """Proportions of photos that are called unknown.

    Attributes:
        known: of those of the last fifth, one of each seed.
        far: of the other sets, one of each seed.
        near: of each label that is left out.
    """

    known: list[float] = field(default_factory=list)
    far: list[float] = field(default_factory=list)
    near: list[float] = field(default_factory=list)

    def cell(self) -> str:
        """Return their means."""
        return ", ".join(f"{np.mean(each):.1%}" for each in (self.known, self.far, self.near))


METHODS = ("--unknown", "maximum probability", "energy and distance")


def as_tlcli(training: Samples) -> Rejects:
    """Return what a graph of tlcli calls unknown."""
    model = fit_unknown(training)
    assert model is not None
    return lambda vectors: model.scores(_unlabelled(vectors))[0] > THRESHOLD


@dataclass(frozen=True)
class Views:
    """What vectors look like to photos that are known, by a fit to these.

    Attributes:
        probability: maximum probability, [N].
        energy: of the logits: minus the logarithm of the sum of their powers, [N].
        distance: cosine distance to the nearest known vector, [N].
    """

    probability: Doubles
    energy: Doubles
    distance: Doubles


def views(training: Samples) -> Callable[[Floats], Views]:
    """Fit logistic regression and return what shows vectors to it."""
    used, numbers = np.unique(training.labels, return_inverse=True)
    layer = fit_lbfgs(training.with_labels(numbers.astype(np.intp)), len(used)).layer
    known = unit_rows(training.gathered())

    def of(vectors: Floats) -> Views:
        logits = layer.logits(vectors).astype(np.float64)
        energy = -np.logaddexp.reduce(logits, axis=1)
        distance = 1 - (unit_rows(vectors) @ known.T).max(axis=1)
        return Views(layer.probabilities(vectors).max(axis=1), energy, distance)

    return of


def held_out_views(training: Samples) -> Views:
    """Return the views of training photos by fits that have not seen them."""
    folds = inner_folds(training.labels)
    found = [
        views(training.subset(folds != fold))(training.subset(folds == fold).gathered())
        for fold in range(int(folds.max()) + 1)
    ]
    names = ("probability", "energy", "distance")
    return Views(*(np.concatenate([getattr(each, name) for each in found]) for name in names))


def rejects_by_name(training: Samples) -> dict[str, Rejects]:
    """Return what tells unknown vectors, by the name of each score."""
    known, best = held_out_views(training), views(training)

    def joined(found: Views) -> Doubles:
        energy = (found.energy - known.energy.mean()) / known.energy.std()
        return energy + (found.distance - known.distance.mean()) / known.distance.std()

    lowest = np.quantile(known.probability, FALSE_REJECTS)
    highest = np.quantile(joined(known), 1 - FALSE_REJECTS)
    return {
        METHODS[0]: as_tlcli(training),
        METHODS[1]: lambda vectors: best(vectors).probability < lowest,
        METHODS[2]: lambda vectors: joined(best(vectors)) > highest,
    }


def measure(samples: Samples, others: Floats, seeds: int) -> dict[str, Figures]:
    """Return the figures of a set by the name of each score.

    Args:
        samples: all its photos.
        others: vectors of the other sets.
        seeds: draws of the fifth that is kept apart.
    """
    found = {name: Figures() for name in METHODS}
    for seed in range(seeds):
        tested = fifth(samples.labels, seed)
        for name, rejects in rejects_by_name(samples.subset(~tested)).items():
            found[name].known.append(float(rejects(samples.subset(tested).gathered()).mean()))
            found[name].far.append(float(rejects(others).mean()))
    for label in np.unique(samples.labels):
        own = samples.subset(samples.labels == label).gathered()
        for name, rejects in rejects_by_name(samples.subset(samples.labels != label)).items():
            found[name].near.append(float(rejects(own).mean()))
    return found


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
        found = measure(samples, others, options.seeds)
        rows.append([name, f"{len(samples):,}", *(each.cell() for each in found.values())])
        print(*rows[-1], file=sys.stderr, flush=True)
    print(table(("known", "photos", *METHODS), rows))


if __name__ == "__main__":
    main()
