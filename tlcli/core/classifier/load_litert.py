"""LiteRT files, loaded to label images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.input_spec import InputSpec, Scaling, override_scaling, scaling_of
from tlcli.core.classifier.labels_file import fitting_labels
from tlcli.core.classifier.load_request import LoadRequest
from tlcli.errors import GraphError
from tlcli.litert.pool import LiteRTPool

# Integer LiteRT files take 0..255, or that less 128.
_INTEGERS = {"uint8": Scaling(0.0, 1.0), "int8": Scaling(128.0, 1.0)}


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


def load_litert(request: LoadRequest, *, mapped: bool = False) -> Classifier:
    """Return the classifier of a LiteRT file; ``mapped`` is as for `LiteRTPool`.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: it cannot be run, takes no images, or has no labels that fit.
    """
    path, overrides = request.graph, request.overrides
    engine = LiteRTPool(path, mapped=mapped, trust=request.trust)
    _check_layers(engine, request)
    name, dtype, shape = engine.input_name, engine.input_type, engine.input_shape
    if len(shape) != 4 or shape[3] not in (3, None) or dtype not in ("float32", *_INTEGERS):
        raise GraphError(
            f"{path} takes {dtype} {list(shape)}, no images of three colours; give another graph"
        )
    height = shape[1] if overrides.input_height is None else overrides.input_height
    width = shape[2] if overrides.input_width is None else overrides.input_width
    if height is None or width is None:
        raise GraphError(
            f"{path} does not say how large its images are; give --input_height and --input_width"
        )
    count = engine.output_shape[-1] if engine.output_shape else None
    request = replace(request, labels=fitting_labels(request.labels, count, path))
    if request.card is not None:
        # Its preprocessing gives real numbers, which the engine quantises by itself.
        scaling, dtype = Scaling(0.0, 255.0), "float32"
    else:
        # Converters write "serving_default_image:0" for the node ``image``.
        node = name.split(":")[0].removeprefix("serving_default_")
        scaling = _INTEGERS.get(dtype) or scaling_of(node)
        scaling = override_scaling(scaling, overrides, f"{path} takes its images at {name!r}")
    spec = InputSpec(height, width, scaling, dtype, count, any_batch=True)
    return request.classifier(spec, lambda: engine, tensorflow_decoder=False)


def _check_layers(engine: LiteRTPool, request: LoadRequest) -> None:
    name, output = engine.input_name, engine.output_name
    for option, given, only in (
        ("--input_layer", request.overrides.input_layer, name),
        ("--output_layer", request.overrides.output_layer, output),
    ):
        if given is not None and given.split(":")[0] != only.split(":")[0]:
            raise GraphError(
                f"{request.graph} has one input, {name!r}, and gives its scores at {output!r}; "
                f"leave {option} {given} out"
            )
