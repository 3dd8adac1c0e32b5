"""What to do next, read off the facts of a run: at most five sentences, the most useful first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.metrics import Proportion, wilson_interval
from tlcli.report.data import Advice, Curve, Interval, LabelFigures
from tlcli.text import counted

SHOWN = 5
# Below it an interval is wider than most differences that anybody asks about.
FEW_TESTS = 100
WIDE_INTERVAL = 0.10
# One image more or less changes the recall of such a label by a fifth or more.
FEW_TESTS_OF_A_LABEL = 5
FEW_TRAINING = 5
WORKABLE = 30
UNBALANCED = 10
CERTAIN = 0.9
FAR_ABOVE = 0.10
# What one validation image more or less does is no trend.
RISE = 0.01
RISE_IMAGES = 3
CONFUSED_IMAGES = 3
CONFUSED = 0.10
HIGH = 0.95
MOST_TO_TELL = 10_000
_FOLDS = 5
_NAMED = 3
_LARGER = {"efficientnet_lite0": "efficientnet_lite2"}
_DISTORTIONS = ("flip_left_right", "random_crop", "random_scale", "random_brightness")


@dataclass(frozen=True)
class Facts:
    """What the rules look at. Fractions are in [0, 1].

    Attributes:
        labels: counts of each label by split.
        tested: number of images behind ``accuracy``, none of which trained what predicted it.
        accuracy: proportion of right labels among them, None without any.
        interval: its 95% interval.
        folds: K where ``accuracy`` is that of a cross-validation over K folds, else None.
        confusion: which labels were taken for which among them.
        certain_mistakes: how many of them were given a wrong label with a score of `CERTAIN`.
        distinct: the smallest number of different images that any label has.
        training_accuracy: of the finished layer on the training split.
        validation_accuracy: of the finished layer on the validation split, None without one.
        validation_count: number of validation images.
        validation_curve: on the whole validation split over the steps, None without steps.
        settings: the options of the run by name.
        backbone: name of the backbone.
        photos: every vector can be computed again from an image, distorted or by another backbone.
        duplicates: how many images stand under more than one label.
        skipped: how many files could not be used.
        test: accuracy of the test images and its interval, which a minimum is compared with; None
            without any.
        test_count: number of test images.
    """

    labels: Sequence[LabelFigures]
    tested: int
    accuracy: float | None
    interval: Interval | None
    folds: int | None
    confusion: ConfusionMatrix
    distinct: int
    settings: Mapping[str, Any]
    certain_mistakes: int = 0
    training_accuracy: float | None = None
    validation_accuracy: float | None = None
    validation_count: int = 0
    validation_curve: Curve | None = None
    backbone: str = ""
    photos: bool = True
    duplicates: int = 0
    skipped: int = 0
    test: Proportion | None = None
    test_count: int = 0


def advise(facts: Facts) -> tuple[Advice, ...]:
    """Return what to do next, at most `SHOWN`, the most useful first; empty if nothing stands out.

    First what makes the figures unreliable, then what is wrong with the images, then how the
    training went, last what usually gains a little.
    """
    rules = (
        _no_tests,
        _cannot_tell,
        _few_training,
        _under_two_labels,
        _few_tests,
        _certain_mistakes,
        _skipped,
        _few_images,
        _overfit,
        _still_rising,
        _few_tests_of_a_label,
        _unbalanced,
        _confused,
        _larger_backbone,
    )
    found = [advice for rule in rules for advice in rule(facts)]
    return tuple(found[:SHOWN])


def _no_tests(facts: Facts) -> Iterator[Advice]:
    if facts.tested:
        return
    unknown = "No images were kept out of training, so the accuracy on new images is not known"
    folds = _cross_validate(facts)
    if folds is not None:
        yield Advice("no_tests", f"{unknown}: add {folds}, which tests every image once.", folds)
    elif facts.settings.get("testing_percentage") == 0:
        option = "--testing_percentage 10"
        yield Advice("no_tests", f"{unknown}: add {option}, and more images.", option)
    else:
        yield Advice("no_tests", f"{unknown}: add images to the labels that have few.")


def _cannot_tell(facts: Facts) -> Iterator[Advice]:
    minimum = facts.settings.get("min_accuracy")
    if minimum is None or facts.test is None or not facts.test.low < minimum <= facts.test.high:
        return
    test = facts.test
    which = "above or below" if test.value != minimum else "really at"
    anywhere = f"it can be anywhere from {test.low:.1%} to {test.high:.1%}"
    unknown = (
        f"{counted(facts.test_count, 'test image')} cannot tell whether the accuracy is {which} "
        f"--min_accuracy {minimum:.1%}, as {anywhere}"
    )
    if facts.folds is not None and facts.interval is not None:
        low, high = facts.interval
        yield Advice(
            "cannot_tell", f"{unknown}; by cross-validation it is {low:.1%} to {high:.1%}."
        )
        return
    folds = _cross_validate(facts)
    needed = images_to_tell(test.value, minimum)
    many = "" if needed is None else f"; about {needed:,} test images could"
    if folds is None:
        yield Advice("cannot_tell", f"{unknown}{many}: add images.")
    else:
        yield Advice(
            "cannot_tell", f"{unknown}{many}: add {folds}, which tests every image once.", folds
        )


def images_to_tell(accuracy: float, minimum: float) -> int | None:
    """Return how many images tell an accuracy from a minimum; None beyond `MOST_TO_TELL`.

    So many that the Wilson interval of the accuracy, if it stays what it is, ends at the minimum.
    """
    most = MOST_TO_TELL
    if _contains(accuracy, most, minimum):
        return None
    least = 1
    while least < most:
        middle = (least + most) // 2
        if _contains(accuracy, middle, minimum):
            least = middle + 1
        else:
            most = middle
    return least


def _contains(accuracy: float, count: int, minimum: float) -> bool:
    low, high = wilson_interval(accuracy * count, count)
    return low < minimum <= high


def _few_tests(facts: Facts) -> Iterator[Advice]:
    if not facts.tested or facts.interval is None or any(_cannot_tell(facts)):
        return
    low, high = facts.interval
    if facts.tested >= FEW_TESTS and high - low <= WIDE_INTERVAL:
        return
    unsure = f"the accuracy on new images can be anywhere from {low:.1%} to {high:.1%}"
    only = "Only " if facts.tested < FEW_TESTS else ""
    folds = _cross_validate(facts)
    if facts.folds is not None or folds is None:
        yield Advice(
            "few_tests",
            f"{only}{counted(facts.tested, 'image')} tested it, so {unsure}: add images.",
        )
        return
    images = sum(row.images for row in facts.labels)
    yield Advice(
        "few_tests",
        f"{only}{counted(facts.tested, 'test image')}, so {unsure}: add {folds}, which tests all "
        f"{counted(images, 'image')} once.",
        folds,
    )


def _few_tests_of_a_label(facts: Facts) -> Iterator[Advice]:
    folds = _cross_validate(facts)
    # Where there are few tests in all, that advice has the same remedy.
    if facts.folds is not None or folds is None or not facts.tested or any(_few_tests(facts)):
        return
    few = [row for row in facts.labels if row.testing < FEW_TESTS_OF_A_LABEL]
    if not few:
        return
    few.sort(key=lambda row: row.testing)
    yield Advice(
        "few_tests_of_a_label",
        f"{_listed([(row.label, row.testing) for row in few], 'test image')}, which says little "
        f"about a label: add {folds}, which tests every image once.",
        folds,
    )


def _few_training(facts: Facts) -> Iterator[Advice]:
    few = [row for row in facts.labels if row.training < FEW_TRAINING]
    if few:
        few.sort(key=lambda row: row.training)
        yield Advice(
            "few_training",
            f"{_listed([(row.label, row.training) for row in few], 'training image')}: add images, "
            f"about {WORKABLE} per label are a workable minimum.",
        )


def _few_images(facts: Facts) -> Iterator[Advice]:
    few = [row for row in facts.labels if row.images < WORKABLE and row.training >= FEW_TRAINING]
    if few:
        few.sort(key=lambda row: row.images)
        yield Advice(
            "few_images",
            f"{_listed([(row.label, row.images) for row in few], 'image')}: add images there "
            f"first, about {WORKABLE} per label are a workable minimum.",
        )


def _unbalanced(facts: Facts) -> Iterator[Advice]:
    if not facts.labels:
        return
    least = min(facts.labels, key=lambda row: row.images)
    most = max(facts.labels, key=lambda row: row.images)
    # Of a label with too few images that is said already.
    if least.images >= WORKABLE and most.images >= UNBALANCED * least.images:
        yield Advice(
            "unbalanced",
            f"Label {most.label!r} has {most.images:,} images and {least.label!r} only "
            f"{least.images:,}: add images of the labels that have few.",
        )


def _under_two_labels(facts: Facts) -> Iterator[Advice]:
    if facts.duplicates:
        is_under = "is under two labels" if facts.duplicates == 1 else "are under two labels"
        yield Advice(
            "under_two_labels",
            f"{counted(facts.duplicates, 'image')} {is_under}, so at least one label of "
            "each is wrong: keep the right copy and delete the other.",
        )


def _skipped(facts: Facts) -> Iterator[Advice]:
    if facts.skipped:
        was = "was" if facts.skipped == 1 else "were"
        yield Advice(
            "skipped",
            f"{counted(facts.skipped, 'file')} {was} skipped: replace or delete what "
            "cannot be read, or those images teach nothing.",
        )


def _certain_mistakes(facts: Facts) -> Iterator[Advice]:
    if facts.certain_mistakes:
        has = "has" if facts.certain_mistakes == 1 else "have"
        yield Advice(
            "certain_mistakes",
            f"{counted(facts.certain_mistakes, 'mistake')} {has} a score of "
            f"{CERTAIN:.0%} or more: check first whether these images are in the right folder.",
        )


def _overfit(facts: Facts) -> Iterator[Advice]:
    trained, validated = facts.training_accuracy, facts.validation_accuracy
    if trained is None or validated is None or not facts.validation_count:
        return
    if trained - validated <= max(FAR_ABOVE, RISE_IMAGES / facts.validation_count):
        return
    gap = (
        f"Training accuracy {trained:.1%} is far above validation accuracy {validated:.1%}: more "
        "photos help most"
    )
    if facts.photos and not any(facts.settings.get(name) for name in _DISTORTIONS):
        option = "--flip_left_right"
        yield Advice(
            "overfit", f"{gap}; {option} helps where a mirrored photo keeps its label.", option
        )
    else:
        yield Advice("overfit", f"{gap}.")


def _still_rising(facts: Facts) -> Iterator[Advice]:
    curve, steps = facts.validation_curve, facts.settings.get("how_many_training_steps")
    if curve is None or len(curve.steps) < 4 or not steps or not facts.validation_count:
        return
    start = curve.steps[-1] * 0.6
    before = [n for n, step in enumerate(curve.steps) if step <= start]
    if not before:
        return
    best = max(curve.accuracy[n] for n in before)
    gain = curve.accuracy[-1] - best
    falls = curve.cross_entropy[-1] < 0.98 * min(curve.cross_entropy[n] for n in before)
    if falls and gain > max(RISE, (RISE_IMAGES - 0.5) / facts.validation_count):
        option = f"--how_many_training_steps {2 * steps}"
        yield Advice(
            "still_rising",
            f"Validation accuracy was still rising at the end, from {best:.1%} to "
            f"{curve.accuracy[-1]:.1%} over the last 40% of the steps: use {option}, or "
            "--solver lbfgs, which has no steps.",
            option,
        )


def _confused(facts: Facts) -> Iterator[Advice]:
    totals = facts.confusion.row_sums()
    wrong = [
        (count, count / totals[row], row, column)
        for row, column, count in facts.confusion.cells
        if row != column and count >= CONFUSED_IMAGES and count >= CONFUSED * totals[row]
    ]
    if wrong:
        names = [row.label for row in facts.labels]
        count, _, row, column = max(wrong, key=lambda each: (each[0], each[1], -each[2]))
        yield Advice(
            "confused",
            f"Label {names[row]!r} is most often taken for {names[column]!r} ({count} of "
            f"{counted(totals[row], 'image')}): add photos of both that show the difference.",
        )


def _larger_backbone(facts: Facts) -> Iterator[Advice]:
    larger = _LARGER.get(facts.backbone)
    if larger is None or facts.interval is None or facts.interval[1] >= HIGH or not facts.photos:
        return
    option = f"--module {larger}"
    yield Advice(
        "larger_backbone",
        f"A larger backbone is slower and usually more accurate: {option} (needs pip install "
        "'tlcli[lite]').",
        option,
    )


def _cross_validate(facts: Facts) -> str | None:
    """Return the option that tests every image, None where a label has too few for it."""
    folds = min(_FOLDS, facts.distinct)
    return None if folds < 2 else f"--cross_validate {folds}"


def _listed(counts: Sequence[tuple[str, int]], noun: str) -> str:
    """Return "Label 'a' has 2 images", of several labels with the first few and how many more."""
    if len(counts) == 1:
        label, count = counts[0]
        return f"Label {label!r} has {counted(count, noun)}"
    named = ", ".join(f"{label!r} {count}" for label, count in counts[:_NAMED])
    more = f" and {len(counts) - _NAMED:,} more" if len(counts) > _NAMED else ""
    return f"{len(counts):,} labels have few {noun}s ({named}{more})"
