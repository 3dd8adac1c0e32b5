"""The fine-tuning of one run: from its inputs and its fitted final layer to better ones."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from retrain.arguments.options import RetrainOptions
from retrain.fitting import Fitted, fit_settings, samples
from retrain.inputs import Inputs
from tlcli.arrays import Floats
from tlcli.backbone import Backbone, FeatureBlock
from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.fitting.fit_layer import fit_layer, validation_temperature
from tlcli.core.fitting.held_out_temperature import cooled
from tlcli.errors import DataError, UsageError
from tlcli.progress import Watcher
from tlcli.text import counted

if TYPE_CHECKING:
    from retrain.result import RetrainResult
    from tlcli.core.fine_tuning.fine_tune import FineTuneData
    from tlcli.core.fine_tuning.fine_tuned import FineTuned

logger = logging.getLogger("tlcli")


class InterruptedRun(KeyboardInterrupt):
    """Ctrl-C ended the fine-tuning of a run, whose outputs contain the frozen network.

    Args:
        result: of the run.
    """

    def __init__(self, result: RetrainResult) -> None:
        super().__init__()
        self.result = result


@dataclass(frozen=True)
class FineTuning:
    """What a run goes on with after a fine-tuning.

    Attributes:
        inputs: with the vectors of the network that is used from now on.
        fitted: with its final layer.
        figures: what was found, as JSON types; None where nothing was fine-tuned.
        sentence: the same for people; empty where nothing was fine-tuned.
        interrupted: the user ended the fine-tuning, and the frozen network is used.
    """

    inputs: Inputs
    fitted: Fitted
    figures: dict[str, Any] | None = None
    sentence: str = ""
    interrupted: bool = False

    @property
    def kept(self) -> bool:
        """Whether the network is another one now."""
        return self.figures is not None and bool(self.figures["kept"])


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

    Of joined backbones the first is fine-tuned, and its logits are averaged with those of all
    frozen ones. An interrupt leaves the frozen network.

    Raises:
        BackboneError: it cannot be trained.
        DataError: a photo changed meanwhile, or there are no validation images to decide.
        UsageError: an image is an imported vector only.
    """
    if options.fine_tune == "none":
        return FineTuning(inputs, fitted)
    from tlcli.core.fine_tuning.fine_tune import check_trainable

    check_trainable(inputs.backbone)
    if options.fine_tune == "auto" and not inputs.counts("validation").any():
        raise DataError(
            "--fine_tune auto needs validation images to decide, and there are none; add images, "
            "or use --fine_tune all, which keeps the result"
        )
    images = counted(int(inputs.counts("training").sum()), "image")
    watcher.begin("fine-tuning", images)
    try:
        found = _fine_tuned(inputs, options, fitted, watcher)
    except KeyboardInterrupt:
        sentence = "Fine-tuning interrupted; the frozen network is used"
        watcher.end(sentence)
        figures = {"kept": False, "before": None, "after": None, "interrupted": True}
        return FineTuning(inputs, fitted, figures, sentence, interrupted=True)
    sentence = found.sentence()
    watcher.end(sentence)
    if not found.kept:
        return FineTuning(inputs, fitted, found.to_dict(), sentence)
    assert inputs.backbone is not None
    backbone, blocks, untrained = found.backbone, inputs.blocks, fitted.untrained
    if inputs.backbone.parts:
        backbone, blocks = _beside_frozen(inputs.backbone, found.backbone)
        added = np.zeros((len(found.layer.weights) - len(untrained.weights), len(inputs.labels)))
        weights = np.concatenate([added.astype(np.float32), untrained.weights])
        untrained = FinalLayer(weights, untrained.biases)
    inputs = replace(inputs, backbone=backbone, vectors=found.vectors, blocks=blocks)
    temperature = _temperature(inputs, options, fitted.solver, found.layer)
    layer = cooled(found.layer, temperature)
    return FineTuning(
        inputs,
        replace(fitted, layer=layer, untrained=untrained, temperature=temperature),
        found.to_dict(),
        sentence,
    )


def _temperature(inputs: Inputs, options: RetrainOptions, solver: str, layer: FinalLayer) -> float:
    """Return what to divide the scores of a fine-tuned network by."""
    settings = replace(fit_settings(inputs, options), solver=solver)
    training, validation = samples(inputs, "training"), samples(inputs, "validation")
    return validation_temperature(layer, training, validation, settings)


def _fine_tuned(
    inputs: Inputs, options: RetrainOptions, fitted: Fitted, watcher: Watcher
) -> FineTuned:
    from tlcli.core.fine_tuning.fine_tune import (
        FineTuneSettings,
        Partner,
        check_trainable,
        fine_tune,
        tuned_part,
    )
    from tlcli.core.fine_tuning.training import Schedule, Watched

    backbone = check_trainable(inputs.backbone)
    part, data, blocks, layer = tuned_part(backbone), _data(inputs), inputs.blocks, fitted.layer

    def refit(vectors: Floats) -> FinalLayer:
        training, validation = (
            Samples(vectors[inputs.part(split)], inputs.targets[inputs.part(split)])
            for split in ("training", "validation")
        )
        # The solver that was chosen, not the choice again.
        how = replace(fit_settings(inputs, options), solver=fitted.solver, temperature=1.0)
        return fit_layer(training, validation, blocks, how).layer

    if backbone.parts:
        blocks = inputs.blocks[: len(part.blocks) or 1]
        own = data.vectors[:, : sum(block.size for block in blocks)]
        data = replace(data, vectors=own, partner=Partner(fitted.layer, inputs.vectors))
        layer = refit(own)
    settings = FineTuneSettings(options.fine_tune, Schedule(seed=options.seed), refit)
    return fine_tune(part, layer, data, settings, Watched(watcher, watcher.note))


def _beside_frozen(
    backbone: Backbone, tuned: Backbone
) -> tuple[Backbone, tuple[FeatureBlock, ...]]:
    """Return a fine-tuned part joined to all frozen ones, and the blocks of its vectors."""
    from tlcli.backbones.layers.joined import join

    first = replace(tuned, name=f"fine-tuned {tuned.name}")
    frozen = [replace(part, bfloat16=None, int8=False) for part in backbone.parts]
    found = join([first, *frozen])
    return replace(found, name=backbone.name), found.blocks


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
