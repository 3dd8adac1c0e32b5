"""Measure how far scores are from the truth, before and after their temperature.

    python -m benchmarks.accuracy.calibration --data ../shared --document docs/accuracy.md
    python -m benchmarks.accuracy.calibration --sets food --recipes lbfgs

Each image is scored once by a fit of the other four folds, without validation images. Prints a
Markdown table, in per cent. With --results FILE what was measured is kept there, and only what is
missing is measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.accuracy.data import PHOTOS, STORED, Collection, load
from benchmarks.accuracy.draws import draws
from benchmarks.accuracy.recipes import recipes
from benchmarks.tables import fill, table
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.calibration.reliability import Reliability, reliability
from tlcli.core.evaluation.metrics import predict
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import SgdSettings
from tlcli.core.fitting.fit_layer import FitSettings, fit_layer
from tlcli.core.fitting.held_out_temperature import cooled
from tlcli.runtime.blas_threads import one_blas_thread

# The vectors of a preset, and the solver on them.
RECIPES = {
    "standard": ("standard", "auto"),
    "lda": ("standard", "lda"),
    "lbfgs": ("standard", "lbfgs"),
    "sgd": ("original", "sgd"),
}
FOLDS = 5
MARK = "calibration"
Row = tuple[float, float, float, float]
"""Error before, after, by chance, and the mean temperature."""


@one_blas_thread()
def measure(collection: Collection, recipe: str, seed: int, store: BottleneckStore) -> Row:
    """Return the calibration errors of one division, in per cent, and the mean temperature."""
    preset, solver = RECIPES[recipe]
    vectors, blocks = collection.vectors(recipes()[preset], store)
    labels = collection.labels
    settings = FitSettings(int(labels.max()) + 1, solver, SgdSettings(seed=seed), temperature=None)
    scores, right = np.empty((2, len(labels)), np.float32), np.empty(len(labels), np.bool_)
    temperatures = []
    for draw in draws(labels, collection.groups, None, FOLDS, seed):
        training = Samples(vectors[draw.training], labels[draw.training])
        testing = Samples(vectors[draw.testing], labels[draw.testing])
        fitted = fit_layer(training, None, blocks, settings)
        temperatures.append(fitted.temperature)
        for row, layer in enumerate((cooled(fitted.layer, 1 / fitted.temperature), fitted.layer)):
            found = predict(layer, testing)
            scores[row, draw.testing] = found.score
        right[draw.testing] = found.labels == testing.labels
    before, after = _known(scores[0], right), _known(scores[1], right)
    errors = (before.error, after.error, after.chance)
    return (*(100 * each for each in errors), float(np.mean(temperatures)))


def _known(scores: np.ndarray, right: np.ndarray) -> Reliability:
    found = reliability(scores, right)
    assert found is not None
    return found


def report(rows: dict[str, list[Row]], names: list[str], kinds: list[str]) -> str:
    """Return the table, and how the means compare."""
    lines, means = [], []
    measured = {key: np.mean(found, axis=0) for key, found in rows.items()}
    for name in names:
        cells = [name]
        for kind in kinds:
            found = measured.get(f"{name}: {kind}")
            cells.append("" if found is None else _cell(found))
        lines.append(cells)
    for kind in kinds:
        own = [measured[key] for key in (f"{name}: {kind}" for name in names) if key in measured]
        means.append(f"**{_cell(np.mean(own, axis=0))}**" if own else "")
    lines.append(["**mean**", *means])
    header = ["data", *(f"{kind}: before, after (by chance)" for kind in kinds)]
    return table(header, lines)


def _cell(found: np.ndarray) -> str:
    before, after, chance, _ = found
    return f"{before:.1f}, {after:.1f} ({chance:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--sets", nargs="+", default=[*PHOTOS, *STORED])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--bottleneck_dir", type=Path, default=None)
    parser.add_argument("--results", type=Path, default=None)
    parser.add_argument("--document", type=Path, default=None, help="write the table there")
    options = parser.parse_args()
    rows: dict[str, list[Row]] = {}
    if options.results is not None and options.results.exists():
        rows = json.loads(options.results.read_text())
    with BottleneckStore(options.bottleneck_dir) as store, tempfile.TemporaryDirectory() as folder:
        collections = [load(name, options.data, store, Path(folder)) for name in options.sets]
        for seed in range(options.seeds):
            for recipe in options.recipes:
                for collection in collections:
                    found = rows.setdefault(f"{collection.name}: {recipe}", [])
                    if len(found) > seed:
                        continue
                    found.append(measure(collection, recipe, seed, store))
                    print(collection.name, recipe, *found[-1], file=sys.stderr, flush=True)
                    if options.results is not None:
                        options.results.write_text(json.dumps(rows))
    text = report({key: each for key, each in rows.items() if each}, options.sets, options.recipes)
    print(text)
    if options.document is not None:
        page = options.document.read_text(encoding="utf-8")
        options.document.write_text(fill(page, MARK, f"\n{text}\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
