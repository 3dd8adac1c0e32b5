"""One way to fit a final layer for all who need one: retraining, its folds, and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tlcli.arrays import Doubles
from tlcli.backbone import FeatureBlock
from tlcli.core.final_layer.discriminant_analysis import (
    DiscriminantAnalysis,
    fit_lda,
    held_out_scores,
)
from tlcli.core.final_layer.lbfgs import lbfgs_bytes
from tlcli.core.final_layer.logistic_regression import fit_lbfgs
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer, SgdSettings, fit_sgd
from tlcli.core.fitting.choose_solver import ComparisonLimits, SolverChoice, choose_solver
from tlcli.core.fitting.feature_scaling import scaling_for
from tlcli.core.fitting.held_out_temperature import (
    HeldOut,
    TemperatureLimits,
    cooled,
    cross_fitted,
    scores_of,
    temperature_of,
)
from tlcli.core.fitting.label_weights import LabelWeights, prior_shift, shifted
from tlcli.errors import DataError
from tlcli.text import byte_size, counted

SOLVERS = ("sgd", "lbfgs", "lda", "auto")
"""Solvers by name, the original's first; "auto" is one of the others."""

# Folds for the temperature of discriminant analysis, whose scores depend on the number of rows.
_FOLDS = 20
# SGD takes seconds for each fit, so that two have to do.
_FITS_OF_STEPS = 2


@dataclass(frozen=True)
class FitSettings:
    """How a final layer is fitted.

    Attributes:
        label_count: L.
        solver: one of `SOLVERS`.
        sgd: steps, rates and seed of the solver "sgd".
        label_weights: how much the images of a label count; None: "balanced" for SGD, which draws
            every label equally often, and "none" for all others.
        l2_strength: of the solver "lbfgs"; None: chosen.
        memory: bytes that are free; None: unknown. "lbfgs" needs some for each label and value.
        analysis: of the solver "lda", whose strengths its folds take; None: not fitted yet.
        temperature: what scores are divided by at last, above 0; None: chosen on rows that are
            held out.
    """

    label_count: int
    solver: str = "sgd"
    sgd: SgdSettings = field(default_factory=SgdSettings)
    label_weights: LabelWeights | None = None
    l2_strength: float | None = None
    memory: int | None = None
    analysis: DiscriminantAnalysis | None = None
    temperature: float | None = 1.0


@dataclass(frozen=True)
class FittedLayer:
    """A final layer over plain vectors.

    Attributes:
        layer: what was fitted, all scaling folded in.
        solver: what fitted it: "sgd", "lbfgs" or "lda".
        details: how it chose what it had to choose, as JSON types.
        temperature: what its scores were divided by at last.
        analysis: of "lda", else None.
    """

    layer: FinalLayer
    solver: str
    details: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    analysis: DiscriminantAnalysis | None = None


def fit_layer(
    training: Samples,
    validation: Samples | None,
    blocks: Sequence[FeatureBlock],
    settings: FitSettings,
) -> FittedLayer:
    """Fit a final layer.

    Args:
        training: at least one row.
        validation: rows on which a solver may choose its strength; None: folds of the training
            rows are used.
        blocks: the layers that a vector joins; vectors of several are scaled, those of one (or
            with no blocks given) stay as they are.
        settings: the solver and what it needs.

    Raises:
        DataError: no training rows, vectors too large to square, or too little memory for lbfgs.
        TlcliError: the fit diverged.
    """
    scaling = scaling_for(training, blocks)
    if scaling is not None:
        training = scaling.apply(training)
        validation = None if validation is None else scaling.apply(validation)
    settings, choice = chosen_settings(training, settings, blocks)
    fitted = fit_scaled(training, validation, settings)
    if choice is not None:
        fitted = replace(fitted, details={**fitted.details, **choice.to_dict()})
    if scaling is not None:
        fitted = replace(fitted, layer=scaling.fold(fitted.layer))
    return fitted


def chosen_settings(
    training: Samples, settings: FitSettings, blocks: Sequence[FeatureBlock] = ()
) -> tuple[FitSettings, SolverChoice | None]:
    """Return settings with a solver in place of "auto", and how it was chosen.

    Args:
        training: at least one row, scaled.
        settings: returned as they are where they name a solver.
        blocks: the layers that a vector joins.
    """
    if settings.solver != "auto":
        return settings, None
    weights: LabelWeights = settings.label_weights or "none"
    sgd = None if len(blocks) > 1 else settings.sgd
    limits = ComparisonLimits(memory=settings.memory)
    choice = choose_solver(training, settings.label_count, sgd, weights, limits)
    chosen = replace(
        settings, solver=choice.solver, label_weights=weights, l2_strength=choice.strength
    )
    return chosen, choice


