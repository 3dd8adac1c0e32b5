"""How a graph is fed with images: preprocessing, its quick reader, how many at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlcli.core.classifier.classifier import Classifier, Engine
from tlcli.core.classifier.input_spec import InputOverrides, InputSpec, Scaling
from tlcli.core.classifier.labels_file import Labels, fitting_labels
from tlcli.core.export.model_card import ModelCard
from tlcli.core.images.decoding import Source
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import DataError, GraphError
from tlcli.litert.pool import LiteRTPool

# TensorFlow gains by batches up to eight images (docs), LiteRT is fastest with one.
TENSORFLOW_BATCH = 8
LITERT_BATCH = 1


def preprocessing_for(
    card: ModelCard | None, height: int, width: int, scaling: Scaling, options: InputOverrides
) -> Preprocessing:
    """Return what the graph was made with: the card's, else that of label_image.py."""
    if card is None or card.input.preprocessing is None:
        return Preprocessing("label_image", height, width, scaling.mean, scaling.std)
    try:
        made = Preprocessing.from_dict(card.input.preprocessing)
    except DataError as error:
        raise GraphError(f"the model card does not fit this version of tlcli: {error}") from error
    return replace(
        made,
        height=made.height if options.input_height is None else options.input_height,
        width=made.width if options.input_width is None else options.input_width,
        mean=made.mean if options.input_mean is None else options.input_mean,
        std=made.std if options.input_std is None else options.input_std,
    )


def assemble(
    graph: Path,
    wants: InputSpec,
    engine: Callable[[], Engine],
    labels: Labels | None,
    card: ModelCard | None,
    options: InputOverrides,
    batch_size: int | None,
) -> Classifier:
    """Return what labels images by a graph that was examined.

    Args:
        graph: its path.
        wants: what was found.
        engine: gives what runs it; called when all else fits, as starting one takes long.
        labels: None takes those that lie beside it.
        card: its model card, if it has one that holds.
        options: what the card does not say.
        batch_size: images at a time; None chooses.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: it cannot be run, or has no labels that fit.
    """
    labels = fitting_labels(labels, wants.labels, graph)
    preprocessing = preprocessing_for(card, wants.height, wants.width, wants.scaling, options)
    runs = engine()
    usual = LITERT_BATCH if isinstance(runs, LiteRTPool) else TENSORFLOW_BATCH
    size = usual if batch_size is None else batch_size
    return Classifier(
        graph=graph,
        labels=labels.names,
        preprocessing=preprocessing,
        engine=runs,
        batch_size=size if wants.any_batch else 1,
        dtype=wants.dtype,
        reader=reader_for(preprocessing),
    )


def reader_for(preprocessing: Preprocessing) -> Callable[[Source], Any] | None:
    """Return what reads images as label_image.py did; None: `Preprocessing.read` does."""
    if preprocessing.name != "label_image":
        return None
    from tlcli.core.images.tensorflow_jpeg import label_image_reader

    return label_image_reader(preprocessing)
