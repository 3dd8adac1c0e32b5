"""Two graphs on the same images: who is right where, and whether the difference is chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.data.image_folder import Dataset, label_from_folder
from tlcli.core.data.image_list import ImageFile
from tlcli.core.evaluation.graph_accuracy import GraphAccuracy, summarise
from tlcli.core.evaluation.labelled_folder import Answer, GraphPredictions, LabelledFolder
from tlcli.core.evaluation.metrics import SIGNIFICANT, mcnemar
from tlcli.errors import DataError
from tlcli.progress import Progress
from tlcli.text import counted


@dataclass(frozen=True)
class Difference:
    """One image of which two graphs say different things.

    Attributes:
        image: its path.
        label: the true label, as the first graph writes it.
        this: what the first graph says.
        other: what the second graph says.
    """

    image: str
    label: str
    this: Answer
    other: Answer


@dataclass(frozen=True)
class GraphComparison:
    """Two graphs on the images that both could read.

    Attributes:
        first: figures of the one.
        second: figures of the other, on the same images.
        both_right: images that both got right; this and the next three add up to all.
        only_first: images that only the first got right.
        only_second: images that only the second got right.
        both_wrong: images that neither got right.
        differing: images of which they say different things, in the folder's order.
        trained: how many of the images trained one of them or both, as far as their model cards
            list them; None where neither does.
        unseen: the comparison on the other images; None unless there are some of both kinds.
    """

    first: GraphAccuracy
    second: GraphAccuracy
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    differing: tuple[Difference, ...]
    trained: int | None = None
    unseen: GraphComparison | None = None

    @property
    def measured(self) -> GraphComparison | None:
        """The comparison on images that are not known to have trained a graph; None without any."""
        if not self.trained:
            return self
        return self.unseen

    @property
    def p_value(self) -> float:
        """The p value of McNemar's exact test."""
        return mcnemar(self.only_first, self.only_second)

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than chance, at a level of 5%."""
        return self.p_value < SIGNIFICANT

    def sentence(self) -> str:
        """Say in one sentence whether the difference is more than chance."""
        differing = self.only_first + self.only_second
        if not differing:
            return (
                "No image was labelled rightly by one graph alone, so these images do not tell "
                "the two apart."
            )
        counts = (
            f"of the {counted(differing, 'image')} that only one graph got right, "
            f"{self.first.graph} got {self.only_first} and {self.second.graph} got "
            f"{self.only_second}"
        )
        test = f"(McNemar's exact test, {_formatted(self.p_value)})"
        if not self.is_significant:
            return f"The difference may well be chance: {counts} {test}."
        better = self.first if self.only_first > self.only_second else self.second
        return f"{better.graph} is better by more than chance would bring: {counts} {test}."

    def to_dict(self) -> dict[str, Any]:
        """Return the other graph's figures and the comparison as JSON can hold them.

        "trained" is None where it is unknown which images trained the graphs, and "unseen" is
        None then and where all trained one of them.
        """
        measured = self.measured
        return {
            "with": self.second.to_dict(),
            **self._figures(),
            "differing": [asdict(each) for each in self.differing],
            "trained": None if self.trained is None else {"count": self.trained},
            "unseen": None
            if self.trained is None or measured is None
            else {
                "count": measured.first.evaluation.count,
                "accuracy": measured.first.accuracy,
                "other_accuracy": measured.second.accuracy,
                **measured._figures(),
            },
        }

    def _figures(self) -> dict[str, Any]:
        return {
            "both_right": self.both_right,
            "only_this_right": self.only_first,
            "only_other_right": self.only_second,
            "both_wrong": self.both_wrong,
            "p_value": self.p_value,
            "significant": self.is_significant,
            "sentence": self.sentence(),
        }


def _formatted(p_value: float) -> str:
    if p_value < 0.0001:
        return "p < 0.0001"
    return f"p = {p_value:.4f}" if p_value < 0.1 else f"p = {p_value:.2f}"


def compare(
    first: Classifier,
    second: Classifier,
    image_dir: Path | Dataset,
    progress: Progress | None = None,
) -> GraphComparison:
    """Label all images of ``image_dir/LABEL/...`` with two graphs, each with its own preprocessing.

    Images that either could not read count for neither.

    Args:
        first: see `tlcli.core.classifier.classifier.load`.
        second: the graph to compare it with.
        image_dir: folder of folders, or what `images_to_evaluate` returned.
        progress: called with ("first graph" or "second graph", done, total).

    Raises:
        DataError: the folder cannot be used, a label's folder has no label in one of the
            graphs, or no image could be read.
        GraphError: a graph cannot be run.
    """
    folder = LabelledFolder(image_dir)
    truths = folder.truth(first), folder.truth(second)
    one = folder.ask(first, truths[0], "first graph", progress)
    other = folder.ask(second, truths[1], "second graph", progress)
    one, other = _read_by_both(one, other), _read_by_both(other, one)
    both = [row for row, each in enumerate(one.predictions) if each.label is not None]
    if not both:
        raise DataError(f"no image of {folder.source} could be read by both graphs")
    found = _compared(one, other, folder.images, range(len(folder.images)))
    known = [each.trained for each in (one, other) if each.trained is not None]
    if not known:
        return found
    rows = [row for row in both if not any(trained[row] for trained in known)]
    unseen = None
    if 0 < len(rows) < len(both):
        unseen = _compared(one, other, folder.images, rows)
    return replace(found, trained=len(both) - len(rows), unseen=unseen)


def _read_by_both(found: GraphPredictions, other: GraphPredictions) -> GraphPredictions:
    """Return predictions without those of images that the other graph could not read."""
    predictions = [
        each
        if second.label is not None
        else replace(each, label=None, error=each.error or second.error)
        for each, second in zip(found.predictions, other.predictions, strict=True)
    ]
    return replace(found, predictions=predictions)


def _compared(
    one: GraphPredictions,
    other: GraphPredictions,
    images: Sequence[ImageFile],
    rows: Sequence[int],
) -> GraphComparison:
    """Return the comparison on the images of some rows."""
    counts = {(first, second): 0 for first in (True, False) for second in (True, False)}
    differing: list[Difference] = []
    known = frozenset(other.classifier.labels)
    for row in rows:
        this, that = one.answer(row), other.answer(row)
        if this is None or that is None:
            continue
        counts[this.right, that.right] += 1
        if this.right != that.right or not (this.right or _alike(this.label, that.label, known)):
            label = one.classifier.labels[one.truth[row]]
            differing.append(Difference(images[row].shown, label, this, that))
    figures = [summarise(each, images, rows) for each in (one, other)]
    return GraphComparison(
        first=figures[0],
        # Named once: the images left out are the same for both.
        second=replace(figures[1], skipped=()),
        both_right=counts[True, True],
        only_first=counts[True, False],
        only_second=counts[False, True],
        both_wrong=counts[False, False],
        differing=tuple(differing),
    )


def _alike(label: str, other: str, known: frozenset[str]) -> bool:
    """Return whether two graphs mean the same label, however each writes it.

    Args:
        label: of the one.
        other: of the other.
        known: all labels of the other; a name that both have means itself alone.
    """
    if label == other or label in known:
        return label == other
    return label_from_folder(label) == label_from_folder(other)
