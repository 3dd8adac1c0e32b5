"""Fit discriminant analysis to a matrix of a million vectors and print seconds and memory.

    python benchmarks/many_vectors.py --folder /tmp

The matrix, 5 GB by default, is a file in the folder that is mapped into memory and removed at the
end. The peak includes what of the file is in memory.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from tlcli.core.final_layer.discriminant_analysis import fit_lda
from tlcli.core.final_layer.samples import Samples

ROWS_AT_ONCE = 20_000


def write_matrix(path: Path, means: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Write a vector near the mean of each label and return the matrix, mapped from the file."""
    shape = (len(labels), means.shape[1])
    matrix = np.memmap(path, np.float32, "w+", shape=shape)
    draw = np.random.default_rng(0)
    for start in range(0, len(labels), ROWS_AT_ONCE):
        own = labels[start : start + ROWS_AT_ONCE]
        noise = draw.standard_normal((len(own), shape[1]), dtype=np.float32)
        matrix[start : start + len(own)] = means[own] + noise
    matrix.flush()
    del matrix
    return np.memmap(path, np.float32, "r", shape=shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=1280)
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=None, help="for the matrix")
    options = parser.parse_args()
    draw = np.random.default_rng(1)
    means = 0.3 * draw.standard_normal((options.labels, options.size), dtype=np.float32)
    labels = np.arange(options.vectors) % options.labels
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        vectors = write_matrix(Path(folder) / "vectors", means, labels)
        started, used = time.perf_counter(), time.process_time()
        found = fit_lda(Samples(vectors, labels), options.labels)
        seconds, used = time.perf_counter() - started, time.process_time() - used
        rows = np.arange(0, options.vectors, max(1, options.vectors // 1000))
        right = (found.layer.logits(vectors[rows]).argmax(axis=1) == labels[rows]).mean()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{options.vectors} vectors of {options.size} values, {options.labels} labels:")
    print(f"{seconds:.0f} s, {used:.0f} s of processors, {peak:.2f} GB at most, {right:.1%} right")


if __name__ == "__main__":
    main()
