"""A final layer for images with several labels, and the threshold of each label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tlcli.arrays import Floats
from tlcli.backbone import FeatureBlock
from tlcli.core.final_layer.multi_label.marked import Bools, MarkedSamples
from tlcli.core.final_layer.multi_label.regression import HeldOut, fit_sigmoids
from tlcli.core.final_layer.multi_label.sgd import Begin, fit_sigmoid_sgd, held_out_by_sgd
from tlcli.core.final_layer.multi_label.thresholds import best_thresholds
from tlcli.core.final_layer.sgd import FinalLayer, SgdSettings, sigmoid
from tlcli.core.fitting.feature_scaling import scaling_for


@dataclass(frozen=True)
class MultiLabelSettings:
    """How a layer of independent labels is fitted.

    Attributes:
        solver: "lbfgs", "sgd", or "auto", which is "lbfgs": docs/accuracy.md compares them.
        sgd: steps, rates and seed of the solver "sgd".
        balanced: images with a label and those without it count the same in sum; of "lbfgs".
        begin: returns what the steps of "sgd" over plain vectors begin with. Scores for the
            thresholds are of fits that begin afresh, as an earlier layer has seen the images.
    """

    solver: str = "auto"
    sgd: SgdSettings = field(default_factory=SgdSettings)
    balanced: bool = False
    begin: Begin | None = None


@dataclass(frozen=True)
class MultiLabelFit:
    """A fitted layer with its thresholds.

    Attributes:
        layer: over plain vectors, with independent scores.
        thresholds: of each label, 0 to 1; those with the best F1 on held-out training images.
        solver: what fitted it: "lbfgs" or "sgd".
        details: how it chose what it had to choose, as JSON types.
        scores: of the held-out training images, float32 [M, L].
        marks: of the same, [M, L].
    """

    layer: FinalLayer
    thresholds: tuple[float, ...]
    solver: str
    details: dict[str, Any]
    scores: Floats
    marks: Bools


def fit_multi_label(
    training: MarkedSamples, blocks: Sequence[FeatureBlock], settings: MultiLabelSettings
) -> MultiLabelFit:
    """Fit a final layer with an independent score per label.

    Args:
        training: at least one row.
        blocks: the layers that a vector joins; vectors of several are scaled.
        settings: the solver and what it needs.

    Raises:
        DataError: no training rows, or vectors too large to square.
        TlcliError: the fit diverged.
    """
    scaling = scaling_for(training.samples, blocks)
    if scaling is not None:
        training = replace(training, samples=scaling.apply(training.samples))
    details: dict[str, Any] = {}
    held_out: HeldOut
    if settings.solver == "sgd":
        begin = settings.begin if scaling is None else None
        layer = fit_sigmoid_sgd(training, settings.sgd, begin)
        held_out = held_out_by_sgd(training, settings.sgd)
    else:
        found = fit_sigmoids(training, settings.balanced)
        layer, held_out = found.layer, found.held_out
        details = {"l2_strength": found.l2_strength, "chosen_by": "folds"}
    scores, marks = sigmoid(held_out.logits), training.marks[held_out.rows]
    return MultiLabelFit(
        layer if scaling is None else scaling.fold(layer),
        best_thresholds(scores, marks),
        "sgd" if settings.solver == "sgd" else "lbfgs",
        details,
        scores,
        marks,
    )
