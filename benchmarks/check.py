"""Measure what ``tlcli check`` finds: flipped labels, beside confident learning by cleanlab.

    python -m benchmarks.check --data ../shared

Prints Markdown tables. One label in twenty is flipped to another one at random, several times; the
figure is the proportion of these that are in the first 7% of the list. cleanlab ranks the same
held-out scores, made probabilities (pip install 'tlcli[bench]'); without it, its columns are empty.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.accuracy.data import Collection, load
from benchmarks.accuracy.recipes import recipes
from benchmarks.tables import table
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.final_layer.discriminant.temperature import best_temperature
from tlcli.core.photos.held_out_scores import fit_held_out
from tlcli.core.photos.main_axes import on_main_axes
from tlcli.core.photos.wrong_labels import PROBABLY_WRONG, suspicions

SETS = ("flowers", "aerial", "food", "textures", "digits", "flowers, Inception-v3")
FLIPPED, LISTED = 0.05, 0.07
CLEANLAB = {
    "cleanlab, self-confidence": {"method": "self_confidence"},
    "cleanlab, normalised margin": {"method": "normalized_margin"},
    "cleanlab, adjusted": {"method": "self_confidence", "adjust_pred_probs": True},
}


def flip(labels: np.ndarray, label_count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels with one in twenty changed at random, and the rows of these."""
    draw = np.random.default_rng(seed)
    rows = draw.permutation(len(labels))[: round(FLIPPED * len(labels))]
    changed = labels.copy()
    changed[rows] = (labels[rows] + draw.integers(1, label_count, len(rows))) % label_count
    return changed, rows


def recall(order: np.ndarray, flipped: np.ndarray) -> float:
    """Return which proportion of the flipped rows is in the first 7% of an order."""
    return float(np.isin(flipped, order[: round(LISTED * len(order))]).mean())


def cleanlab_orders(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return how cleanlab orders rows by held-out scores [N, L]; nothing without cleanlab."""
    if importlib.util.find_spec("cleanlab") is None:
        return {}
    from cleanlab.rank import get_label_quality_scores

    temperature, _ = best_temperature(scores.astype(np.float32), labels)
    powers = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    chances = powers / powers.sum(axis=1, keepdims=True)
    return {
        name: np.argsort(get_label_quality_scores(labels, chances, **how), kind="stable")
        for name, how in CLEANLAB.items()
    }


def measure(collection: Collection, store: BottleneckStore, seeds: int) -> list[str]:
    """Return the row of a collection."""
    vectors, blocks = collection.vectors(recipes()["standard"], store)
    turned = on_main_axes(vectors, blocks)
    count = int(collection.labels.max()) + 1
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        labels, flipped = flip(collection.labels, count, seed)
        doubts = suspicions(turned, labels, count)
        scores = fit_held_out(turned, labels, count).all()
        reported = np.flatnonzero(doubts.scores >= PROBABLY_WRONG)
        figures = {
            "accuracy": float((scores.argmax(axis=1) == collection.labels).mean()),
            "check": recall(doubts.ranked(), flipped),
            "right label proposed": float(
                (doubts.proposed[flipped] == collection.labels[flipped]).mean()
            ),
            "reported": len(reported) / len(labels),
            "reported flips": float(np.isin(flipped, reported).mean()),
        }
        orders = cleanlab_orders(scores, labels)
        figures |= {name: recall(order, flipped) for name, order in orders.items()}
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    names = ("accuracy", "check", *CLEANLAB, "right label proposed", "reported", "reported flips")
    means = [f"{np.mean(found[name]):.1%}" if name in found else "" for name in names]
    return [collection.name, f"{len(turned):,}", *means]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    headings = (
        *("set", "photos", "accuracy", "check", *CLEANLAB),
        *("right label proposed", "photos reported", "flips reported"),
    )
    rows = []
    with tempfile.TemporaryDirectory() as scratch, BottleneckStore() as store:
        for name in options.sets:
            collection = load(name, options.data, store, Path(scratch))
            rows.append(measure(collection, store, options.seeds))
    print(table(headings, rows))


if __name__ == "__main__":
    main()
