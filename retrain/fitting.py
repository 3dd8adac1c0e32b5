"""The final layer of one run: fitted with the original's log lines, checkpoints and summaries."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from retrain.arguments.options import RetrainOptions
from retrain.inputs import Inputs
from tlcli.core.final_layer.checkpoint import Checkpoint, fit_digest
from tlcli.core.final_layer.curve import CurveMeter, CurvePoint
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import (
    FinalLayer,
    SgdFit,
    SgdSettings,
    SgdState,
    StepStatistics,
)
from tlcli.core.fitting.feature_scaling import FeatureScaling, scaling_for
from tlcli.core.fitting.fit_layer import (
    FitSettings,
    chosen_settings,
    chosen_temperature,
    fit_scaled,
    shift_of,
)
from tlcli.core.fitting.held_out_temperature import cooled
from tlcli.core.fitting.label_weights import label_weights, shifted
from tlcli.progress import Progress
from tlcli.report.collect import spread
from tlcli.system.memory import usable_memory

if TYPE_CHECKING:
    from tlcli.report.tensorboard import Kind, Summaries

logger = logging.getLogger("tlcli")

STEP_LINES = "tlcli.steps"
"""Name of the logger of the original's lines for each step."""
_steps = logging.getLogger(STEP_LINES)

# Above that, one step moves the scores of an image by more than all of a usual fit.
LARGE_RATE = 10.0
# Images whose activations a histogram covers: as many as the originals' batch.
_HISTOGRAM_IMAGES = 100


@dataclass
class Fitted:
    """A fitted final layer and how it got there.

    Attributes:
        layer: the result.
        untrained: the layer before the first step, for the report's before and after.
        history: what was measured on drawn batches at the evaluation steps; empty for logistic
            regression.
        curve: what was measured on the validation split, of a large one on a sample, and on a
            sample of the training split, at up to 60 steps, rising; empty for logistic regression.
        solver: what fitted the layer: "sgd", "lbfgs" or "lda".
        details: how it was chosen, and what it chose itself, as JSON types.
        compared: sentences on the comparison of solvers; empty without one.
        temperature: what the layer's scores were divided by, so that they mean what they say.
    """

    layer: FinalLayer
    untrained: FinalLayer
    history: list[StepStatistics] = field(default_factory=list)
    curve: list[CurvePoint] = field(default_factory=list)
    solver: str = "sgd"
    details: dict[str, Any] = field(default_factory=dict)
    compared: list[str] = field(default_factory=list)
    temperature: float = 1.0


@dataclass(frozen=True)
class Observers:
    """What is notified while a fit runs.

    Attributes:
        write_intermediate: called with the number of steps and the layer each
            ``intermediate_store_frequency`` steps.
        summaries: receives what is measured.
        progress: called with ("fit", steps done, steps) at the evaluation steps.
        on_point: called with each point of the curve.
    """

    write_intermediate: Callable[[int, FinalLayer], None] | None = None
    summaries: Summaries | None = None
    progress: Progress | None = None
    on_point: Callable[[CurvePoint], None] | None = None


class Start(Protocol):
    """An earlier run."""

    def start(self, inputs: Inputs, fresh: FinalLayer) -> FinalLayer:
        """Return the layer that steps begin with, which is ``fresh`` where it knows no better."""


def fit(
    inputs: Inputs,
    options: RetrainOptions,
    observers: Observers = Observers(),
    earlier: Start | None = None,
) -> Fitted:
    """Fit the final layer on the training split.

    Args:
        inputs: vectors and splits.
        options: solver, steps, rate, batch sizes, seed, checkpoint.
        observers: called at the steps; none by default.
        earlier: the run whose final layer steps over plain vectors begin with; None: they begin
            again, as solvers without steps always do.

    Raises:
        TlcliError: the fit diverged, or an output cannot be written.
    """
    training, validation = training_samples(inputs), samples(inputs, "validation")
    scaling = scaling_for(training, inputs.blocks)
    if scaling is not None:
        training, validation = scaling.apply(training), scaling.apply(validation)
    settings, choice = chosen_settings(training, fit_settings(inputs, options), inputs.blocks)
    compared = [] if choice is None else choice.lines()
    for line in compared:
        logger.info("%s", line)
    begin = None
    if earlier is not None and scaling is None:
        begin = functools.partial(earlier.start, inputs)
    prepared = _Prepared(training, validation, scaling, settings, begin)
    if settings.solver == "sgd":
        fitted = _fit_steps(prepared, options, observers)
    else:
        fitted = _fit_at_once(prepared)
    fitted.solver, fitted.compared = settings.solver, compared
    if choice is not None:
        fitted.details |= choice.to_dict()
    return fitted


