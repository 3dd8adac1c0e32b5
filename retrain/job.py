"""The steps of a retraining, in their order."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrain.arguments.keywords import RetrainKeywords, takes_options
from retrain.arguments.options import RetrainOptions
from retrain.evidence.beside import begin_beside
from retrain.evidence.photos import findings_for_report
from retrain.evidence.unseen import unseen_tests
from retrain.fitting import Fitted, Observers, fit
from retrain.folds import CrossValidated, cross_validate_fit
from retrain.growing.earlier import Earlier, growth
from retrain.growing.inherited import with_earlier
from retrain.inputs import Inputs, gather
from retrain.multi_label.job import Setting, finish_multi_label
from retrain.outputs import (
    ClassifierBuilder,
    checked_outputs,
    describe_backbone,
    earlier_report,
    intermediate_writer,
    write_classifier,
)
from retrain.presets.auto_module import AUTO, check_auto, choose_module
from retrain.presets.choice import choose
from retrain.presets.costs import Timing, Usage, usage, why_frozen
from retrain.report import (
    advice,
    check_summaries,
    curves,
    open_summaries,
    summarise_result,
    write_report,
)
from retrain.result import CrossValidationSummary, RetrainResult
from retrain.sources import find_backbone, find_images, needs_backbone
from retrain.testing import Run, Tests, evaluate_fit, label_figures, measure_forecast, results
from retrain.tuning.cross_validation import cross_validate_tuned, expected_time
from retrain.tuning.fine_tuning import (
    FineTuning,
    InterruptedRun,
    check_fine_tuning,
    fine_tune_fit,
)
from tlcli.commands.other_names import meant
from tlcli.core.data.splits import SPLITS
from tlcli.core.evaluation.label_averages import label_averages
from tlcli.core.export.frozen_graph import check_final_tensor_name
from tlcli.errors import UsageError
from tlcli.progress import Progress, Watcher, watcher_of
from tlcli.runtime.ahead import Ahead
from tlcli.storage.locations import shown
from tlcli.storage.outputs import Outputs
from tlcli.text import counted

if TYPE_CHECKING:
    from typing_extensions import Unpack

logger = logging.getLogger("tlcli")

_METHODS = {"lbfgs": "logistic regression", "lda": "discriminant analysis"}


class Clock:
    """Seconds of wall time by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what the block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@takes_options
def retrain(
    image_dir: str | Path | None = None,
    *,
    progress: Progress | None = None,
    tfhub_module: str | None = None,
    architecture: str | None = None,
    **options: Unpack[RetrainKeywords],
) -> RetrainResult:
    """Fit a new final layer on folders of images and write the graph and its companions.

    Args:
        image_dir: folder that holds one folder of images per label, or train, val and test folders
            of such; or a zip or tar archive of it. None where ``manifest`` lists the images.
        progress: called with (stage, done, total) while long stages run.
        tfhub_module: the same as ``module``.
        architecture: an older tool's name of the backbone, in place of ``module``.
        options: those of ``tlcli retrain``, by name.

    Returns:
        What was learned and where it was written. A result below ``min_accuracy`` is
        written all the same and has ``passed`` False.

    Raises:
        UsageError: options that cannot work.
        TlcliError: anything else that stands in the way, in one sentence.
        InterruptedRun: Ctrl-C during the fine-tuning; the classifier of the frozen network is
            written, and the error contains the result.
    """
    named = {"tfhub_module": tfhub_module, "architecture": architecture}
    chosen, decided = options_of({"image_dir": image_dir, **named, **options})
    if chosen.shard_index is not None:
        raise UsageError(
            "shard_index computes part files and fits nothing; use the command, tlcli retrain "
            "--num_shards N --shard_index I"
        )
    check_final_tensor_name(chosen.final_tensor_name)
    check_summaries(chosen)
    check_auto(chosen)
    with checked_outputs(chosen):
        return _retrain(chosen, watcher_of(progress), decided)


