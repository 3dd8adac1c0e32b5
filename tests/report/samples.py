"""Reports to draw: one of a usual run, and one of names that mean harm."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from tlcli.core.calibration.reliability import Bin, Calibration, Reliability
from tlcli.core.evaluation.confusion import ConfusionMatrix
from tlcli.core.evaluation.growth import Growth, LabelChange, SameImages
from tlcli.core.evaluation.label_averages import LabelAverages
from tlcli.core.evaluation.learning_curve import Forecast
from tlcli.core.evaluation.metrics import Proportion
from tlcli.core.evaluation.thresholds import threshold_figures
from tlcli.core.photos.findings import CopyPair, Findings, Note, Odd, WrongLabel
from tlcli.report.collect import data_uri, file_link
from tlcli.report.data import (
    Advice,
    BackboneFacts,
    Comparison,
    Curve,
    Duplicate,
    LabelFigures,
    ListedImage,
    MistakeGroup,
    OutOfFold,
    ReportData,
    SkippedFile,
    TestImage,
)
from tlcli.report.your_photos import your_photos

FORECAST = Forecast(
    points=((80, 0.82), (160, 0.85), (240, 0.87), (320, 0.875), (400, 0.88)),
    tested=500,
    images=400,
    now=Proportion(0.882, 0.85, 0.91),
    twice=Proportion(0.904, 0.87, 0.93),
    trend=((80, 0.82), (200, 0.86), (400, 0.882), (800, 0.904)),
)
CALIBRATION = Calibration(
    Reliability((Bin(30, 0.6, 0.5), Bin(30, 0.95, 0.8)), 0.125, 0.05, Bin(30, 0.95, 0.8), True),
    Reliability((Bin(30, 0.55, 0.5), Bin(30, 0.85, 0.8)), 0.05, 0.06, Bin(30, 0.85, 0.8), True),
    1.42,
)
GROWN = Growth(
    "earlier.json",
    (LabelChange("daisy", 14, 3, 1), LabelChange("roses", 0, 18, 0)),
    *(("roses",), (), 1, True),
    tested=SameImages(60, 50, 7, 2),
)
HOSTILE = "<script>alert(1)</script>.jpg"
QUOTED = "\"><img src=x onerror='alert(2)'>"
CLOSING = "</script><!-- ]]> &amp; https://example.com/x"


def usual(**changes: Any) -> ReportData:
    """Return the report of a small run, with ``changes``."""
    picture = data_uri(Image.new("RGB", (40, 30), "teal"))
    link = "photos/daisy/1.jpg"
    image = TestImage("daisy/1.jpg", "daisy", "roses", 0.7, 0.2, picture, picture, link)
    right = TestImage("roses/2.jpg", "roses", "roses", 0.99, 0.99)
    data = ReportData(
        title="flower photos",
        created="2026-11-22 10:00 UTC",
        accuracy=0.75,
        interval=(0.409, 0.929),
        test_count=8,
        labels=[
            LabelFigures("daisy", 10, 2, 4, 1.0, (0.4, 1.0), 0.5, (0.15, 0.85), 0.667),
            LabelFigures("roses", 12, 2, 4, 0.667, (0.3, 0.9), 1.0, (0.51, 1.0), 0.8),
        ],
        confusion=confusion_of([[2, 2], [0, 4]]),
        backbone=BackboneFacts("net", "a file", "Apache-2.0", "ab" * 32, 1280, 224, 224),
        command="tlcli retrain --image_dir 'flower photos' --seed 0",
        settings={"seed": 0, "strict": False, "output_report": None, "learning_rate": 0.01},
        averages=LabelAverages(0.733, (0.41, 0.92), 0.75, (0.4, 0.93)),
        forecast=FORECAST,
        calibration=CALIBRATION,
        grown=GROWN,
        validation_accuracy=0.8,
        min_accuracy=0.7,
        untrained_accuracy=0.5,
        mistakes=[
            MistakeGroup(0, 1, 2, [image], [ListedImage("daisy/4.jpg", 0.6, "photos/daisy/4.jpg")])
        ],
        mistakes_count=2,
        thresholds=list(
            threshold_figures([0.6, 0.7, 0.8, 0.9, 0.9, 0.95, 0.97, 0.99], [0, 0, 1, 1, 1, 1, 1, 1])
        ),
        advice=[
            Advice(
                "few_tests", "Only 8 test images: add --cross_validate 5.", "--cross_validate 5"
            ),
            Advice("skipped", "1 file was skipped: replace it."),
        ],
        copies=1,
        your_photos=your_photos(findings(), None, 2, 1),
        training_curve=Curve([0, 10], [0.5, 0.9], [0.7, 0.2]),
        validation_curve=Curve([0, 10], [0.5, 0.8], [0.7, 0.4]),
        misclassified=[image],
        misclassified_count=2,
        most_confident=[right],
        least_confident=[image],
        comparisons=[Comparison("daisy/1.jpg", "daisy", [0.5, 0.5], [0.2, 0.8], picture)],
        cross_validation={"folds": 5, "accuracy": 0.74, "deviation": 0.02},
        skipped=[SkippedFile("daisy/broken.jpg", "the file is empty")],
        duplicates=[Duplicate(["daisy/3.jpg", "roses/3.jpg"])],
        seconds={"bottlenecks": 75.2, "fit": 1.4},
        cache={"hits": 3, "computed": 31},
        outputs={"graph": "output_graph.pb"},
        versions={"tlcli": "0.1.0"},
    )
    return dataclasses.replace(data, **changes)


def folds() -> ReportData:
    """Return the report of a run with a cross-validation."""
    data = usual(cross_validation={"folds": 5, "accuracy": 0.81, "deviation": 0.03})
    return dataclasses.replace(
        data,
        mistakes=[dataclasses.replace(data.mistakes[0], count=3)],
        mistakes_count=4,
        out_of_fold=OutOfFold(
            accuracy=0.8,
            interval=(0.584, 0.919),
            count=20,
            labels=data.labels,
            confusion=confusion_of([[9, 3], [1, 7]]),
            averages=LabelAverages(0.8, None, 0.8125, (0.58, 0.93)),
            folds=5,
            deviation=0.03,
        ),
    )


def squares() -> ReportData:
    """Return the report of 30 labels, whose confusion matrix is drawn as squares."""
    data = usual()
    matrix = np.eye(30, dtype=np.int64) * 9
    matrix[0, 1], matrix[7, 3] = 2, 1
    labels = [dataclasses.replace(data.labels[0], label=f"label {n}") for n in range(30)]
    return usual(labels=labels, confusion=confusion_of(matrix), comparisons=[])


def hostile() -> ReportData:
    """Return a report in which every name tries to break out of the page."""
    link = file_link(f"/photos/{HOSTILE}/{QUOTED}/{CLOSING}", "/photos/report.html")
    image = TestImage(HOSTILE, QUOTED, CLOSING, 0.7, 0.2, link=link)
    return usual(
        title=HOSTILE,
        labels=[
            LabelFigures(HOSTILE, 1, 1, 4, 0.5, (0.1, 0.9), 0.5, (0.1, 0.9), 0.5),
            LabelFigures(QUOTED, 1, 1, 4, None, None, 0.0, (0.0, 0.5), None),
        ],
        misclassified=[image],
        mistakes=[MistakeGroup(0, 1, 3, [image], [ListedImage(CLOSING, 0.5, link)])],
        advice=[Advice(HOSTILE, f"{HOSTILE}: {QUOTED} {CLOSING}\x1b[31m", QUOTED)],
        least_confident=[image],
        comparisons=[Comparison(CLOSING, HOSTILE, [0.5, 0.5], [0.2, 0.8])],
        skipped=[SkippedFile(HOSTILE + "\udcff\x00\x1b[31m", QUOTED)],
        duplicates=[Duplicate([QUOTED, CLOSING])],
        settings={HOSTILE: QUOTED},
        outputs={QUOTED: CLOSING},
        command=f"tlcli retrain --image_dir '{CLOSING}'",
        backbone=BackboneFacts(HOSTILE, QUOTED, CLOSING, HOSTILE, 3),
        versions={HOSTILE: QUOTED},
        seconds={QUOTED: 1.0},
    )


def confusion_of(matrix: npt.ArrayLike) -> ConfusionMatrix:
    """Return the confusion matrix of counts [L, L]."""
    counts = np.asarray(matrix, np.int64)
    truth, predicted = (np.repeat(each, counts[counts.nonzero()]) for each in counts.nonzero())
    return ConfusionMatrix.of(truth, predicted, len(counts))


def findings() -> Findings:
    """Return findings of every kind, with hostile names."""
    near = ("photos/tulips/2.jpg", HOSTILE)
    wrong = WrongLabel(QUOTED, "roses", "tulips", 0.93, 9, 10, near)
    pair = CopyPair((HOSTILE, "b.jpg"), ("roses", CLOSING), ("training", "testing"), "mirrored")
    return Findings(
        photos=120,
        labels=3,
        wrong_labels=(wrong,) * 3,
        copies=(pair,),
        odd=(Odd("photos/roses/black.jpg", "roses", "almost black"),),
        groups=((HOSTILE, "b.jpg"),),
        films=(("f1.jpg", "f2.jpg", "f3.jpg"),),
        notes=(Note("few", "roses", "roses has 5 photos; 30 are a workable minimum."),),
        unreadable=(("broken.jpg", "empty file"),),
    )
