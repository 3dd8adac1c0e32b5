"""Measure how far the one preprocessing is from TensorFlow's plain bilinear resize.

    python benchmarks/preprocessing.py FOLDER_OF_FOLDERS [--module efficientnet_lite0]

Each photo becomes two vectors, one by either way. Printed are the distances between the
two, and what becomes of the answers of a classifier that was fitted on one kind and shown
the other: five folds, so that no photo is judged by a classifier that has seen it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tlcli.backbones.efficientnet_lite import find
from tlcli.core.data.image_folder import scan_folder
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.runtime.tensorflow import GraphEngine

FOLDS = 5
BATCH = 25
WAYS = ("tlcli-1", "label_image")


def vectors(
    paths: list[Path], preprocessing: Preprocessing, engine: GraphEngine
) -> NDArray[np.float32]:
    """Return the bottlenecks of all photos, float32 [N, D]."""
    rows = []
    for start in range(0, len(paths), BATCH):
        batch = np.stack([preprocessing.read(path) for path in paths[start : start + BATCH]])
        rows.append(engine.run(preprocessing.scale(batch)))
    return np.concatenate(rows).astype(np.float32)


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of each row."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit(x: NDArray[np.float64], y: NDArray[np.int64], labels: int) -> NDArray[np.float64]:
    """Return the weights [D + 1, L] of a regularised logistic fit, by gradient descent."""
    weights = np.zeros((x.shape[1] + 1, labels))
    ones = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    target = np.eye(labels)[y]
    momentum = np.zeros_like(weights)
    for _ in range(400):
        slope = ones.T @ (softmax(ones @ weights) - target) / len(x) + 1e-3 * weights
        momentum = 0.9 * momentum - 1.0 * slope
        weights += momentum
    return weights


def scores(x: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities [N, L]."""
    return softmax(np.concatenate([x, np.ones((len(x), 1))], axis=1) @ weights)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image_dir", type=Path)
    parser.add_argument("--module", default="efficientnet_lite0")
    chosen = parser.parse_args(arguments)

    dataset = scan_folder(chosen.image_dir)
    paths = [image.path for image in dataset.images if image.path is not None]
    y = np.array([dataset.labels.index(image.label) for image in dataset.images])
    backbone = find(chosen.module)
    loaded = backbone.load_graph()
    engine = GraphEngine(loaded.graph, "Placeholder", loaded.output)
    found, pixels = {}, {}
    for way in WAYS:
        # With the same scaling: only decoding and resizing differ.
        preprocessing = Preprocessing(way, backbone.height, backbone.width)
        start = time.perf_counter()
        pixels[way] = np.stack([preprocessing.read(path) for path in paths]).astype(np.float32)
        seconds = time.perf_counter() - start
        print(f"{way}: decoding and resizing {len(paths) / seconds:.0f} photos per second")
        found[way] = vectors(paths, preprocessing, engine).astype(np.float64)
    engine.close()

    a, b = (found[way] for way in WAYS)
    norms = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    cosine = 1 - (a * b).sum(axis=1) / (norms[0] * norms[1])
    relative = np.linalg.norm(a - b, axis=1) / norms[0]
    shifted = np.abs(pixels[WAYS[0]] - pixels[WAYS[1]]).mean(axis=(1, 2, 3))
    # What another photo of the same label means for a vector, to compare with.
    unit = a / norms[0][:, None]
    others = 1 - (unit @ unit.T)[(y[:, None] == y) & ~np.eye(len(y), dtype=bool)]
    print(f"{len(paths)} photos, {chosen.module}; median, 95th percentile, largest")
    for name, values in (
        ("mean difference of a pixel, of 255", shifted),
        ("cosine distance of the vectors", cosine),
        ("relative distance of the vectors", relative),
        ("(cosine distance of two photos of one label)", others),
    ):
        low, high = np.median(values), np.quantile(values, 0.95)
        print(f"  {name}: {low:.4f}, {high:.4f}, {values.max():.4f}")

    folds = np.random.default_rng(0).permutation(len(y)) % FOLDS
    judged = {(one, two): np.zeros((len(y), len(dataset.labels))) for one in WAYS for two in WAYS}
    for fold in range(FOLDS):
        train, test = folds != fold, folds == fold
        for one in WAYS:
            x = found[one] / np.linalg.norm(found[one], axis=1, keepdims=True) * 10
            weights = fit(x[train], y[train], len(dataset.labels))
            for two in WAYS:
                z = found[two] / np.linalg.norm(found[two], axis=1, keepdims=True) * 10
                judged[one, two][test] = scores(z[test], weights)
    for (one, two), answers in judged.items():
        same = judged[one, one]
        accuracy = (answers.argmax(axis=1) == y).mean() * 100
        changed = int((answers.argmax(axis=1) != same.argmax(axis=1)).sum())
        best = same.argmax(axis=1)
        moved = np.abs(answers - same)[np.arange(len(y)), best]
        print(
            f"fitted on {one}, tested on {two}: accuracy {accuracy:.1f}%, best label changed on "
            f"{changed} of {len(y)}, its score moved by {np.median(moved):.3f} (median), "
            f"{np.quantile(moved, 0.95):.3f} (95th percentile)"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