def options_of(given: Mapping[str, Any]) -> tuple[RetrainOptions, Collection[str]]:
    """Return the options of a run, and the names of those that its preset decided.

    Args:
        given: keywords of `retrain`.

    Raises:
        UsageError: options that cannot work.
    """
    options = {"tfhub_module": None, "architecture": None, **with_earlier(given)}
    aliases = options.pop("tfhub_module"), options.pop("architecture")
    unknown = set(options) - {field.name for field in fields(RetrainOptions)}
    if unknown:
        known = [f"--{field.name}" for field in fields(RetrainOptions)]
        hint = meant(f"--{min(unknown)}", known) or f"No such option: {min(unknown)}."
        raise UsageError(f"{hint.replace('--', '')} See `tlcli retrain --help`.")
    image_dir = options.pop("image_dir", None)
    choice = choose(_with_module(options, *aliases))
    # Text becomes a path there.
    chosen = RetrainOptions(image_dir=image_dir, **choice.options)
    for note in choice.notes:
        logger.info("%s", note)
    return chosen, choice.decided


def _retrain(
    chosen: RetrainOptions, watcher: Watcher, decided: Collection[str] = ()
) -> RetrainResult:
    """Run the steps; ``decided`` are the options that the preset chose."""
    with Ahead() as ahead:
        return _run_steps(chosen, watcher, decided, ahead)


