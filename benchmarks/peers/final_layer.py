"""The final layer on the flowers' 3670 stored vectors of Inception-v3, D = 2048, 5 labels.

``plain_sgd`` is the original's rule written down in NumPy; ``text_sgd`` reads each step's
vectors from text files, as the original did.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
RATE, BATCH = np.float32(0.01), 100


def one_core() -> None:
    """Keep this process on one processor, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def flowers(data: str) -> tuple[Array, Array, list[str]]:
    """Return vectors float32 [3670, 2048], labels [3670] and names."""
    archive = np.load(Path(data) / "flowers" / "bottlenecks.npz")
    names = [str(name) for name in archive["names"]]
    _, labels = np.unique([name.split("/")[0] for name in names], return_inverse=True)
    return archive["vectors"].astype(np.float32), labels, names


def split(data: str) -> tuple[Array, Array, Array, Array]:
    """Return training vectors and labels, then those of validation, by the original's rule."""
    from tlcli.core.data.splits import hash_percentage

    vectors, labels, names = flowers(data)
    place = np.array([hash_percentage(name) for name in names])
    validation, training = place < 10, place >= 20
    return vectors[training], labels[training], vectors[validation], labels[validation]


def sgd(data: str, steps: int = 4000) -> dict[str, Any]:
    """Fit by tlcli's SGD on one processor."""
    from tlcli.core.final_layer.samples import Samples
    from tlcli.core.final_layer.sgd import SgdSettings, fit_sgd

    one_core()
    vectors, labels, _, _ = split(data)
    training = Samples(vectors, labels)
    started, busy = time.perf_counter(), time.process_time()
    layer = fit_sgd(training, 5, SgdSettings(steps=steps))
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return {
        "seconds": seconds,
        "busy": busy,
        "loss": _loss(vectors, labels, layer.weights, layer.biases),
    }


def lbfgs(data: str) -> dict[str, Any]:
    """Fit by tlcli's regularised optimum, its strength chosen on the validation split."""
    from tlcli.core.final_layer.logistic_regression import fit_lbfgs
    from tlcli.core.final_layer.samples import Samples

    one_core()
    vectors, labels, held, held_labels = split(data)
    started, busy = time.perf_counter(), time.process_time()
    layer = fit_lbfgs(Samples(vectors, labels), 5, validation=Samples(held, held_labels)).layer
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return {
        "seconds": seconds,
        "busy": busy,
        "loss": _loss(vectors, labels, layer.weights, layer.biases),
    }


def plain_sgd(data: str, steps: int = 4000, buffer: bool = True) -> dict[str, Any]:
    """Fit by the original's rule in plain NumPy; ``buffer`` gathers rows without a new array."""
    one_core()
    vectors, labels, _, _ = split(data)
    draw = _Draw(labels)
    rows = np.empty((BATCH, vectors.shape[1]), np.float32)
    weights = np.zeros((vectors.shape[1], 5), np.float32)
    biases = np.zeros(5, np.float32)
    started, busy = time.perf_counter(), time.process_time()
    for _ in range(steps):
        chosen = draw.rows()
        if buffer:
            np.take(vectors, chosen, axis=0, out=rows, mode="clip")
        else:
            rows = vectors[chosen]
        _step(rows, labels[chosen], weights, biases)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return {"seconds": seconds, "busy": busy, "loss": _loss(vectors, labels, weights, biases)}


def text_sgd(data: str, steps: int = 4000, measured: int = 60) -> dict[str, Any]:
    """Fit with each step's vectors read from text files; ``measured`` steps, scaled up."""
    vectors, labels, _, _ = split(data)
    draw = _Draw(labels)
    batches = [draw.rows() for _ in range(measured)]
    weights = np.zeros((vectors.shape[1], 5), np.float32)
    biases = np.zeros(5, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{row}.txt") for row in range(len(vectors))]
        for row in sorted({int(row) for batch in batches for row in batch}):
            files[row].write_text(",".join(map(str, vectors[row])), encoding="ascii")
        started, busy = time.perf_counter(), time.process_time()
        for chosen in batches:
            rows = np.array(
                [[float(x) for x in files[row].read_text().split(",")] for row in chosen],
                np.float32,
            )
            _step(rows, labels[chosen], weights, biases)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    scale = steps / measured
    return {"seconds": seconds * scale, "busy": busy * scale}


class _Draw:
    """A label uniformly, then an image of it, with replacement."""

    def __init__(self, labels: Array) -> None:
        self._by_label = [np.flatnonzero(labels == label) for label in range(5)]
        self._random = np.random.default_rng(0)

    def rows(self) -> Array:
        labels = self._random.integers(0, 5, BATCH)
        shares = self._random.random(BATCH)
        sizes = np.array([len(rows) for rows in self._by_label])[labels]
        places = (shares * sizes).astype(int)
        return np.array(
            [self._by_label[label][place] for label, place in zip(labels, places, strict=True)]
        )


def _step(rows: Array, labels: Array, weights: Array, biases: Array) -> None:
    scores = rows @ weights + biases
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    scores[np.arange(len(labels)), labels] -= 1
    scores *= np.float32(1 / len(labels))
    weights -= RATE * (rows.T @ scores)
    biases -= RATE * scores.sum(axis=0)


def _loss(vectors: Array, labels: Array, weights: Array, biases: Array) -> float:
    scores = vectors @ weights + biases
    scores -= scores.max(axis=1, keepdims=True)
    chosen = scores[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - chosen))
