"""Measure the presets against each other and scikit-learn, on the reference data.

    python -m benchmarks.accuracy --data ../shared
    python -m benchmarks.accuracy --data ../shared --sets food --per_label 5 all --seeds 1

Prints Markdown tables, and on standard error what is being measured. Fine-tuning is left out: it
takes minutes per fit. With --results FILE what was measured is kept there, and only what is missing
is measured. A collection of more than a thousand rows is divided into folds only once.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.accuracy.comparison import (
    Difference,
    Outcome,
    difference,
    is_worse,
    mean_difference,
)
from benchmarks.accuracy.data import PHOTOS, STORED, Collection, load
from benchmarks.accuracy.draws import draws
from benchmarks.accuracy.recipes import Recipe, recipes
from benchmarks.tables import table
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.final_layer.samples import Samples

BASE = "original"
# So many rows test well enough whatever the division.
_MANY_ROWS = 1000
Key = tuple[str, int | None, str]
"""Collection, images per label (None: all) and recipe."""


def measure(
    collection: Collection,
    recipe: Recipe,
    per_label: int | None,
    folds: int,
    seeds: int,
    store: BottleneckStore,
) -> Outcome | None:
    """Return what a recipe gets right; None where it does not fit the collection."""
    if collection.stored is not None and not recipe.on_stored:
        return None
    vectors, blocks = collection.vectors(recipe, store)
    if recipe.largest is not None and vectors.shape[1] > recipe.largest:
        return None
    seeds = min(seeds, recipe.most_seeds or seeds)
    labels = collection.labels
    count = int(labels.max()) + 1
    right = np.full((seeds, len(labels)), np.nan)
    fold_of = np.full(right.shape, -1)
    seconds = []
    for draw in draws(labels, collection.groups, per_label, folds, seeds):
        training = Samples(vectors[draw.training], labels[draw.training])
        started = time.perf_counter()
        predict = recipe.fit(training, blocks, count, draw.seed)
        seconds.append(time.perf_counter() - started)
        answers = predict(vectors[draw.testing])
        right[draw.seed, draw.testing] = answers == labels[draw.testing]
        fold_of[draw.seed, draw.testing] = draw.fold
    return Outcome(right, fold_of, statistics.median(seconds)) if seconds else None


def name_of(per_label: int | None) -> str:
    return "all" if per_label is None else str(per_label)


def report(outcomes: dict[Key, Outcome], chosen: list[str]) -> str:
    """Return the table of all collections, that of the means, and the verdict on each recipe."""
    places = list(dict.fromkeys((name, per_label) for name, per_label, _ in outcomes))
    names = [name for name in chosen if any(key[2] == name for key in outcomes)]
    others = [name for name in names if name != BASE]
    rows, found = [], {}
    for place in places:
        base = outcomes[(*place, BASE)]
        row = [place[0], name_of(place[1]), f"{base.accuracy:.1f}"]
        for name in others:
            outcome = outcomes.get((*place, name))
            if outcome is None:
                row.append("")
                continue
            found[(*place, name)] = each = difference(outcome, base)
            row.append(each.text)
        rows.append(row)
    for per_label in dict.fromkeys(place[1] for place in places):
        here = [place for place in places if place[1] == per_label]
        mean = statistics.mean(outcomes[(*place, BASE)].accuracy for place in here)
        row = ["**mean**", name_of(per_label), f"{mean:.1f}"]
        for name in others:
            both = [found[(*place, name)] for place in here if (*place, name) in found]
            row.append(mean_difference(both).text if both else "")
        rows.append(row)
    parts = [table(["data", "images per label", BASE, *others], rows, right=2)]
    parts.append(_times(outcomes, places, names))
    parts += [_verdict(name, found) for name in others]
    return "\n\n".join(parts)


def _times(
    outcomes: dict[Key, Outcome], places: list[tuple[str, int | None]], names: list[str]
) -> str:
    rows = []
    for place in places:
        if place[1] is None:
            found = [outcomes.get((*place, name)) for name in names]
            rows.append([place[0], *(f"{each.seconds:.2f}" if each else "" for each in found)])
    return table(["seconds per fit, all images", *names], rows)


def _verdict(name: str, found: dict[Key, Difference]) -> str:
    own = {key: each for key, each in found.items() if key[2] == name}
    worse = [
        f"{key[0]} with {name_of(key[1])} ({each.text})"
        for key, each in own.items()
        if is_worse(each)
    ]
    mean = mean_difference(list(own.values())).text
    text = f"{name}: {mean} over {len(own)} rows; worse by more than half a point beyond twice"
    return f"{text} the standard error: {'; '.join(worse) or 'nowhere'}."


def _keep(path: Path, outcomes: dict[Key, Outcome]) -> None:
    """Write what was measured so that a run that is killed leaves the file whole."""
    beside = path.with_name(f"{path.name}.part")
    beside.write_bytes(pickle.dumps(outcomes))
    beside.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--sets", nargs="+", default=[*PHOTOS, *STORED])
    parser.add_argument("--recipes", nargs="+", default=list(recipes()))
    parser.add_argument("--per_label", nargs="+", default=["2", "5", "10", "all"])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--bottleneck_dir", type=Path, default=None)
    parser.add_argument("--results", type=Path, default=None)
    options = parser.parse_args()
    outcomes: dict[Key, Outcome] = {}
    if options.results is not None and options.results.exists():
        outcomes = pickle.loads(options.results.read_bytes())
    known = recipes()
    with BottleneckStore(options.bottleneck_dir) as store, tempfile.TemporaryDirectory() as folder:
        collections = [load(name, options.data, store, Path(folder)) for name in options.sets]
        # One recipe after the other, so that a run that ends early has whole columns.
        for recipe in (known[each] for each in options.recipes):
            for collection in collections:
                for text in options.per_label:
                    per_label = None if text == "all" else int(text)
                    key = (collection.name, per_label, recipe.name)
                    if key in outcomes:
                        continue
                    seeds = 1 if len(collection.labels) > _MANY_ROWS else options.seeds
                    outcome = measure(collection, recipe, per_label, options.folds, seeds, store)
                    if outcome is None:
                        continue
                    outcomes[key] = outcome
                    print(f"{', '.join(map(str, key))}: {outcome.accuracy:.1f}", file=sys.stderr)
                    if options.results is not None:
                        _keep(options.results, outcomes)
    print(report(outcomes, options.recipes))


if __name__ == "__main__":
    main()