def _run_steps(
    chosen: RetrainOptions, watcher: Watcher, decided: Collection[str], ahead: Ahead
) -> RetrainResult:
    clock = Clock()
    earlier = Earlier.of(chosen.from_card)
    watcher.begin("reading", _source(chosen))
    with clock.stage("images"):
        sources = find_images(chosen)
    comparison = None
    if chosen.module == AUTO:
        with clock.stage("comparison"):
            comparison = choose_module(chosen, sources, watcher)
        chosen = replace(chosen, module=comparison.best)
    with clock.stage("backbone"):
        backbone = None
        if needs_backbone(chosen, sources):
            backbone = find_backbone(chosen, may_have_no_maps="layers" in decided)
            if chosen.layers == "ms" and not backbone.blocks:
                chosen = replace(chosen, layers="head")
        if "fine_tune" in decided:
            reason = why_frozen(backbone, len(sources.dataset.images))
            chosen = _with_frozen_network(chosen, reason)
        check_fine_tuning(chosen, backbone)
    if chosen.by_shards and backbone is not None:
        from retrain.sharded.parts import check_complete, compute_parts

        with clock.stage("shards"):
            check_complete(compute_parts(chosen, sources, backbone, watcher))
        chosen = replace(chosen, precision="float32")
    with clock.stage("bottlenecks"):
        inputs = gather(chosen, sources, backbone, watcher)
    if chosen.multi_label:
        return finish_multi_label(inputs, Setting(chosen, earlier), clock, watcher)
    if "fine_tune" in decided and not inputs.counts("validation").any():
        chosen = _with_frozen_network(chosen, "no validation images decide on it")
    results.info(
        "%d images, %d labels: %d for training, %d for validation, %d for testing",
        len(inputs.images),
        len(inputs.labels),
        *(int(inputs.counts(split).sum()) for split in SPLITS),
    )
    builder = ClassifierBuilder(chosen, inputs)
    with open_summaries(chosen) as summaries:
        begin_beside(ahead, inputs, chosen)
        watcher.begin("fitting", f"{int(inputs.counts('training').sum())} images")
        with clock.stage("fit"):
            observers = Observers(
                intermediate_writer(builder),
                summaries,
                watcher,
                lambda point: watcher.note(_validation(point.validation_accuracy)),
            )
            fitted = fit(inputs, chosen, observers, earlier)
        frozen, tuned = inputs, FineTuning(inputs, fitted)
        if chosen.fine_tune != "none":
            watcher.end(_METHODS.get(str(chosen.solver), "SGD"))
            with clock.stage("fine_tuning"):
                tuned = fine_tune_fit(inputs, chosen, fitted, watcher)
            results.info("%s", tuned.sentence)
            frozen, inputs, fitted = inputs, tuned.inputs, tuned.fitted
            builder = ClassifierBuilder(chosen, inputs, tuned.figures)
            watcher.begin("testing")
        with clock.stage("evaluation"):
            tests = evaluate_fit(inputs, chosen, fitted)
            watcher.end(_fit_line(chosen, inputs, tests, fitted.solver))
            grown = growth(earlier, [inputs, frozen], tests, fitted.solver, watcher)
        with clock.stage("evaluation" if chosen.fine_tune == "none" else "folds"):
            cross = _cross_validate(frozen, chosen, tuned, clock, watcher)
        with clock.stage("evaluation"):
            # Vectors of a network that was trained on the same images promise too much.
            forecast = None if tuned.kept else ahead.result(measure_forecast, inputs, chosen)
            run = Run(chosen, inputs, fitted, tests, cross, forecast, grown)
        if summaries is not None:
            with clock.stage("summaries"):
                summarise_result(summaries, run, watcher)
    with Outputs() as files:
        watcher.begin("export", shown(chosen.output_graph))
        with clock.stage("unknown"):
            builder.learn_unknown(fitted.layer, tuned.kept)
        with clock.stage("export"):
            outputs = write_classifier(files, builder, fitted.layer, tests.after)
        watcher.end(", ".join(outputs).replace("_", " "))
        accuracy, minimum = tests.after.accuracy, chosen.min_accuracy
        result = RetrainResult(
            test_accuracy=accuracy,
            test_count=tests.after.count,
            test_interval=tests.after.interval,
            validation_accuracy=tests.validation.accuracy,
            labels=label_figures(inputs, tests.after),
            averages=label_averages(tests.after),
            forecast=run.forecast,
            calibration=tests.calibration,
            grown=grown,
            module_comparison=comparison,
            skipped=inputs.skipped,
            backbone=describe_backbone(inputs),
            outputs=outputs,
            seconds=clock.seconds,
            cache=inputs.cache,
            misclassified=tests.misclassified,
            cross_validation=_summary(cross),
            min_accuracy=minimum,
            passed=minimum is None or (accuracy is not None and accuracy >= minimum),
            final_layer_only=chosen.final_layer_only,
            example=_example(inputs, tests.rows),
            advice=advice(run),
            unknown=builder.unknown,
            exports=builder.exports,
            fine_tuned=tuned.figures,
            fine_tuning=tuned.sentence,
            usage=_usage(chosen, inputs, fitted, clock),
            split={"by": "names"} if inputs.given_split is None else inputs.given_split.to_dict(),
            confusion=replace(run.measured.figures.confusion, labels=inputs.labels),
            curves=curves(run),
            solver={"asked": chosen.solver, "used": fitted.solver, **fitted.details},
        )
        if chosen.report_path is not None:
            watcher.begin("report", shown(chosen.report_path))
            with clock.stage("photos"):
                found = ahead.result(findings_for_report, frozen, chosen, watcher)
            with clock.stage("report"):
                outputs["report"] = chosen.report_path
                staged = files.stage(chosen.report_path)
                counts = None if found is None else found.counts()
                unseen = unseen_tests(run, found)
                result = replace(result, your_photos=counts, test_without_copies=unseen)
                result = replace(result, report=write_report(staged, result, run, found))
            watcher.end(shown(chosen.report_path))
        else:
            outdated = earlier_report(chosen.output_graph)
            if outdated is not None:
                logger.info("The report of the earlier graph, %s, is removed", outdated)
                files.remove(outdated)
        files.commit(outputs["model_card"], dependent=[chosen.labels_path])
    if tuned.interrupted:
        logger.warning("Interrupted: the written graph has the frozen network")
        raise InterruptedRun(result)
    return result


