"""What the predictions of a run come to: sorted, explained and counted."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tlcli.text import table

if TYPE_CHECKING:
    from label.explaining import Explainer
    from label.sorting import Sorter
    from tlcli.core.classifier.outputs import Prediction


@dataclass
class Tally:
    """Sorts, explains and counts the predictions, and reports the counts at the end."""

    progress: Any
    total: int
    sorter: Sorter | None
    explainer: Explainer | None
    threshold: float | None = None
    done: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, prediction: Prediction, image: str) -> None:
        """Sort and explain one image; ``image`` is where it can be read."""
        self.done += 1
        if self.progress is not None:
            self.progress("labelling", self.done, self.total)
        if prediction.label is None or prediction.score is None:
            return
        unknown = prediction.is_unknown
        if prediction.thresholds is not None and not unknown:
            self._add_several(prediction, image)
            return
        unsure = self.threshold is not None and prediction.score < self.threshold
        name = f"unsure, below {self.threshold:g}" if unsure else prediction.label
        self.labels["unknown" if unknown else name] += 1
        if self.sorter is not None:
            self.sorter.put(image, prediction.label, prediction.score, unknown)
        if self.explainer is not None:
            self.explainer.write(prediction, image)

    def _add_several(self, prediction: Prediction, image: str) -> None:
        """Count an image for each of its labels, and put it into the folder of each."""
        found = prediction.top(None, self.threshold).scores
        for each in found:
            self.labels[each.label] += 1
            if self.sorter is not None:
                self.sorter.put(image, each.label, each.score)
        if not found:
            self.labels["unsure, no label reaches its threshold"] += 1
            if self.sorter is not None:
                self.sorter.put_unsure(image)
        if self.explainer is not None:
            self.explainer.write(prediction, image)

    def report(self) -> None:
        """Log how many images of each label there were."""
        logger = logging.getLogger("tlcli")
        heading, counts = "label", self.labels
        if self.sorter is not None:
            heading, counts = f"in {self.sorter.folder}", self.sorter.counts
        rows = [(name, str(count)) for name, count in counts.most_common()]
        if rows:
            logger.info("%s", "\n".join(["", *table([(heading, "images"), *rows])]))
        if self.explainer is not None:
            logger.info("Pictures in %s: %d", self.explainer.folder, self.explainer.written)
