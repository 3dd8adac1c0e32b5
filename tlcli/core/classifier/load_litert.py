"""LiteRT files, made ready to label images."""

from __future__ import annotations

from pathlib import Path

from tlcli.core.classifier.assembly import LITERT_BATCH, preprocessing_for
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.input_spec import InputOverrides, Scaling, override_scaling, scaling_of
from tlcli.core.classifier.labels_file import Labels, fitting_labels
from tlcli.core.export.model_card import ModelCard
from tlcli.errors import GraphError
from tlcli.litert.pool import LiteRTPool

# What LiteRT files of whole numbers take is 0..255, or that less 128.
_RAW = {"uint8": Scaling(0.0, 1.0), "int8": Scaling(128.0, 1.0)}


def is_litert(graph: Path) -> bool:
    """Return whether a file is a LiteRT model, by its first bytes or its name.

    Raises:
        GraphError: it cannot be read.
    """
    try:
        with graph.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise GraphError(f"cannot read {graph}: {error.strerror or error}") from error
    return head[4:8] == b"TFL3" or graph.suffix == ".tflite"


def load_litert(
    path: Path,
    labels: Labels | None,
    card: ModelCard | None,
    options: InputOverrides,
    batch_size: int | None,
    mapped: bool = False,
    trust: bool = False,
) -> Classifier:
    """Return what labels images by a LiteRT file.

    Args:
        path: the file.
        labels: None takes those that lie beside it.
        card: its model card, if it has one that holds.
        options: what the card does not say.
        batch_size: images at a time; None chooses.
        mapped: see `LiteRTPool`.
        trust: see `LiteRTPool`.

    Raises:
        GraphError: it cannot be run, takes no images, or has no labels that fit.
    """
    engine = LiteRTPool(path, mapped=mapped, trust=trust)
    name, dtype = engine.input_name, engine.input_type
    _check_layers(engine, options, path)
    shape = engine.input_shape
    if len(shape) != 4 or shape[3] not in (3, None) or dtype not in ("float32", *_RAW):
        raise GraphError(
            f"{path} takes {dtype} {list(shape)}, no images of three colours; give another graph"
        )
    height = shape[1] if options.input_height is None else options.input_height
    width = shape[2] if options.input_width is None else options.input_width
    if height is None or width is None:
        raise GraphError(
            f"{path} does not say how large its images are; give --input_height and --input_width"
        )
    count = engine.output_shape[-1] if engine.output_shape else None
    labels = fitting_labels(labels, count, path)
    if card is not None:
        preprocessing = preprocessing_for(card, height, width, Scaling(0.0, 255.0), options)
    else:
        scaling = _RAW.get(dtype) or scaling_of(_plain_name(name))
        scaling = override_scaling(scaling, options, f"{path} takes its images at {name!r}")
        preprocessing = preprocessing_for(None, height, width, scaling, options)
    return Classifier(
        graph=path,
        labels=labels.names,
        preprocessing=preprocessing,
        engine=engine,
        batch_size=LITERT_BATCH if batch_size is None else batch_size,
        # With a card the values are real numbers, which the engine quantises by itself.
        dtype="float32" if card is not None else dtype,
    )


def _plain_name(name: str) -> str:
    """Return the node's name: converters write "serving_default_image:0" for ``image``."""
    return name.split(":")[0].removeprefix("serving_default_")


def _check_layers(engine: LiteRTPool, options: InputOverrides, path: Path) -> None:
    name, output = engine.input_name, engine.output_name
    for option, wanted, only in (
        ("--input_layer", options.input_layer, name),
        ("--output_layer", options.output_layer, output),
    ):
        if wanted is not None and wanted.split(":")[0] != only.split(":")[0]:
            raise GraphError(
                f"{path} has one input, {name!r}, and gives its scores at {output!r}; "
                f"leave {option} {wanted} out"
            )
