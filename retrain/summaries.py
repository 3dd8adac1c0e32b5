"""What a run writes for TensorBoard, with the originals' tags and at their steps."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import numpy as np

from retrain.inputs import Inputs
from retrain.options import RetrainOptions
from tlcli.core.final_layer.sgd import FinalLayer, Samples, StepStatistics
from tlcli.progress import Progress

if TYPE_CHECKING:
    from retrain.testing import Tests
    from tlcli.report.tensorboard import Kind, Summaries

# A picture has three pixels a label at least; of 10,000 labels it would take gigabytes.
PICTURE_LABELS = 1000
# What a histogram of activations is of: as many as the originals' batch.
_BATCH = 100


def check_summaries(options: RetrainOptions) -> None:
    """Find out before the work that summaries, where asked for, can be written.

    Raises:
        OutputError: the package for it is not installed.
    """
    if options.summaries_dir is not None:
        from tlcli.report.tensorboard import check_installed

        check_installed()


def open_summaries(options: RetrainOptions) -> AbstractContextManager[Summaries | None]:
    """Return the writer of a run; None where no summaries are wanted.

    Raises:
        OutputError: the folder cannot be written.
    """
    if options.summaries_dir is None:
        return nullcontext()
    from tlcli.report.tensorboard import Summaries

    return Summaries(options.summaries_dir)


def summarise_step(
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
        shown = _some(samples)
        if len(shown):
            summaries.activations(kind, step, layer.logits(shown), layer.probabilities(shown))


def _some(samples: Samples) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return some vectors, evenly over all rows, which lie sorted by label."""
    count = len(samples)
    rows = np.unique(np.linspace(0, max(count - 1, 0), min(count, _BATCH)).astype(np.intp))
    return samples.vectors[rows if samples.rows is None else samples.rows[rows]]


def summarise_result(
    summaries: Summaries,
    inputs: Inputs,
    options: RetrainOptions,
    tests: Tests,
    progress: Progress | None = None,
) -> None:
    """Write the confusion matrices as pictures, and the bottlenecks for the projector.

    There are no pictures of more than `PICTURE_LABELS` labels.

    Raises:
        OutputError: a file cannot be written.
    """
    # The optimum has no steps, and so no curves; its pictures stand at step 0.
    steps = options.how_many_training_steps if options.solver == "sgd" else 0
    last = max(steps - 1, 0)
    for tag, tested in (
        ("confusion_matrix", tests.validation),
        ("confusion_matrix_test", tests.after),
    ):
        if tested.count and len(inputs.labels) <= PICTURE_LABELS:
            summaries.confusion(last, tested.confusion, inputs.labels, tag=tag)
    summaries.projector(
        inputs.vectors,
        [inputs.labels[target] for target in inputs.targets],
        # Points of imported vectors alone have no pictures.
        [image.file for image in inputs.images] if any(i.file for i in inputs.images) else None,
        {"split": inputs.splits, "image": [image.name for image in inputs.images]},
        progress,
    )
