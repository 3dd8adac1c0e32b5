"""Compare the time of the final layer's fits with plain implementations.

    python benchmarks/final_layer.py --data ../shared

All lines of a group do the same job on the same rows, alternately, and the best round
counts: other work on the machine slows single rounds down. Prints a Markdown table.
"""

from __future__ import annotations

import os

# On one core: set before NumPy is imported, which starts the threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from accuracy import Data, load

from tlcli.core.evaluation.metrics import evaluate_layer
from tlcli.core.final_layer.logistic_regression import L2_STRENGTHS, fit_lbfgs
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer, SgdSettings, fit_sgd

Job = Callable[[], FinalLayer]


def plain_sgd(training: Samples, label_count: int, steps: int, seed: int = 0) -> FinalLayer:
    """The original's SGD in plain NumPy, rows taken into one buffer."""
    random = np.random.default_rng(seed)
    vectors = training.vectors
    rows_of = [np.flatnonzero(training.labels == label) for label in range(label_count)]
    order = np.concatenate(rows_of)
    counts = np.array([len(rows) for rows in rows_of])
    starts = np.cumsum(counts) - counts
    weights = np.zeros((vectors.shape[1], label_count), np.float32)
    biases = np.zeros(label_count, np.float32)
    batch = np.empty((100, vectors.shape[1]), np.float32)
    numbers = np.arange(100)
    for _ in range(steps):
        labels = random.integers(0, label_count, 100)
        rows = order[starts[labels] + (random.random(100) * counts[labels]).astype(np.intp)]
        np.take(vectors, rows, axis=0, out=batch, mode="clip")
        scores = batch @ weights + biases
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        scores[numbers, labels] -= 1
        scores /= 100
        weights -= np.float32(0.01) * (batch.T @ scores)
        biases -= np.float32(0.01) * scores.sum(axis=0)
    return FinalLayer(weights, biases)


def scikit_learn(training: Samples, validation: Samples, label_count: int) -> FinalLayer:
    """Logistic regression by scikit-learn, with the strength chosen as in tlcli."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean = training.vectors.mean(axis=0)
    centred = training.vectors - mean
    scale = 1 / np.sqrt(np.mean(np.einsum("nd,nd->n", centred, centred)))
    centred *= scale
    held_out = (validation.vectors - mean) * scale
    best: tuple[float, LogisticRegression] | None = None
    rises = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in L2_STRENGTHS:
            model = LogisticRegression(C=1 / (strength * len(training)), tol=1e-3, max_iter=1000)
            model.fit(centred, training.labels)
            chosen = model.predict_proba(held_out)[np.arange(len(validation)), validation.labels]
            loss = float(-np.log(np.maximum(chosen, 1e-30)).mean())
            if best is None or loss < best[0]:
                best, rises = (loss, model), 0
            else:
                rises += 1
            if rises == 2:
                break
    assert best is not None
    weights, biases = best[1].coef_, best[1].intercept_
    if label_count == 2:
        weights, biases = np.vstack([-weights, weights]) / 2, np.append(-biases, biases) / 2
    weights = (weights * scale).T.astype(np.float32)
    return FinalLayer(weights, (biases - mean @ weights).astype(np.float32))


def compare(data: str, jobs: dict[str, Job], testing: Samples, repeats: int) -> None:
    """Run the jobs alternately and print a line for each; ratios are to the first."""
    best: dict[str, tuple[float, float]] = {}
    accuracy: dict[str, float] = {}
    for _ in range(repeats):
        for name, job in jobs.items():
            wall, processor = time.perf_counter(), time.process_time()
            layer = job()
            times = (time.process_time() - processor, time.perf_counter() - wall)
            best[name] = min(best.get(name, times), times)
            evaluation = evaluate_layer(layer, testing)
            accuracy[name] = 100 * (evaluation.accuracy or 0.0)
    first = next(iter(best.values()))[0]
    for name, (processor, wall) in best.items():
        print(
            f"| {data} | {name} | {processor:.2f} | {wall:.2f} | {first / processor:.2f} "
            f"| {accuracy[name]:.1f} |",
            flush=True,
        )


def compare_all(data: Data, steps: int, repeats: int) -> None:
    """Print the lines of one data set: steps of SGD, then logistic regression."""
    training, validation, testing = data.split(0)
    labels, settings = data.label_count, SgdSettings(steps=steps)
    rows, size = training.vectors.shape
    title = f"{data.name}: {rows} x {size}, {labels} labels"

    def measured() -> FinalLayer:
        return fit_sgd(
            training, labels, settings, validation=validation, on_evaluation=lambda _: None
        )

    jobs: dict[str, Job] = {
        f"plain NumPy, {steps} steps": lambda: plain_sgd(training, labels, steps),
        f"sgd, {steps} steps": lambda: fit_sgd(training, labels, settings),
        "the same, measured every 10 steps": measured,
    }
    compare(title, jobs, testing, repeats)
    optimum: dict[str, Job] = {}
    if importlib.util.find_spec("sklearn") is not None:
        optimum["scikit-learn, strength chosen"] = lambda: scikit_learn(
            training, validation, labels
        )
    optimum["lbfgs, strength chosen"] = lambda: (
        fit_lbfgs(training, labels, validation=validation).layer
    )
    compare(title, optimum, testing, max(1, repeats // 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--sets", nargs="+", default=["flowers", "houses", "plates"])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print("| data | what | CPU s | wall s | ratio | test accuracy, % |")
    print("|---|---|---|---|---|---|")
    for name in options.sets:
        compare_all(load(options.data, name), options.steps, options.repeats)
    if importlib.util.find_spec("sklearn") is None:
        print("\nscikit-learn is not installed and left out.")


if __name__ == "__main__":
    main()
