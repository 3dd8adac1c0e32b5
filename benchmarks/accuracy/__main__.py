"""Measure the presets against each other and scikit-learn, on the reference data.

    python -m benchmarks.accuracy --data ../shared --results FILE --document docs/accuracy.md
    python -m benchmarks.accuracy --data ../shared --sets food --per_label 5 all --seeds 1

Prints Markdown tables, and on standard error what is being measured. Fine-tuning is left out: it
takes minutes per fit. With --results FILE what was measured is kept there, and only what is missing
is measured; --seeds 0 prints what there is. A collection of more than a thousand rows is divided
into folds only once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.accuracy.comparison import Outcome
from benchmarks.accuracy.data import PHOTOS, STORED, Collection, load
from benchmarks.accuracy.document import Report, write_tables
from benchmarks.accuracy.draws import draws
from benchmarks.accuracy.recipes import Recipe, recipes
from benchmarks.accuracy.results import Results
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.final_layer.samples import Samples
from tlcli.runtime.blas_threads import one_blas_thread

# So many rows test well enough whatever the division.
_MANY_ROWS = 1000
FOLDS = 5


@one_blas_thread()
def measure(
    collection: Collection, recipe: Recipe, per_label: int | None, seed: int, store: BottleneckStore
) -> Outcome | None:
    """Return what a recipe gets right in one division; None where it does not fit the data."""
    if collection.stored is not None and not recipe.on_stored:
        return None
    if seed >= (1 if len(collection.labels) > _MANY_ROWS else recipe.most_seeds or seed + 1):
        return None
    vectors, blocks = collection.vectors(recipe, store)
    if recipe.largest is not None and vectors.shape[1] > recipe.largest:
        return None
    labels = collection.labels
    right, fold_of = np.full((1, len(labels)), np.nan), np.full((1, len(labels)), -1)
    seconds = []
    for draw in draws(labels, collection.groups, per_label, FOLDS, seed):
        training = Samples(vectors[draw.training], labels[draw.training])
        started = time.perf_counter()
        predict = recipe.fit(training, blocks, int(labels.max()) + 1, seed)
        seconds.append(time.perf_counter() - started)
        right[0, draw.testing] = predict(vectors[draw.testing]) == labels[draw.testing]
        fold_of[0, draw.testing] = draw.fold
    return Outcome(right, fold_of, statistics.median(seconds)) if seconds else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--sets", nargs="+", default=[*PHOTOS, *STORED])
    parser.add_argument("--recipes", nargs="+", default=list(recipes()))
    parser.add_argument("--per_label", nargs="+", default=["2", "5", "10", "all"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bottleneck_dir", type=Path, default=None)
    parser.add_argument("--results", type=Path, default=None)
    parser.add_argument("--document", type=Path, default=None, help="write the tables there")
    options = parser.parse_args()
    results, known = Results(options.results), recipes()
    with BottleneckStore(options.bottleneck_dir) as store, tempfile.TemporaryDirectory() as folder:
        collections = [load(name, options.data, store, Path(folder)) for name in options.sets]
        # Whole columns first, then further divisions: a run that ends early has a table.
        jobs = [
            (seed, known[recipe], collection, None if text == "all" else int(text))
            for seed in range(options.seeds)
            for recipe in options.recipes
            for collection in collections
            for text in options.per_label
        ]
        for seed, recipe, collection, per_label in jobs:
            key = (collection.name, per_label, recipe.name)
            if (key, seed) in results:
                continue
            outcome = measure(collection, recipe, per_label, seed, store)
            if outcome is not None:
                results.add(key, seed, outcome)
                print(f"{key}, seed {seed}: {outcome.accuracy:.1f}", file=sys.stderr, flush=True)
    report = str(Report(results.outcomes(), options.recipes))
    print(report)
    if options.document is not None:
        write_tables(options.document, report)


if __name__ == "__main__":
    main()
