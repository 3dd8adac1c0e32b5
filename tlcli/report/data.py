"""What a report says, as plain values: no arrays, no paths, nothing that JSON cannot hold."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tlcli.core.calibration.reliability import Calibration
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.growth import Growth
from tlcli.core.evaluation.label_averages import LabelAverages
from tlcli.core.evaluation.learning_curve import Forecast
from tlcli.core.evaluation.thresholds import ThresholdFigures
from tlcli.report.your_photos import YourPhotos
from tlcli.text import counted

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
        cross_entropy: mean over the images, in nats.
        images: how many images each point is measured on, where these are always the same ones.
    """

    steps: list[int]
    accuracy: list[float]
    cross_entropy: list[float]
    images: int | None = None


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
        link: address of the image file, relative to the page where possible, or None.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    name: str
    label: str
    predicted: str
    score: float
    true_score: float
    thumbnail: str | None = None
    heat_map: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class ListedImage:
    """A wrong prediction without a picture: name, score of the predicted label, address or None."""

    name: str
    score: float
    link: str | None = None


@dataclass(frozen=True)
class MistakeGroup:
    """The images of one label that were given one other label.

    Attributes:
        label, predicted: positions of the true and of the predicted label in output order.
        count: how many images these are.
        images: those with a picture, the most certain mistakes first.
        listed: further ones, which may be cut.
    """

    label: int
    predicted: int
    count: int
    images: list[TestImage]
    listed: list[ListedImage]


@dataclass(frozen=True)
class Figures:
    """What was measured on images that had not trained what predicted them.

    Attributes:
        accuracy: proportion of right labels, None without images.
        interval: its 95% Wilson interval, or None.
        count: number of images.
        labels: counts and figures, in output order.
        confusion: which labels were taken for which.
        averages: macro F1 and balanced accuracy, with their intervals.
    """

    accuracy: float | None
    interval: Interval | None
    count: int
    labels: list[LabelFigures]
    confusion: ConfusionMatrix
    averages: LabelAverages


@dataclass(frozen=True)
class OutOfFold(Figures):
    """Figures of a cross-validation: each image is tested once, by the fit without its fold.

    Attributes:
        folds: K.
        deviation: standard deviation of the folds' accuracies.
    """

    folds: int
    deviation: float


