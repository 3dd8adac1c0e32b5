"""Which of some unlabelled images a person should label next.

Those of which the graph is least sure, and of these the ones that would change the final layer in
different ways. The gradient that an image gives if its best label is right is the outer product of
its errors and its vector (J. Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient
Lower Bounds, ICLR 2020); in place of the vector, which most graphs do not return, stand its log
scores. Of these gradients each time the one that is farthest from all chosen ones is taken (T.
Gonzalez, Clustering to Minimize the Maximum Intercluster Distance, 1985).
`benchmarks/suggesting.py` compares this with random choice.
"""

from __future__ import annotations

import numpy as np

from tlcli.arrays import Doubles, Floats
from tlcli.core.classifier.outputs import Prediction

# Smaller scores are equally impossible.
_LEAST = 1e-6
# Images that are considered for each one that is chosen. With all of them, sure ones are chosen for
# being different.
_CONSIDERED = 2


class Suggester:
    """Collects the scores of images and chooses some of the images.

    Args:
        labels: of the graph, in any order.
        count: how many images to choose.
    """

    def __init__(self, labels: tuple[str, ...], count: int) -> None:
        self._place = {label: place for place, label in enumerate(labels)}
        self._count = count
        self._scores: list[Floats] = []
        self._shown: list[Prediction] = []

    def add(self, prediction: Prediction, shown: Prediction) -> None:
        """Add an image.

        Args:
            prediction: with the scores of all labels; one with an error is left out.
            shown: what `chosen` returns for it.
        """
        if prediction.error is not None:
            return
        scores = np.zeros(len(self._place), np.float32)
        for each in prediction.scores:
            scores[self._place[each.label]] = each.score
        self._scores.append(scores)
        self._shown.append(shown)

    def chosen(self) -> list[Prediction]:
        """Return the chosen images, the one to label first at the start."""
        if not self._scores:
            return []
        return [self._shown[row] for row in suggested_rows(np.stack(self._scores), self._count)]


def suggested_rows(scores: Floats, count: int) -> list[int]:
    """Return the rows of the images to label next; the same scores give the same rows.

    Args:
        scores: [N, L], at least 0.
        count: of rows; all are returned, in order, where there are fewer.
    """
    order = np.sort(scores, axis=1)
    margins = order[:, -1] - order[:, -2] if scores.shape[1] > 1 else order[:, -1]
    near = np.argsort(margins, kind="stable")[: _CONSIDERED * count]
    return [int(near[row]) for row in _spread(scores[near], count)]


def _spread(scores: Floats, count: int) -> list[int]:
    """Return rows whose gradients are far from each other."""
    errors, directions = _gradient(scores)
    size = (errors**2).sum(axis=1) * (directions**2).sum(axis=1)
    distance = np.full(len(scores), np.inf)
    rows = [int(size.argmax())]
    while len(rows) < min(count, len(scores)):
        # The squared distance of two outer products, without either.
        row = rows[-1]
        product = (errors @ errors[row]) * (directions @ directions[row])
        distance = np.minimum(distance, np.maximum(size + size[row] - 2 * product, 0.0))
        distance[rows] = -1.0
        farthest = distance.max()
        # Of copies of what was chosen, the least certain one.
        rows.append(int(np.where(distance == farthest, size, -1.0).argmax()))
    return rows


def _gradient(scores: Floats) -> tuple[Doubles, Doubles]:
    """Return the errors if the best label were right, and the centred log scores, [N, L] each."""
    shares = np.maximum(scores.astype(np.float64), 0.0) + _LEAST
    shares /= shares.sum(axis=1, keepdims=True)
    errors = shares.copy()
    errors[np.arange(len(errors)), shares.argmax(axis=1)] -= 1.0
    directions = np.log(shares)
    directions -= directions.mean(axis=1, keepdims=True)
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    # Where all labels have the same score, only the errors tell images apart.
    return errors, np.where(length > 0, directions / np.where(length > 0, length, 1.0), 1.0)
