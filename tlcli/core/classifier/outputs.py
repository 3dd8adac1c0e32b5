"""What a graph's output becomes: one score for each label, and a prediction for each image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.core.unknown.reading import Unknown
from tlcli.errors import GraphError, ImageError
from tlcli.notebook import ROWS_SHOWN, block, data_frame, percent
from tlcli.text import counted

# A softmax in eight bits gives sums such as 0.996.
_SUM_TOLERANCE = 0.05
# Labels of a prediction in one line.
_SHOWN = 3


@dataclass(frozen=True)
class Score:
    """One label's score.

    Attributes:
        label: as in the labels file.
        score: as the graph returns it, 0 to 1 for a softmax.
    """

    label: str
    score: float


@dataclass(frozen=True, repr=False)
class Prediction:
    """The scores of one image.

    Attributes:
        image: the path; "image N" for the N-th of those given that has no path.
        scores: best first; empty when there is an error, or when no score reaches the threshold.
        error: why the image could not be labelled, or None.
        unsure: the best score, where a threshold was given and even that is below it; else None.
        thresholds: of a graph with several labels per image, by label; else None.
        unknown: how unlike the training images it is, where that was asked for; else None.
    """

    image: str
    scores: tuple[Score, ...] = ()
    error: str | None = None
    unsure: Score | None = None
    thresholds: Mapping[str, float] | None = field(default=None, compare=False)
    unknown: Unknown | None = None

    @property
    def label(self) -> str | None:
        """The best label; None when there is none."""
        return self.scores[0].label if self.scores else None

    @property
    def score(self) -> float | None:
        """The score of the best label; None when there is none."""
        return self.scores[0].score if self.scores else None

    @property
    def is_unknown(self) -> bool:
        """Whether it was asked for, and the image is like none that trained the graph."""
        return self.unknown is not None and self.unknown.is_unknown

    @property
    def best(self) -> Score | None:
        """The best score, also one below the threshold; None where there is an error."""
        return self.scores[0] if self.scores else self.unsure

    def top(self, top_k: int | None = 5, threshold: float | None = None) -> Prediction:
        """Return the ``top_k`` best scores (None: all) that reach ``threshold``.

        None: those that reach the thresholds of their labels, where there are any, else all.
        """
        if threshold is None and self.thresholds is not None:
            limits = self.thresholds
            reached = tuple(each for each in self.scores if each.score >= limits[each.label])
            unsure = None if reached or not self.scores else self.scores[0]
            return replace(self, scores=reached[:top_k], unsure=unsure or self.unsure)
        best = self.scores if top_k is None else self.scores[:top_k]
        if threshold is None:
            return replace(self, scores=best)
        reached = tuple(score for score in best if score.score >= threshold)
        unsure = None if reached or not best else best[0]
        return replace(self, scores=reached, unsure=unsure or self.unsure)

    def _summary(self) -> str:
        """Return what was found in a few words."""
        if self.error:
            return self.error
        if self.is_unknown:
            return "unknown"
        if not self.scores:
            best = self.unsure
            return "unsure" if best is None else f"unsure (best: {best.label}, {best.score:.3f})"
        shown = ", ".join(f"{each.label} {each.score:.3f}" for each in self.scores[:_SHOWN])
        return f"{shown}, ..." if len(self.scores) > _SHOWN else shown

    def __repr__(self) -> str:
        return f"<Prediction {self.image}: {self._summary()}>"

    def _repr_html_(self) -> str:
        scores = [(each.label, percent(each.score)) for each in self.scores[:ROWS_SHOWN]]
        return block(self.image if scores else f"{self.image}: {self._summary()}", scores)


class Predictions(list[Prediction]):
    """A list of predictions that notebooks show as a table."""

    def to_frame(self) -> Any:
        """Return a pandas.DataFrame with the columns image, label, score and error.

        Raises:
            OutputError: pandas is not installed.
        """
        columns = ("image", "label", "score", "error")
        return data_frame({name: [getattr(each, name) for each in self] for name in columns})

    def __repr__(self) -> str:
        more = f", ... {len(self)} in all" if len(self) > ROWS_SHOWN else ""
        return f"[{', '.join(map(repr, self[:ROWS_SHOWN]))}{more}]"

    def _repr_html_(self) -> str:
        rows = [
            (each.image, each.label or each._summary(), percent(each.score))
            for each in self[:ROWS_SHOWN]
        ]
        title = counted(len(self), "image")
        if len(self) > ROWS_SHOWN:
            title += f", the first {ROWS_SHOWN}"
        return block(title, rows, ("image", "label", "score"))


class Scores:
    """Makes scores of what a graph returns.

    Logits get a softmax. The one score of a sigmoid becomes two where there are two labels: the
    second label's is the score. Other scores stay as they are.

    Args:
        graph: its path, for messages.
        labels: how many there are.
        activation: "softmax", "log_softmax", "sigmoid" or "logits"; None: not known.
    """

    def __init__(self, graph: Path, labels: int, activation: str | None) -> None:
        self._graph = graph
        self._labels = labels
        self.activation = activation

    def __call__(self, given: Array, images: int) -> Array:
        """Return the graph's output as float32 [images, L].

        Raises:
            GraphError: it does not fit the labels.
        """
        if np.asarray(given).dtype.kind in "iub":
            raise GraphError(no_scores(self._graph))
        scores = np.asarray(given, np.float32)
        if self._labels == 2 and scores.size == images:
            return self._both(scores.reshape(images, 1))
        if scores.size != images * self._labels:
            raise GraphError(
                f"{self._graph} gives scores of the shape {list(scores.shape)} for "
                f"{counted(images, 'image')}, which does not fit "
                f"{counted(self._labels, 'label')}; "
                "name the labels file that belongs to the graph with --labels, or the layer of the "
                "scores with --output_layer"
            )
        scores = scores.reshape(images, self._labels)
        # Infinite scores are reported for their image, not by NumPy.
        with np.errstate(all="ignore"):
            if self.activation == "logits" and self._labels > 1:
                return softmax(scores)
            return np.exp(scores) if self.activation == "log_softmax" else scores

    def _both(self, score: Array) -> Array:
        if self.activation == "logits":
            with np.errstate(over="ignore"):
                score = 1 / (1 + np.exp(-score))
        return np.concatenate([1 - score, score], axis=1, dtype=np.float32)


def no_scores(graph: Path) -> str:
    """Return the sentence about a graph that ends in an ArgMax or the like."""
    return (
        f"{graph} gives whole numbers, such as that of the best label, and no scores; give a graph "
        "that ends in its scores, or name their layer with --output_layer"
    )


def softmax(scores: Array) -> Array:
    """Return float32 [n, L] whose rows sum to 1."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def activation_of(scores: Array) -> str | None:
    """Return what the scores of one image are by their values; None where they are no numbers."""
    if not scores.size or not np.isfinite(scores).all():
        return None
    if scores.min() < 0 or scores.max() > 1 + _SUM_TOLERANCE:
        return "logits"
    is_sum = scores.size > 1 and abs(float(scores.sum()) - 1) <= _SUM_TOLERANCE
    return "softmax" if is_sum else "sigmoid"


