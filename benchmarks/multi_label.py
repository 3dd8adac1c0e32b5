"""Several labels per image: collages of photos, compared with scikit-learn on the same vectors.

    python -m benchmarks.multi_label --data ../shared

Each collage has two by two fields with one to three photos of a set, in a random place each, and
the labels of all of them; the last label is about a tenth as frequent as the first. No photo is in
a training collage and in a test collage. Prints a Markdown table with the mean over the seeds;
scikit-learn fits one LogisticRegression per label to the vectors of EfficientNet-Lite0.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.accuracy.data import PHOTOS
from benchmarks.tables import table
from tlcli.arrays import Array, Floats
from tlcli.backbones.layers.pooled_maps import with_pooled_maps
from tlcli.backbones.resolve import resolve
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.extraction import Request, compute
from tlcli.core.data.image_folder import scan_folder
from tlcli.core.evaluation.metrics import Bools
from tlcli.core.evaluation.multi_label.figures import evaluate_marks
from tlcli.core.final_layer.multi_label.marked import MarkedSamples
from tlcli.core.fitting.multi_label import MultiLabelSettings, fit_multi_label

SETS = ("flowers", "food", "aerial")
TRAINING, TESTING = 240, 200
SIDE = 224
Scored = tuple[Floats, tuple[float, ...]]
"""Test scores [N, L], and the thresholds of the labels."""


@dataclass(frozen=True)
class Collages:
    """Collages and their labels; the first ones are for training."""

    vectors: Floats
    blocks: tuple
    marks: Bools


def draw(folder: Path, target: Path, seed: int) -> tuple[list[Path], Bools]:
    """Write training and test collages of the photos in a folder, and return their labels."""
    dataset = scan_folder(folder)
    random = np.random.default_rng(seed)
    labels = list(dataset.labels)
    by_label = [
        [image.path for image in dataset.images if image.label == label] for label in labels
    ]
    by_label = [[own[row] for row in random.permutation(len(own))] for own in by_label]
    weights = np.geomspace(1, 0.1, len(labels))
    paths, marks = [], np.zeros((TRAINING + TESTING, len(labels)), bool)
    for number in range(TRAINING + TESTING):
        canvas = Image.new("RGB", (2 * SIDE, 2 * SIDE), tuple(random.integers(60, 200, 3).tolist()))
        fields = random.permutation(4)[: int(random.integers(1, 4))]
        for field in fields.tolist():
            label = int(random.choice(len(labels), p=weights / weights.sum()))
            own = by_label[label]
            cut = 2 * len(own) // 3
            photo = random.integers(0, cut) if number < TRAINING else random.integers(cut, len(own))
            with Image.open(own[int(photo)]) as image:
                part = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            canvas.paste(part, (field % 2 * SIDE, field // 2 * SIDE))
            marks[number, label] = True
        paths.append(target / f"{number:04}.jpg")
        canvas.save(paths[-1], quality=90)
    return paths, marks


def vectors_of(paths: list[Path], store: BottleneckStore) -> tuple[Floats, tuple]:
    """Return the vectors of images, of several layers of which the bottleneck is the first."""
    backbone = with_pooled_maps(resolve("efficientnet_lite0"))
    contents = store.contents(paths)
    requests = [Request(str(path), str(key)) for path, key in zip(paths, contents, strict=True)]
    return compute(backbone, requests, store).vectors, backbone.blocks


def tlcli(solver: str, balanced: bool = False) -> Callable[[Collages, int], Scored]:
    """Return a fit by tlcli."""

    def fit(found: Collages, count: int) -> Scored:
        training = MarkedSamples.of(found.vectors[:count], found.marks[:count])
        settings = MultiLabelSettings(solver, balanced=balanced)
        fitted = fit_multi_label(training, found.blocks, settings)
        return fitted.layer.probabilities(found.vectors[TRAINING:]), fitted.thresholds

    return fit


def scikit_learn(found: Collages, count: int) -> Scored:
    """Fit one LogisticRegression per label, with its defaults."""
    from sklearn.linear_model import LogisticRegression

    columns: list[Array] = []
    for marks in found.marks[:count].T:
        if marks.all() or not marks.any():
            columns.append(np.full(TESTING, float(marks.mean())))
            continue
        model = LogisticRegression(max_iter=2000).fit(found.vectors[:count], marks)
        columns.append(model.predict_proba(found.vectors[TRAINING:])[:, 1])
    return np.stack(columns, 1).astype(np.float32), (0.5,) * found.marks.shape[1]


METHODS: dict[str, tuple[bool, Callable[[Collages, int], Scored]]] = {
    "scikit-learn": (False, scikit_learn),
    "SGD": (False, tlcli("sgd")),
    "logistic regression": (False, tlcli("lbfgs")),
    "the same, balanced": (False, tlcli("lbfgs", balanced=True)),
    "several layers": (True, tlcli("lbfgs")),
}


def figures(scored: Scored, marks: Bools) -> tuple[float, float, float, float]:
    """Return mAP, macro F1, macro F1 with all thresholds at 0.5, and exact matches, in per cent."""
    scores, thresholds = scored
    own = evaluate_marks(scores, marks, thresholds)
    half = evaluate_marks(scores, marks, [0.5] * marks.shape[1])
    assert own.mean_average_precision is not None
    found = (own.mean_average_precision.value, own.macro_f1, half.macro_f1, own.accuracy)
    return tuple(100 * (value or 0.0) for value in found)  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--counts", nargs="+", type=int, default=[60, TRAINING])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--bottleneck_dir", type=Path, default=None)
    options = parser.parse_args()
    heads = ("mAP", "macro F1", "macro F1 at 0.5", "all labels right")
    rows = [("set", "collages", "fit", *heads)]
    measured: dict[tuple[str, int, str], list[tuple[float, ...]]] = {}
    with BottleneckStore(options.bottleneck_dir) as store:
        for name in options.sets:
            for seed in range(options.seeds):
                with tempfile.TemporaryDirectory() as folder:
                    paths, marks = draw(options.data / PHOTOS[name], Path(folder), seed)
                    joined, blocks = vectors_of(paths, store)
                known = {
                    False: Collages(joined[:, : blocks[0].size].copy(), (), marks),
                    True: Collages(joined, blocks, marks),
                }
                for count in options.counts:
                    for method, (several, fit) in METHODS.items():
                        scored = fit(known[several], count)
                        found = figures(scored, marks[TRAINING:])
                        measured.setdefault((name, count, method), []).append(found)
    for (name, count, method), found in measured.items():
        means = np.mean(found, axis=0)
        rows.append((name, str(count), method, *(f"{mean:.1f}" for mean in means)))
    print(table(rows[0], rows[1:], right=3))


if __name__ == "__main__":
    main()
