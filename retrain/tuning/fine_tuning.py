"""The fine-tuning of one run: from its inputs and its fitted final layer to better ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from retrain.fitting import Fitted, fit_settings
from retrain.inputs import Inputs
from retrain.options import RetrainOptions
from retrain.testing import results
from tlcli.arrays import Floats
from tlcli.backbone import Backbone
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.fitting.fit_layer import fit_layer
from tlcli.errors import DataError, UsageError
from tlcli.progress import Watcher
from tlcli.text import counted

if TYPE_CHECKING:
    from tlcli.core.fine_tuning.fine_tune import FineTuneData


@dataclass(frozen=True)
class FineTuning:
    """What a run goes on with after a fine-tuning.

    Attributes:
        inputs: with the vectors of the network that is used from now on.
        fitted: with its final layer.
        figures: what was found, as JSON types; None where nothing was fine-tuned.
        sentence: the same for people; empty where nothing was fine-tuned.
    """

    inputs: Inputs
    fitted: Fitted
    figures: dict[str, Any] | None = None
    sentence: str = ""


def check_fine_tuning(options: RetrainOptions, backbone: Backbone | None) -> None:
    """Check before the work that the network of a run can be trained, where that is asked for.

    Raises:
        BackboneError: it cannot.
    """
    if options.fine_tune != "none":
        from tlcli.core.fine_tuning.fine_tune import check_trainable

        check_trainable(backbone)


def fine_tune_fit(
    inputs: Inputs, options: RetrainOptions, fitted: Fitted, watcher: Watcher
) -> FineTuning:
    """Fine-tune the network of a run from its fitted final layer, where that is asked for.

    Raises:
        BackboneError: it cannot be trained.
        DataError: a photo changed meanwhile, or there are no validation images to decide.
        UsageError: an image is an imported vector only.
    """
    if options.fine_tune == "none":
        return FineTuning(inputs, fitted)
    from tlcli.core.fine_tuning.fine_tune import FineTuneSettings, check_trainable, fine_tune
    from tlcli.core.fine_tuning.training import Schedule, Watched

    backbone = check_trainable(inputs.backbone)
    data = _data(inputs)
    if options.fine_tune == "auto" and not len(data.validation):
        raise DataError(
            "--fine_tune auto needs validation images to decide, and there are none; add images, "
            "or use --fine_tune all, which keeps the result"
        )
    schedule = Schedule(seed=options.seed)
    what = f"{schedule.epochs} epochs of {counted(len(data.training), 'image')}"
    watcher.begin("fine-tuning", what)

    def refit(vectors: Floats) -> FinalLayer:
        training, validation = (
            Samples(vectors[inputs.part(split)], inputs.targets[inputs.part(split)])
            for split in ("training", "validation")
        )
        # The solver that was chosen, not the choice again.
        how = replace(fit_settings(inputs, options), solver=fitted.solver)
        return fit_layer(training, validation, inputs.blocks, how).layer

    settings = FineTuneSettings(options.fine_tune, schedule, refit)
    watched = Watched(watcher, watcher.note)
    found = fine_tune(backbone, fitted.layer, data, settings, watched)
    sentence = found.sentence()
    watcher.end(sentence)
    results.info("%s", sentence)
    if not found.kept:
        return FineTuning(inputs, fitted, found.to_dict(), sentence)
    return FineTuning(
        replace(inputs, backbone=found.backbone, vectors=found.vectors),
        replace(fitted, layer=found.layer),
        found.to_dict(),
        sentence,
    )


def _data(inputs: Inputs) -> FineTuneData:
    from tlcli.core.fine_tuning.fine_tune import FineTuneData
    from tlcli.core.fine_tuning.pictures import Photo

    photos = []
    for image, content in zip(inputs.images, inputs.contents, strict=True):
        if image.file is None or content is None:
            raise UsageError(
                f"{image.name} has an imported bottleneck and no image, so the network cannot be "
                "fine-tuned on it; leave --fine_tune out"
            )
        photos.append(Photo(image.file, content))
    return FineTuneData(
        photos,
        np.asarray(inputs.targets, np.intp),
        np.asarray(inputs.rows("training"), np.intp),
        np.asarray(inputs.rows("validation"), np.intp),
        inputs.vectors,
    )