def count_scores(shape: tuple[int | None, ...], path: Path) -> int | None:
    """Return how many scores an output has for an image.

    Raises:
        GraphError: it has the shape of boxes or of a map, not of scores.
    """
    sizes = [size for size in shape[1:] if size is not None]
    if len(sizes) > 1 and math.prod(sizes) != max(sizes):
        raise GraphError(
            f"{path} gives {' x '.join(map(str, sizes))} numbers for an image (boxes, or a value "
            "for each position), not one score per label; give a classifier"
        )
    return max(sizes) if sizes else (shape[-1] if shape else None)


def choose_output(
    activations: Sequence[str | None], sizes: Sequence[int | None], labels: int | None
) -> int | None:
    """Return which of a graph's outputs gives the scores, None where that cannot be told.

    Args:
        activations: what each output is; "numbers" for what is no scores.
        sizes: how many numbers each gives for an image, None where unknown.
        labels: how many there are, None where unknown.
    """
    rules: tuple[Callable[[int], bool], ...] = (
        lambda index: activations[index] != "numbers",
        lambda index: activations[index] in ("softmax", "log_softmax"),
        lambda index: labels is not None and sizes[index] == labels,
        lambda index: activations[index] == "sigmoid",
    )
    candidates = list(range(len(activations)))
    for rule in rules:
        found = [index for index in candidates if rule(index)]
        if len(found) == 1:
            return found[0]
        candidates = found or candidates
    return None


def attempt(work: Callable[[Any], Array], given: Any) -> Array | ImageError:
    """Return what ``work`` makes of ``given``, or why it cannot; a `GraphError` passes."""
    try:
        return work(given)
    except ImageError as error:
        return error
    except GraphError:
        raise
    except MemoryError:
        return ImageError("too large for the memory of this machine")
    except Exception as error:
        return ImageError(f"cannot be read ({type(error).__name__}: {error})")


def ranked(labels: Sequence[str], scores: Array) -> tuple[Score, ...]:
    """Return the scores of an image, best first, each the shortest number that is this float32.

    Args:
        labels: L of them, in output order.
        scores: float32, the first L count.
    """
    # Stable: of equal scores the first in the labels file comes first.
    order = np.argsort(-scores[: len(labels)], kind="stable")
    # 0.9 and not 0.8999999761581421.
    return tuple(Score(labels[i], float(str(scores[i]))) for i in order)