@dataclass(frozen=True)
class _Prepared:
    """Scaled rows, what their layers become for plain ones, and how to fit them.

    ``begin`` returns what steps begin with in place of fresh weights, after an earlier run.
    """

    training: Samples
    validation: Samples
    scaling: FeatureScaling | None
    settings: FitSettings
    begin: Callable[[FinalLayer], FinalLayer] | None = None

    def plain(self, layer: FinalLayer) -> FinalLayer:
        """Return a layer over scaled vectors as one over plain vectors."""
        return layer if self.scaling is None else self.scaling.fold(layer)


def samples(inputs: Inputs, split: str) -> Samples:
    """Return the undistorted vectors and labels of one split, without a copy."""
    part = inputs.part(split)
    return Samples(inputs.vectors[part], inputs.targets[part])


def training_samples(inputs: Inputs) -> Samples:
    """Return what is trained on: the distorted views where there are any, else the images."""
    if not len(inputs.views):
        return samples(inputs, "training")
    count = int(np.searchsorted(inputs.view_rows, inputs.part("training").stop))
    rows = inputs.view_rows[:count]
    return Samples(inputs.views[:count], inputs.targets[rows], groups=rows)


def sgd_settings(options: RetrainOptions) -> SgdSettings:
    """Return the settings of the original's SGD that the options ask for."""
    return SgdSettings(
        steps=options.how_many_training_steps,
        learning_rate=options.learning_rate,
        train_batch_size=options.train_batch_size,
        validation_batch_size=options.validation_batch_size,
        eval_step_interval=options.eval_step_interval,
        seed=options.seed,
    )


def fit_settings(inputs: Inputs, options: RetrainOptions) -> FitSettings:
    """Return how the options ask for a final layer to be fitted."""
    return FitSettings(
        len(inputs.labels),
        str(options.solver),
        sgd_settings(options),
        label_weights(options.label_weights, inputs.labels),
        memory=usable_memory(),
        # The originals' scores, to the bit.
        temperature=1.0 if options.preset == "original" else None,
    )


