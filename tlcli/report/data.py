"""What a report says, as plain values: no arrays, no paths, nothing that JSON cannot hold."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tlcli.core.evaluation.confusion import ConfusionMatrix

Interval = tuple[float, float]
"""Low and high end of a 95% interval, both in [0, 1]."""

REPORT_FORMAT = 1
# Pictures are for eyes; in the JSON they would double the page for nothing.
_PICTURES = ("thumbnail", "heat_map")


@dataclass(frozen=True)
class Curve:
    """Accuracy and cross entropy at some steps of the fit; three lists of one length.

    Attributes:
        steps: step numbers, rising.
        accuracy: in [0, 1].
        cross_entropy: mean over the batch, in nats.
    """

    steps: list[int]
    accuracy: list[float]
    cross_entropy: list[float]


@dataclass(frozen=True)
class LabelFigures:
    """Counts and test figures of one label; None where no test image allows a figure."""

    label: str
    training: int
    validation: int
    testing: int
    precision: float | None = None
    precision_interval: Interval | None = None
    recall: float | None = None
    recall_interval: Interval | None = None
    f1: float | None = None
    f1_interval: Interval | None = None

    @property
    def images(self) -> int:
        """Return how many images of this label were used, over all splits."""
        return self.training + self.validation + self.testing


@dataclass(frozen=True)
class TestImage:
    """One test image and what the classifier predicted for it.

    Attributes:
        name: "FOLDER/NAME.jpg".
        label: the true label.
        predicted: the label with the best score.
        score: the score of ``predicted``, in [0, 1].
        true_score: the score of ``label``, in [0, 1].
        thumbnail: data URI, or None where there is no picture to show.
        heat_map: data URI of the picture with the class activation map laid over it.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    name: str
    label: str
    predicted: str
    score: float
    true_score: float
    thumbnail: str | None = None
    heat_map: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Scores of one test image before and after the fit, in the order of the labels."""

    name: str
    label: str
    before: list[float]
    after: list[float]
    thumbnail: str | None = None


@dataclass(frozen=True)
class SkippedFile:
    """A file that could not be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Duplicate:
    """Names of images with the same content under different labels."""

    names: list[str]


@dataclass(frozen=True)
class BackboneFacts:
    """Where the bottlenecks came from."""

    name: str
    source: str
    licence: str
    fingerprint: str
    bottleneck_size: int
    height: int | None = None
    width: int | None = None
    precision: str = "float32"


@dataclass(frozen=True)
class ReportData:
    """All that the page shows. Fractions and scores are in [0, 1].

    Attributes:
        title: what was learned, usually the name of the image folder.
        created: date and time for people, "2026-11-22 10:00 UTC".
        accuracy: proportion of right labels among the test images; None without test images.
        interval: Wilson 95% interval of ``accuracy``.
        test_count: number of test images.
        validation_accuracy: of the finished layer on the whole validation split, or None.
        min_accuracy: the gate, or None.
        untrained_accuracy: accuracy on the same test images before the first step.
        labels: counts and figures, in output order.
        confusion: which labels were taken for which; without cells if there are no test images.
        training_curve, validation_curve: what was measured over the steps, or None.
        misclassified: test images with a wrong label, worst first; may be cut.
        misclassified_count: how many there are in all.
        most_confident, least_confident: test images by the score of their best label.
        heat_maps_missing: one sentence on why the images have no heat maps, or None.
        comparisons: a handful of test images before and after.
        cross_validation: "folds", "accuracy", "deviation", or None.
        settings: every option with its value.
        seconds: stage to seconds, in order.
        cache: "hits" and "computed", or empty.
        outputs: kind to path.
        command: the command line that gives this result again.
    """

    title: str
    created: str
    accuracy: float | None
    interval: Interval | None
    test_count: int
    labels: list[LabelFigures]
    confusion: ConfusionMatrix
    backbone: BackboneFacts
    command: str
    settings: dict[str, Any]
    validation_accuracy: float | None = None
    min_accuracy: float | None = None
    untrained_accuracy: float | None = None
    training_curve: Curve | None = None
    validation_curve: Curve | None = None
    misclassified: list[TestImage] = field(default_factory=list)
    misclassified_count: int = 0
    most_confident: list[TestImage] = field(default_factory=list)
    least_confident: list[TestImage] = field(default_factory=list)
    heat_maps_missing: str | None = None
    comparisons: list[Comparison] = field(default_factory=list)
    cross_validation: dict[str, float] | None = None
    skipped: list[SkippedFile] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    cache: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool | None:
        """Return whether the gate was met; None without a gate or without test images."""
        if self.min_accuracy is None or self.accuracy is None:
            return None
        return self.accuracy >= self.min_accuracy

    def to_dict(self) -> dict[str, Any]:
        """Return the content as JSON types, without the pictures; NaN and infinity are None.

        The confusion matrix is as `ConfusionMatrix.to_dict` has it, or [] without test images.
        """
        plain: dict[str, Any] = _plain(asdict(replace(self, confusion=ConfusionMatrix(0))))
        confusion = self.confusion.to_dict() if self.confusion.cells else {"confusion": []}
        return {"format": REPORT_FORMAT, **plain, **confusion}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items() if key not in _PICTURES}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):  # a NumPy scalar that slipped in
        return _plain(value.item())
    return value