def _with_frozen_network(options: RetrainOptions, reason: str | None) -> RetrainOptions:
    """Return the options without the preset's fine-tuning where there is a reason against it."""
    if reason is None or options.fine_tune == "none":
        return options
    logger.info("--fine_tune none, as %s", reason)
    return replace(options, fine_tune="none")


def _usage(options: RetrainOptions, inputs: Inputs, fitted: Fitted, clock: Clock) -> Usage:
    """Return the preset of the run and what the next one would take."""
    cache, timing = inputs.cache, None
    if inputs.backbone is not None and not cache["imported"]:
        took = clock.seconds["bottlenecks"]
        timing = Timing(len(inputs.images), cache["hits"], cache["computed"], took)
    solver = options.solver
    if solver != fitted.solver:
        solver = f"{solver}: {fitted.solver}"
    chosen = {**options.to_dict(), "solver": solver}
    return usage(chosen, describe_backbone(inputs)["name"], timing)


def _source(options: RetrainOptions) -> str:
    return shown(options.image_dir or options.manifest or options.import_bottlenecks or "")


def _validation(accuracy: float | None) -> str:
    return "" if accuracy is None else f"validation accuracy {accuracy:.1%}"


def _fit_line(options: RetrainOptions, inputs: Inputs, tests: Tests, solver: str) -> str:
    """Return how the layer was fitted and how good it is on the whole validation split."""
    validation = tests.validation
    images = counted(int(inputs.counts("training").sum()), "image")
    how = f"{options.how_many_training_steps} steps on {images}"
    method = _METHODS.get(solver)
    if method is not None:
        how = f"{method} on {images}"
    if validation.accuracy is None:
        return f"{how}, no validation images"
    return f"{how}, {_validation(validation.accuracy)} (N={validation.count})"


def _example(inputs: Inputs, tested: Iterable[int]) -> str | None:
    """Return an image that the graph can be tried on: the first test image, else the first."""
    found = (inputs.images[row].file for row in chain(tested, range(len(inputs.images))))
    return next((file for file in found if file is not None), None)


def _with_module(
    options: dict[str, Any], tfhub_module: str | None, architecture: str | None
) -> dict[str, Any]:
    """Return the options with the backbone under its one name."""
    named = [name for name in (options.get("module"), tfhub_module, architecture) if name]
    if len(named) > 1:
        raise UsageError(
            f"{named[0]} and {named[1]} both name a backbone; give --module or --architecture once"
        )
    if architecture is not None:
        from tlcli.backbones.resolve import architecture_to_module

        named = [architecture_to_module(architecture, options.get("model_dir"))]
    return {**options, "module": named[0] if named else None}


def _cross_validate(
    inputs: Inputs, options: RetrainOptions, tuned: FineTuning, clock: Clock, watcher: Watcher
) -> CrossValidated | None:
    """Return the accuracy over folds where it is asked for; ``inputs`` are of the frozen network.

    After an interrupt of the fine-tuning there is no time for it.
    """
    if options.cross_validate is None or tuned.interrupted:
        return None
    if options.fine_tune == "none":
        watcher.begin("folds", f"{options.cross_validate} fits")
        cross = cross_validate_fit(inputs, options, watcher, tuned.fitted)
        watcher.end(f"{options.cross_validate} fits, accuracy {cross.result.accuracy:.1%}")
    else:
        seconds = clock.seconds["fine_tuning"]
        logger.info("%s", expected_time(options.cross_validate, tuned, seconds))
        cross = cross_validate_tuned(inputs, options, watcher)
    results.info(
        "Cross-validation over %d folds = %.1f%% (deviation %.1f%%)",
        options.cross_validate,
        cross.result.accuracy * 100,
        cross.result.deviation * 100,
    )
    return cross


def _summary(cross: CrossValidated | None) -> CrossValidationSummary | None:
    if cross is None:
        return None
    found = cross.result
    return CrossValidationSummary(found.folds, found.accuracy, found.deviation)