def _fit_steps(prepared: _Prepared, options: RetrainOptions, observers: Observers) -> Fitted:
    training, validation = prepared.training, prepared.validation
    settings, plain = prepared.settings.sgd, prepared.plain
    shift = shift_of(training, prepared.settings)
    if settings.learning_rate > LARGE_RATE:
        logger.warning(
            "--learning_rate %g is far above the usual 0.001 to 1: scores become 0 or 1, and the "
            "accuracy usually suffers; the default is 0.01",
            settings.learning_rate,
        )
    write_intermediate = observers.write_intermediate
    label_count = prepared.settings.label_count
    checkpoint: Checkpoint | None = None
    start: SgdState | None = None
    if options.checkpoint_path is not None:
        digest = fit_digest(training, label_count, settings)
        checkpoint = Checkpoint(options.checkpoint_path, digest)
        start = checkpoint.load(settings.steps, training.size, label_count)
    untrained = SgdFit(training, label_count, settings).state.layer()
    begin = start
    if start is None and prepared.begin is not None:
        found = prepared.begin(untrained)
        begin = SgdState(0, found.weights, found.biases)
    run = SgdFit(training, label_count, settings, validation=validation, start=begin)
    if start is not None and checkpoint is not None:
        logger.info("The fit goes on at step %d, from %s", start.steps_done, checkpoint.path)
    fitted = Fitted(plain(untrained), plain(untrained))
    meter = CurveMeter(training, validation, label_count, settings)

    def on_evaluation(statistics: StepStatistics) -> None:
        fitted.history.append(statistics)
        _log(statistics)
        if observers.summaries is not None:
            _summarise_step(
                observers.summaries, statistics, run.state.layer(), training, validation
            )
        if observers.progress is not None:
            observers.progress("fit", statistics.step + 1, settings.steps)

    def add_point(state: SgdState) -> None:
        layer = shifted(FinalLayer(state.weights, state.biases), shift)
        point = meter.measure(state.steps_done, layer)
        if math.isfinite(point.training_cross_entropy + (point.validation_cross_entropy or 0)):
            fitted.curve.append(point)
            if observers.on_point is not None:
                observers.on_point(point)

    def on_step(state: SgdState) -> None:
        if meter.is_due(state.steps_done):
            add_point(state)
        if checkpoint is not None:
            checkpoint.save_when_due(state)
        # The original stored after step N, counted from 0, and never after the first.
        step = state.steps_done - 1
        if write_intermediate and step > 0 and step % options.intermediate_store_frequency == 0:
            write_intermediate(step, plain(shifted(state.layer(), shift)))

    try:
        layer = run.run(on_evaluation=on_evaluation, on_step=on_step)
        layer = shifted(layer, shift)
        temperature = chosen_temperature(layer, training, validation, prepared.settings)
        fitted.layer, fitted.temperature = plain(cooled(layer, temperature)), temperature
        if not fitted.curve:  # a finished fit that was picked up again
            add_point(run.state)
    finally:
        if checkpoint is not None:
            checkpoint.save(run.state)
    return fitted


def _log(statistics: StepStatistics) -> None:
    """Write the originals' three lines, which scripts read."""
    if not _steps.isEnabledFor(logging.INFO):
        return
    now = datetime.now().isoformat(sep=" ", timespec="microseconds")
    step = statistics.step
    _steps.info("%s: Step %d: Train accuracy = %.1f%%", now, step, statistics.train_accuracy * 100)
    _steps.info("%s: Step %d: Cross entropy = %f", now, step, statistics.cross_entropy)
    if statistics.validation_accuracy is not None:
        _steps.info(
            "%s: Step %d: Validation accuracy = %.1f%% (N=%d)",
            now,
            step,
            statistics.validation_accuracy * 100,
            statistics.validation_count,
        )


def _fit_at_once(prepared: _Prepared) -> Fitted:
    """Fit by a solver without steps."""
    settings = prepared.settings
    untrained = SgdFit(prepared.training, settings.label_count, settings.sgd).state.layer()
    found = fit_scaled(prepared.training, prepared.validation, settings)
    for name, what in (("shrinkage", "Shrinkage"), ("l2_strength", "Regularisation strength")):
        if name in found.details:
            logger.info(
                "%s %.3g, chosen by %s", what, found.details[name], found.details["chosen_by"]
            )
    layers = prepared.plain(found.layer), prepared.plain(untrained)
    return Fitted(*layers, details=found.details, temperature=found.temperature)


def _summarise_step(
    summaries: Summaries,
    statistics: StepStatistics,
    layer: FinalLayer,
    training: Samples,
    validation: Samples,
) -> None:
    """Write what was measured at a step, the layer, and what it gives for some images."""
    step = statistics.step
    summaries.step("train", step, statistics.train_accuracy, statistics.cross_entropy)
    if statistics.validation_accuracy is not None:
        summaries.step(
            "validation",
            step,
            statistics.validation_accuracy,
            statistics.validation_cross_entropy,
        )
    summaries.layer(step, layer.weights, layer.biases)
    batches: dict[Kind, Samples] = {"train": training, "validation": validation}
    for kind, samples in batches.items():
        shown = samples.at(np.array(spread(len(samples), _HISTOGRAM_IMAGES))).gathered()
        if len(shown):
            summaries.activations(kind, step, layer.logits(shown), layer.probabilities(shown))
