"""How far an exported file agrees with the graph that it was made from, on the same images."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tlcli.arrays import Array, Floats
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.evaluation.multi_label.figures import average_precision
from tlcli.core.formats.images import PixelSet, Truth
from tlcli.core.formats.network import Network
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.images.resizing import GREY_WEIGHTS

_TIMED = 30
_WARM = 3


class Runner(Protocol):
    """What runs an exported file."""

    def run(self, batch: Array) -> Array:
        """Return the scores for a batch float32 [1, height, width, 3]."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


@dataclass(frozen=True)
class Agreement:
    """What two sets of scores of the same images have in common.

    Attributes:
        images: how many there are, N.
        same_label: proportion with the same best label; with several labels per image, of
            labels on the same side of their thresholds; 0 to 1.
        difference: the largest difference of two scores, 0 to 1; infinite for no numbers.
    """

    images: int
    same_label: float
    difference: float


def agreement(expected: Floats, given: Floats, thresholds: tuple[float, ...] = ()) -> Agreement:
    """Compare scores float32 [N, L] of a graph and of a file made from it."""
    if thresholds:
        limits = np.array(thresholds, np.float32)
        same = ((expected >= limits) == (given >= limits)).mean()
    else:
        same = (expected.argmax(axis=1) == given.argmax(axis=1)).mean()
    difference = float(np.max(np.abs(expected - given)))
    return Agreement(
        len(expected), float(same), difference if np.isfinite(difference) else float("inf")
    )


def quality(scores: Floats, truth: Truth) -> float | None:
    """Return the accuracy, or the mean average precision of marks; None without images.

    Args:
        scores: float32 [N, L].
        truth: int64 [N] or bool [N, L].
    """
    if not len(truth):
        return None
    if truth.ndim == 1:
        return float((scores.argmax(axis=1) == truth).mean())
    columns = [column for column in range(truth.shape[1]) if truth[:, column].any()]
    found = [
        average_precision(scores[:, column].astype(np.float64), truth[:, column])
        for column in columns
    ]
    return float(np.mean(found)) if found else None


def graph_scores(classifier: Classifier, images: PixelSet) -> Floats:
    """Return the scores [N, L] of the graph itself, as `tlcli label` computes them."""
    given = classifier.preprocessing
    rows = [classifier.scores(_batch(given, pixels))[0] for pixels in images.pixels]
    return np.asarray(rows, np.float32).reshape(len(rows), -1)[:, : len(classifier.labels)]


def file_scores(runner: Runner, network: Network, images: PixelSet) -> Floats:
    """Return the scores [N, L] of an exported file.

    Raises:
        GraphError: it cannot be run.
    """
    rows = [network.scores(runner.run(_input(network, pixels)))[0] for pixels in images.pixels]
    return np.asarray(rows, np.float32).reshape(len(rows), -1)


def milliseconds(runner: Runner, network: Network, images: PixelSet) -> float:
    """Return the processor time of one image, decoding not included: the median of 30."""
    batch = _input(network, images.pixels[0])
    for _ in range(_WARM):
        runner.run(batch)
    times = []
    for number in range(_TIMED):
        batch = _input(network, images.pixels[number % len(images)])
        start = time.process_time()
        runner.run(batch)
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times)


def _input(network: Network, pixels: Array) -> Array:
    return _batch(network.preprocessing, pixels)


def _batch(given: Preprocessing, pixels: Array) -> Array:
    """Return RGB pixels float32 or uint8 [height, width, 3] as the input of a network."""
    if given.channels == "grey" and pixels.shape[2] == 3:
        return given.scale((pixels @ np.array(GREY_WEIGHTS, np.float32))[None, ..., None])
    return given.scale(given.arrange(pixels)[None])