def shift_of(training: Samples, settings: FitSettings) -> Doubles | None:
    """Return what the label weights add to the biases, [L]; None where there are no weights."""
    if settings.label_weights is None:
        return None
    return prior_shift(
        training.labels, settings.solver, settings.label_count, settings.label_weights
    )


def fit_scaled(training: Samples, validation: Samples | None, settings: FitSettings) -> FittedLayer:
    """Fit a final layer to rows that are scaled, where they have to be; see `fit_layer`.

    Args:
        training: at least one row.
        validation: or None.
        settings: with a solver other than "auto"; see `chosen_settings`.
    """
    fitted = _fit(training, validation, settings)
    layer = shifted(fitted.layer, shift_of(training, settings))
    found = fitted.details
    if fitted.solver == "lbfgs":
        settings = replace(settings, l2_strength=found["l2_strength"])
    elif fitted.solver == "lda":
        settings = replace(settings, analysis=fitted.analysis)
    temperature = chosen_temperature(layer, training, validation, settings)
    return replace(fitted, layer=cooled(layer, temperature), temperature=temperature)


def chosen_temperature(
    layer: FinalLayer, training: Samples, validation: Samples | None, settings: FitSettings
) -> float:
    """Return what to divide the scores of a layer by, whatever its label weights add included.

    Where label weights ask for other frequencies than those of the rows, rows count as often as
    these ask for. Dividing last leaves every predicted label as it is.

    Args:
        layer: over the rows as they are.
        training: what it was fitted on.
        validation: or None.
        settings: that it was fitted with, every strength included.
    """
    if settings.temperature is not None:
        return settings.temperature
    limits = TemperatureLimits()
    if validation is not None and len(validation) >= limits.validation:
        return validation_temperature(layer, training, validation, settings)
    counts_as = _counts_as(training, settings)
    if settings.analysis is not None:
        found = held_out_scores(training, settings.label_count, settings.analysis, _FOLDS)
        if found is None:
            return 1.0
        shift, (scores, labels) = shift_of(training, settings), found
        if shift is not None:
            scores = scores + shift.astype(np.float32)
        return temperature_of(HeldOut(scores, labels), counts_as)
    if settings.solver == "sgd":
        limits = replace(limits, fits=_FITS_OF_STEPS)

    def fit(rows: Samples) -> FinalLayer:
        return shifted(_fit(rows, None, settings).layer, shift_of(rows, settings))

    return temperature_of(cross_fitted(training, fit, limits), counts_as)


def validation_temperature(
    layer: FinalLayer, training: Samples, validation: Samples, settings: FitSettings
) -> float:
    """Return what to divide the scores of a layer by, on validation rows however few.

    It is for a layer whose network was trained on the training rows, whose scores would promise
    too much of any fit of them.

    Args:
        layer: of any solver, over plain rows.
        training: whose labels are as frequent as in the validation rows.
        validation: rows that neither were trained on.
        settings: of the layer.
    """
    if settings.temperature is not None:
        return settings.temperature
    return temperature_of(scores_of(layer, validation), _counts_as(training, settings))


def _counts_as(training: Samples, settings: FitSettings) -> Doubles:
    """Return how much a row of each label counts, [L], where a temperature is chosen."""
    wanted = settings.label_weights or ("balanced" if settings.solver == "sgd" else "none")
    counts: Doubles = np.exp(prior_shift(training.labels, "lbfgs", settings.label_count, wanted))
    return counts


def _fit(training: Samples, validation: Samples | None, settings: FitSettings) -> FittedLayer:
    label_count = settings.label_count
    if settings.solver == "lda":
        analysis = fit_lda(training, label_count)
        details = {
            "shrinkage": analysis.shrinkage,
            "temperature": analysis.temperature,
            "chosen_by": analysis.selection,
        }
        return FittedLayer(analysis.layer, "lda", details, analysis=analysis)
    if settings.solver == "lbfgs":
        needed = lbfgs_bytes(label_count, training.size)
        if settings.memory is not None and settings.memory < needed:
            raise DataError(
                f"--solver lbfgs needs {byte_size(needed)} for {counted(label_count, 'label')}, "
                f"and {byte_size(settings.memory)} are free; use --solver lda or sgd"
            )
        regression = fit_lbfgs(
            training, label_count, validation=validation, l2_strength=settings.l2_strength
        )
        strength = regression.l2_strength
        details = {"l2_strength": strength, "chosen_by": regression.selection}
        return FittedLayer(regression.layer, "lbfgs", details)
    return FittedLayer(fit_sgd(training, label_count, settings.sgd), "sgd")
