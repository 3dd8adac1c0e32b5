"""The cross-validation of a run: accuracy over K folds of all images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from retrain.arguments.options import RetrainOptions
from retrain.fitting import Fitted, fit_settings
from retrain.inputs import Inputs
from tlcli.core.data.splits import sort_key
from tlcli.core.evaluation.metrics import CrossValidation, assign_folds, cross_validate
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.fitting.fit_layer import fit_layer
from tlcli.progress import Progress


@dataclass(frozen=True)
class CrossValidated:
    """Accuracy over K folds of all images.

    Attributes:
        result: with the images in the order of their names.
        rows: row in the inputs of each of these images, [N].
    """

    result: CrossValidation
    rows: npt.NDArray[np.intp]


def cross_validate_fit(
    inputs: Inputs,
    options: RetrainOptions,
    progress: Progress | None = None,
    fitted: Fitted | None = None,
) -> CrossValidated:
    """Measure accuracy over K folds of all images, each fitted as the final layer is.

    Args:
        inputs: of the run.
        options: of the run.
        progress: notified of each fold.
        fitted: the final layer, whose temperature the folds' layers take, as their own would
            hardly be another; None: each chooses its own.

    Raises:
        UsageError: there are more folds than a label has images.
    """
    settings = fit_settings(inputs, options)
    if fitted is not None and settings.temperature is None:
        settings = replace(settings, temperature=fitted.temperature)
    rows_by_name, fold_of = assigned_folds(inputs, options)

    def fit_fold(training: Samples) -> FinalLayer:
        return fit_layer(training, None, inputs.blocks, settings).layer

    samples_by_name = Samples(inputs.vectors, inputs.targets[rows_by_name], rows_by_name)
    views = None
    if len(inputs.views):
        place = np.empty_like(rows_by_name)
        place[rows_by_name] = np.arange(len(place))
        views = Samples(
            inputs.views, inputs.targets[inputs.view_rows], groups=place[inputs.view_rows]
        )
    result = cross_validate(samples_by_name, fold_of, fit_fold, views=views, progress=progress)
    return CrossValidated(result, rows_by_name)


def assigned_folds(
    inputs: Inputs, options: RetrainOptions
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the rows of all images in the order of their names, and the fold of each, [N].

    Raises:
        UsageError: there are more folds than a label has images.
    """
    assert options.cross_validate is not None
    # In the order of names, so that folds do not depend on the split.
    names = [image.name for image in inputs.images]
    order = sorted(range(len(names)), key=lambda row: (sort_key(names[row]), names[row]))
    rows_by_name = np.array(order, np.intp)
    fold_of = assign_folds(
        inputs.targets[rows_by_name],
        [inputs.contents[row] or names[row] for row in order],
        options.cross_validate,
        seed=options.seed,
        label_names=inputs.labels,
    )
    return rows_by_name, fold_of
