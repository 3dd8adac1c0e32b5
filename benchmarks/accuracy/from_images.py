"""Measure cross-validated accuracy from images, for several backbones and both solvers.

    python -m benchmarks.accuracy.from_images --image_dir ../shared/flowers/photos
    python -m benchmarks.accuracy.from_images --precisions float32 bfloat16

Prints a Markdown table. Folds are those of `tlcli retrain --cross_validate`: the same for every
backbone and solver, drawn again for each seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tlcli.backbones.resolve import resolve
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.eight_bits.backbone import in_int8
from tlcli.core.bottlenecks.engine_choice import bfloat16_backend
from tlcli.core.bottlenecks.extraction import Request, compute
from tlcli.core.bottlenecks.precision import in_bfloat16
from tlcli.core.data.image_folder import scan_folder
from tlcli.core.evaluation.metrics import assign_folds, cross_validate
from tlcli.core.final_layer.logistic_regression import fit_lbfgs
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer, SgdSettings, fit_sgd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image_dir", type=Path, default=Path("../shared/flowers/photos"))
    parser.add_argument(
        "--modules",
        nargs="+",
        default=["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"],
    )
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--precisions",
        nargs="+",
        default=["float32"],
        choices=["float32", "bfloat16", "int8"],
    )
    parser.add_argument("--bottleneck_dir", type=Path, default=None)
    options = parser.parse_args()

    images = scan_folder(options.image_dir).images
    _, labels = np.unique([image.folder for image in images], return_inverse=True)
    print("| backbone | solver | folds x seeds | accuracy, % |")
    print("|---|---|---|---|")
    with BottleneckStore(options.bottleneck_dir) as store:
        contents = store.contents([image.path for image in images])
        unreadable = [content for content in contents if not isinstance(content, str)]
        if unreadable:
            raise SystemExit(f"unreadable: {unreadable[0]}")
        requests = [
            Request(image.path, content) for image, content in zip(images, contents, strict=True)
        ]
        for module in options.modules:
            for precision in options.precisions:
                backbone = resolve(module)
                if precision == "bfloat16":
                    backbone = in_bfloat16(backbone, bfloat16_backend())
                elif precision == "int8":
                    backbone = in_int8(backbone)
                vectors = compute(backbone, requests, store).vectors
                name = module if len(options.precisions) == 1 else f"{module}, {precision}"
                report(name, vectors, labels, contents, options.folds, options.seeds)


def report(
    module: str,
    vectors: np.ndarray,
    labels: np.ndarray,
    contents: list[str],
    folds: int,
    seeds: int,
) -> None:
    count = int(labels.max()) + 1

    solvers: dict[str, Callable[[Samples], FinalLayer]] = {
        "sgd, 4000 steps": lambda training: fit_sgd(training, count, SgdSettings()),
        "lbfgs": lambda training: fit_lbfgs(training, count).layer,
    }
    samples = Samples(vectors, labels)
    for name, fit in solvers.items():
        results = [
            cross_validate(samples, assign_folds(labels, contents, folds, seed=seed), fit)
            for seed in range(seeds)
        ]
        accuracies = [fold.accuracy for result in results for fold in result.per_fold]
        mean, deviation = 100 * np.mean(accuracies), 100 * np.std(accuracies, ddof=1)
        print(
            f"| {module} | {name} | {folds} x {seeds} | {mean:.1f} ({deviation:.1f}) |", flush=True
        )


if __name__ == "__main__":
    main()
