"""Pictures of the page of ``tlcli evaluate``: the images that a graph got wrong, with heat maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlcli.arrays import Array
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.evaluation.comparison import Difference
from tlcli.core.evaluation.graph_accuracy import Misclassified
from tlcli.core.heat_maps.linear_head import NoActivationMapError
from tlcli.errors import GraphError, ImageError
from tlcli.report.collect import file_link, mistakes_shown, pictures
from tlcli.report.data import ListedImage, MistakeGroup, TestImage


@dataclass(frozen=True)
class PicturedDifference:
    """An image on which two graphs differ, with its pictures as data URIs, or None.

    Attributes:
        found: what the graphs predict.
        thumbnail: the image.
        heat_maps: for the label that each graph predicts.
        link: address of the file.
    """

    found: Difference
    thumbnail: str | None
    heat_maps: tuple[str | None, str | None]
    link: str


class Pictures:
    """Makes the pictures of a page.

    A heat map takes some hundredths of a second, and preparing the first one of a graph up to
    some seconds.

    Args:
        page: where the page will be; None where that is unknown. Links are relative to it.
        classifiers: of the figures, for the heat maps; none are made where there are none.

    Attributes:
        missing: why a graph has no heat maps, in a sentence; None while there is no such graph.
        has_heat_maps: whether one was made.
        layers: of which they have shares, a sentence for each graph that joins several.
    """

    def __init__(self, page: Path | None, classifiers: Sequence[Classifier] = ()) -> None:
        self._page = page
        self._classifiers: list[Classifier | None] = list(classifiers)
        # In the orientation in which the first network received them.
        self._upright = not classifiers or classifiers[0].preprocessing.turns_upright
        self.missing: str | None = None
        self.has_heat_maps = False
        self.layers: list[str] = []

    def image(self, wrong: Misclassified) -> TestImage:
        """Return an image that the first graph got wrong, with its pictures."""
        thumbnail, (heat_map,) = self._pictures(wrong.image, [wrong.predicted])
        return TestImage(
            *(wrong.image, wrong.label, wrong.predicted, wrong.score, wrong.true_score),
            thumbnail=thumbnail,
            heat_map=heat_map,
            link=self.link(wrong.image),
        )

    def difference(self, found: Difference) -> PicturedDifference:
        """Return an image on which two graphs differ, with its pictures."""
        labels = [found.this.label, found.other.label]
        thumbnail, (one, other) = self._pictures(found.image, labels)
        return PicturedDifference(found, thumbnail, (one, other), self.link(found.image))

    def groups(
        self, mistakes: Sequence[Misclassified], labels: Sequence[str]
    ) -> list[MistakeGroup]:
        """Return mistakes by true and predicted label; see `mistakes_shown`."""
        index = {label: number for number, label in enumerate(labels)}
        found = mistakes_shown(
            [index[wrong.label] for wrong in mistakes],
            [index[wrong.predicted] for wrong in mistakes],
            [wrong.score for wrong in mistakes],
        )
        return [
            MistakeGroup(
                *(group.label, group.predicted, group.count),
                images=[self.image(mistakes[row]) for row in group.pictured],
                listed=[
                    ListedImage(wrong.image, wrong.score, self.link(wrong.image))
                    for wrong in (mistakes[row] for row in group.listed)
                ],
            )
            for group in found
        ]

    def link(self, image: str) -> str:
        """Return the address of an image file for the page."""
        if self._page is None:
            return Path(image).absolute().as_uri()
        return file_link(image, self._page)

    def _pictures(self, image: str, labels: Sequence[str]) -> tuple[str | None, list[str | None]]:
        """Return the image, and for the label of each graph its heat map over it."""
        maps = [self._heat(number, image, label) for number, label in enumerate(labels)]
        return pictures(image, maps, upright=self._upright)

    def _heat(self, number: int, image: str, label: str) -> Array | None:
        """Return the activation map [h, w] of a label by a graph; None where there is none."""
        classifier = self._classifiers[number] if number < len(self._classifiers) else None
        if classifier is None:
            return None
        try:
            found = classifier.explain(image, label)
        except ImageError:
            return None
        except GraphError as error:
            reason = "" if isinstance(error, NoActivationMapError) else "they cannot be made: "
            self.missing = f"No heat maps of {classifier.graph}: {reason}{error}."
            self._classifiers[number] = None
            return None
        self.has_heat_maps = True
        if found.note and found.note not in self.layers:
            self.layers.append(found.note)
        return found.heat_map