@dataclass(frozen=True)
class Comparison:
    """Scores of one test image before and after the fit, in the order of the labels."""

    name: str
    label: str
    before: list[float]
    after: list[float]
    thumbnail: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class SkippedFile:
    """A file that could not be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class UnseenTests:
    """Figures of the test photos that have no copy among the training photos.

    Attributes:
        copies: test photos that have one, and are left out.
        accuracy: proportion of right labels of the others, None where none are left.
        interval: 95% Wilson interval of the accuracy.
        count: number of the others.
    """

    copies: int
    accuracy: float | None
    interval: Interval | None
    count: int

    @property
    def sentence(self) -> str:
        """The accuracy beside what was left out, in one line."""
        has = "that has" if self.copies == 1 else "that have"
        left_out = f"{counted(self.copies, 'test photo')} {has} a copy among the training photos"
        if self.accuracy is None or self.interval is None:
            return f"No test photos are left without the {left_out}."
        low, high = self.interval
        return (
            f"Without the {left_out}: {self.accuracy:.1%} (N={self.count}, 95% interval "
            f"{low:.1%} to {high:.1%})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        interval = None if self.interval is None else list(self.interval)
        return {**vars(self), "interval": interval}


@dataclass(frozen=True)
class Duplicate:
    """Names of images with the same content under different labels."""

    names: list[str]


@dataclass(frozen=True)
class Advice:
    """One thing to do next.

    Attributes:
        rule: name of the rule that gave it, such as "few_tests".
        text: what was found and what to do, one sentence; labels in it are quoted.
        option: the option that ``text`` recommends, with its value, or None.
    """

    rule: str
    text: str
    option: str | None = None


@dataclass(frozen=True)
class BackboneFacts:
    """Where the bottlenecks came from.

    Attributes:
        layers: "name", "size" and "weight" of each layer that a vector joins; empty for one.
        parts: the networks that it joins, as in the model card; empty for a single one.
    """

    name: str
    source: str
    licence: str
    fingerprint: str
    bottleneck_size: int
    height: int | None = None
    width: int | None = None
    precision: str = "float32"
    layers: list[dict[str, Any]] = field(default_factory=list)
    parts: list[dict[str, Any]] = field(default_factory=list)


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
        averages: macro F1 and balanced accuracy of the test images.
        forecast: the learning curve and what twice the photos would bring, or None.
        calibration: how far scores are from the truth on the test images, or None.
        grown: what changed since an earlier run, or None.
        training_curve, validation_curve: what was measured over the steps on batches, or None.
        training_split_curve, validation_split_curve: the same on the validation split and on
            images spread over the training split, or None.
        misclassified: test images with a wrong label, worst first; may be cut.
        misclassified_count: how many there are in all.
        most_confident, least_confident: test images by the score of their best label.
        heat_maps_missing: one sentence on why the images have no heat maps, or None.
        heat_map_layers: the layers of which they have shares, in a sentence; "" for one layer.
        comparisons: a handful of test images before and after.
        cross_validation: "folds", "accuracy", "deviation", or None.
        out_of_fold: figures of the cross-validation, which are then the headline, or None.
        mistakes: wrong predictions of the headline by pair of labels; may be cut.
        mistakes_count: how many wrong predictions there are in all.
        thresholds: of the headline's predictions, by rising threshold; empty without any.
        advice: what to do next, the most useful first.
        preset: sentences on the preset of the run and what the next one would take.
        fine_tuning: a sentence on what a fine-tuning of the network gave, "" without one.
        copies: number of images that are copies of another one with the same label.
        your_photos: what a check found in the photos, or None where it was not run.
        unseen: figures of the test photos that have no copy among the training photos, or None
            where all are such photos.
        given_split: a sentence on a split that folders or a manifest give, or None.
        unknown: a sentence on how often known images are called unknown, "" where the graph cannot
            tell unknown ones.
        settings: every option with its value.
        seconds: stage to seconds, in order.
        cache: "hits" and "computed", or empty.
        outputs: kind to path.
        formats: table of the files of ``--export``, the headings first; empty without any.
        format_remarks: sentences on these files.
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
    averages: LabelAverages = field(default_factory=LabelAverages)
    forecast: Forecast | None = None
    calibration: Calibration | None = None
    grown: Growth | None = None
    validation_accuracy: float | None = None
    min_accuracy: float | None = None
    untrained_accuracy: float | None = None
    training_curve: Curve | None = None
    validation_curve: Curve | None = None
    training_split_curve: Curve | None = None
    validation_split_curve: Curve | None = None
    misclassified: list[TestImage] = field(default_factory=list)
    misclassified_count: int = 0
    most_confident: list[TestImage] = field(default_factory=list)
    least_confident: list[TestImage] = field(default_factory=list)
    heat_maps_missing: str | None = None
    heat_map_layers: str = ""
    comparisons: list[Comparison] = field(default_factory=list)
    cross_validation: dict[str, float] | None = None
    out_of_fold: OutOfFold | None = None
    mistakes: list[MistakeGroup] = field(default_factory=list)
    mistakes_count: int = 0
    thresholds: list[ThresholdFigures] = field(default_factory=list)
    advice: list[Advice] = field(default_factory=list)
    preset: list[str] = field(default_factory=list)
    fine_tuning: str = ""
    copies: int = 0
    given_split: str | None = None
    your_photos: YourPhotos | None = None
    unknown: str = ""
    unseen: UnseenTests | None = None
    skipped: list[SkippedFile] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    cache: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    formats: list[tuple[str, ...]] = field(default_factory=list)
    format_remarks: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool | None:
        """Return whether the gate was met; None without a gate or without test images."""
        if self.min_accuracy is None or self.accuracy is None:
            return None
        return self.accuracy >= self.min_accuracy

    @property
    def headline(self) -> Figures:
        """Return the figures that count: out of fold where there are any, else of the tests."""
        if self.out_of_fold is not None:
            return self.out_of_fold
        return Figures(
            *(self.accuracy, self.interval, self.test_count, self.labels, self.confusion),
            self.averages,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the content as JSON types, without the pictures; NaN and infinity are None.

        A confusion matrix is as `ConfusionMatrix.to_dict` has it, or [] without test images.
        """
        plain: dict[str, Any] = _plain(_without_matrix(self))
        if self.out_of_fold is not None:
            plain["out_of_fold"] = {
                **_plain(_without_matrix(self.out_of_fold)),
                **self.out_of_fold.confusion.to_dict(),
            }
        confusion = self.confusion.to_dict() if self.confusion.cells else {"confusion": []}
        return {"format": REPORT_FORMAT, **plain, **confusion}


def _without_matrix(figures: ReportData | Figures) -> dict[str, Any]:
    return asdict(replace(figures, confusion=ConfusionMatrix(0)))


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
