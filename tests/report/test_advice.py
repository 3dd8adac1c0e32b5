"""What the rules make of the facts of a run."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from retrain.command import command
from tests.report import samples
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.metrics import Proportion, wilson_interval
from tlcli.report.advice import SHOWN, Facts, advise, images_to_tell
from tlcli.report.data import Curve, LabelFigures

STEPS = [0, 1000, 2000, 3000, 4000]
RISING = Curve(STEPS, [0.2, 0.8, 0.85, 0.9, 0.93], [1.1, 0.8, 0.6, 0.5, 0.4])


def label(name: str, training: int = 400, validation: int = 50, testing: int = 50) -> LabelFigures:
    return LabelFigures(name, training, validation, testing)


def facts(**changes: Any) -> Facts:
    """Return the facts of a run in which nothing stands out, with ``changes``."""
    usual = Facts(
        labels=[label("daisy"), label("roses"), label("tulips")],
        tested=600,
        accuracy=0.96,
        interval=wilson_interval(576, 600),
        folds=None,
        confusion=samples.confusion_of([[192, 8, 0], [8, 192, 0], [0, 8, 192]]),
        distinct=500,
        settings={"how_many_training_steps": 4000, "testing_percentage": 10, "random_crop": 0},
        training_accuracy=0.98,
        validation_accuracy=0.95,
        validation_count=600,
        validation_curve=Curve(STEPS, [0.2, 0.94, 0.95, 0.95, 0.95], [1.1, 0.3, 0.2, 0.19, 0.18]),
        backbone="efficientnet_lite0",
    )
    return dataclasses.replace(usual, **changes)


def only(**changes: Any) -> tuple[str, str | None]:
    """Return the text and the option of the single piece of advice."""
    (found,) = advise(facts(**changes))
    return found.text, found.option


def rules(**changes: Any) -> list[str]:
    return [each.rule for each in advise(facts(**changes))]


def test_where_nothing_stands_out_there_is_no_advice() -> None:
    assert advise(facts()) == ()


def test_no_test_images() -> None:
    none: dict[str, Any] = {
        "tested": 0,
        "accuracy": None,
        "interval": None,
        "confusion": ConfusionMatrix(3),
    }
    assert only(**none) == (
        "No images were kept out of training, so the accuracy on new images is not known: add "
        "--cross_validate 5, which tests every image once.",
        "--cross_validate 5",
    )
    # A single image of a label can be in no second fold.
    text, option = only(**none, distinct=1, settings={"testing_percentage": 0})
    assert option == "--testing_percentage 10"
    assert option in text
    text, option = only(**none, distinct=1)
    assert option is None
    assert text.endswith("add images to the labels that have few.")


def test_few_test_images() -> None:
    few: dict[str, Any] = {"tested": 49, "accuracy": 46 / 49, "interval": wilson_interval(46, 49)}
    assert only(**few) == (
        "Only 49 test images, so the accuracy on new images can be anywhere from 83.5% to 97.9%: "
        "add --cross_validate 5, which tests all 1500 images once.",
        "--cross_validate 5",
    )
    # No more folds than a label has images.
    assert only(**few, distinct=3)[1] == "--cross_validate 3"
    text, option = only(**few, distinct=1)
    assert option is None
    assert text.endswith("from 83.5% to 97.9%: add images.")
    assert only(**few, folds=5)[1] is None


def test_a_wide_interval_of_many_images() -> None:
    text, option = only(
        tested=200, accuracy=0.6, interval=wilson_interval(120, 200), backbone="another"
    )
    assert text.startswith("200 test images, so the accuracy on new images can be anywhere from ")
    assert option == "--cross_validate 5"


def test_a_label_with_few_test_images() -> None:
    labels = [label("daisy"), label("roses", testing=2), label("tulips")]
    assert only(labels=labels) == (
        "Label 'roses' has 2 test images, which says little about a label: add "
        "--cross_validate 5, which tests every image once.",
        "--cross_validate 5",
    )
    assert rules(labels=labels, folds=5) == []
    text, _ = only(labels=[label(name, testing=n) for n, name in enumerate("abcdef")])
    assert text.startswith("5 labels have few test images ('a' 0, 'b' 1, 'c' 2 and 2 more), which")
    # The same remedy is not proposed twice.
    assert rules(labels=labels, tested=49, interval=wilson_interval(46, 49)) == ["few_tests"]


def test_a_label_with_few_training_images() -> None:
    labels = [label("daisy"), label("roses", 4, 10, 10), label("tulips")]
    assert only(labels=labels) == (
        "Label 'roses' has 4 training images: add images, about 30 per label are a workable "
        "minimum.",
        None,
    )


def test_a_label_with_few_images() -> None:
    labels = [label("daisy"), label("roses", 9, 5, 5), label("tulips")]
    assert only(labels=labels)[0].startswith("Label 'roses' has 19 images: add images there first")


def test_unbalanced_labels() -> None:
    labels = [label("daisy", 2900), label("roses", 20, 5, 5), label("tulips")]
    assert only(labels=labels) == (
        "Label 'daisy' has 3,000 images and 'roses' only 30: add images of the labels that have "
        "few.",
        None,
    )
    labels = [label("daisy", 199), label("roses", 20, 5, 5)]
    assert rules(labels=labels) == []


def test_images_under_two_labels() -> None:
    assert only(duplicates=1)[0].startswith("1 image is under two labels, so at least one label of")
    assert only(duplicates=3)[0].startswith("3 images are under two labels, so")


def test_skipped_files() -> None:
    assert only(skipped=1)[0].startswith("1 file was skipped: ")
    assert only(skipped=1200)[0].startswith("1200 files were skipped: ")


def test_certain_mistakes() -> None:
    assert only(certain_mistakes=2) == (
        "2 mistakes have a score of 90% or more: check first whether these images are in the right "
        "folder.",
        None,
    )


def test_training_far_above_validation() -> None:
    over: dict[str, Any] = {"training_accuracy": 0.99, "validation_accuracy": 0.8}
    assert only(**over) == (
        "Training accuracy 99.0% is far above validation accuracy 80.0%: more photos help most; "
        "--flip_left_right helps where a mirrored photo keeps its label.",
        "--flip_left_right",
    )
    assert only(**over, settings={"random_crop": 10})[1] is None
    assert only(**over, photos=False)[1] is None
    # Of ten validation images, two more or less are chance.
    assert rules(**over, validation_count=10) == []
    assert rules(**over, validation_count=0) == []


def test_validation_still_rises() -> None:
    assert only(validation_curve=RISING) == (
        "Validation accuracy was still rising at the end, from 85.0% to 93.0% over the last 40% of "
        "the steps: use --how_many_training_steps 8000, or --solver lbfgs, which has no steps.",
        "--how_many_training_steps 8000",
    )
    # Two images of thirty are chance; so is a rise while the cross entropy stays.
    assert rules(validation_curve=RISING, validation_count=30) == []
    stays = dataclasses.replace(RISING, cross_entropy=[1.1, 0.8, 0.6, 0.6, 0.6])
    assert rules(validation_curve=stays) == []
    assert rules(validation_curve=None) == []
    assert rules(validation_curve=Curve([0], [0.5], [0.7])) == []


def test_the_most_frequent_confusion() -> None:
    confusion = samples.confusion_of([[180, 20, 0], [30, 170, 0], [0, 0, 200]])
    assert only(confusion=confusion) == (
        "Label 'roses' is most often taken for 'daisy' (30 of 200 images): add photos of both that "
        "show the difference.",
        None,
    )


def test_a_larger_backbone() -> None:
    low: dict[str, Any] = {"accuracy": 0.85, "interval": wilson_interval(510, 600)}
    text, option = only(**low)
    assert option == "--module efficientnet_lite2"
    assert "pip install 'tlcli[lite]'" in text
    assert rules(**low, backbone="efficientnet_lite2") == []
    assert rules(**low, photos=False) == []


def everything() -> Facts:
    return facts(
        labels=[label("daisy", 9000), label("roses", 3, 2, 2), label("tulips", 20, 3, 3)],
        tested=49,
        accuracy=0.6,
        interval=wilson_interval(30, 49),
        confusion=samples.confusion_of([[10, 10, 0], [0, 10, 9], [0, 0, 10]]),
        certain_mistakes=3,
        training_accuracy=0.99,
        validation_accuracy=0.6,
        validation_curve=Curve(STEPS, [0.2, 0.3, 0.4, 0.5, 0.6], [1.1, 0.8, 0.6, 0.5, 0.4]),
        duplicates=2,
        skipped=3,
    )


def test_the_most_useful_come_first_and_are_few() -> None:
    found = [each.rule for each in advise(everything())]
    assert found == [
        "few_training",
        "under_two_labels",
        "few_tests",
        "certain_mistakes",
        "skipped",
    ]
    assert len(found) == SHOWN


def test_every_option_that_is_recommended_exists() -> None:
    """Each rule that has an option, alone and with the others."""
    options = {option for parameter in command.params for option in parameter.opts}
    all_facts = [
        everything(),
        facts(tested=0, interval=None),
        facts(tested=0, interval=None, distinct=1, settings={"testing_percentage": 0}),
        facts(labels=[label("daisy"), label("roses", testing=2)]),
        facts(training_accuracy=0.99, validation_accuracy=0.8),
        facts(validation_curve=RISING),
        facts(accuracy=0.85, interval=wilson_interval(510, 600)),
    ]
    named = set()
    for each in all_facts:
        for advice in advise(each):
            if advice.option is not None:
                assert advice.option in advice.text
                command.make_parser(_context()).parse_args(advice.option.split())
            named |= set(re.findall(r"--\w+", advice.text))
    assert len(named) >= 6
    assert named <= options


def _context() -> Any:
    import click

    return click.Context(command)


@pytest.mark.parametrize("name", ["it's", "<b>", "two\nlines", "\x1b[31m"])
def test_labels_stay_on_their_line(name: str) -> None:
    text, _ = only(labels=[label("daisy"), label(name, 4), label("tulips")])
    assert text.isprintable()


def cannot_tell(right: int, count: int, minimum: float, **changes: Any) -> tuple[str, str | None]:
    """Return the first advice of so many right test images against a minimum."""
    settings = {"testing_percentage": 10, "min_accuracy": minimum}
    tested: dict[str, Any] = {
        "tested": count,
        "accuracy": right / count,
        "interval": wilson_interval(right, count),
    }
    test = Proportion(right / count, *wilson_interval(right, count))
    changes = {**tested, "settings": settings, "test": test, "test_count": count, **changes}
    first, *others = advise(facts(**changes))
    assert first.rule == "cannot_tell"
    assert "few_tests" not in [each.rule for each in others]
    return first.text, first.option


def test_a_test_split_that_cannot_tell_what_was_asked() -> None:
    text, option = cannot_tell(11, 12, 0.9)
    assert text == (
        "12 test images cannot tell whether the accuracy is above or below --min_accuracy 90.0%, "
        "as it can be anywhere from 64.6% to 98.5%; about 1,245 test images could: add "
        "--cross_validate 5, which tests every image once."
    )
    assert option == "--cross_validate 5"
    # The same accuracy on so many images can tell.
    assert images_to_tell(11 / 12, 0.9) == 1245
    assert (
        wilson_interval(1245 * 11 / 12, 1245)[0] >= 0.9 > wilson_interval(1244 * 11 / 12, 1244)[0]
    )


def test_an_accuracy_at_the_minimum_needs_more_images_than_anybody_has() -> None:
    text, option = cannot_tell(9, 10, 0.9, distinct=1)
    assert "is really at --min_accuracy 90.0%" in text
    assert text.endswith(": add images.")
    assert "test images could" not in text
    assert option is None


def test_a_cross_validation_tells_more_than_the_test_split() -> None:
    text, option = cannot_tell(11, 12, 0.9, folds=5, interval=wilson_interval(540, 600))
    assert text.endswith("; by cross-validation it is 87.3% to 92.2%.")
    assert option is None


@pytest.mark.parametrize(("right", "minimum"), [(590, 0.9), (500, 0.9)])
def test_a_test_split_that_can_tell(right: int, minimum: float) -> None:
    settings = {"testing_percentage": 10, "min_accuracy": minimum}
    test = Proportion(right / 600, *wilson_interval(right, 600))
    assert "cannot_tell" not in rules(settings=settings, test=test, test_count=600)
    assert "cannot_tell" not in rules(test=test, test_count=600)
