"""LiteRT files, loaded to label images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.load_request import LoadRequest
from tlcli.core.classifier.outputs import choose_output, count_scores, no_scores
from tlcli.core.model_spec.adjacent_files import find_adjacent_files
from tlcli.core.model_spec.facts import ModelFacts
from tlcli.core.model_spec.kinds import ModelKind
from tlcli.core.model_spec.labels_file import count_labels, fitting_labels
from tlcli.core.model_spec.origins import specify
from tlcli.core.model_spec.packed_files import packed_thresholds
from tlcli.errors import GraphError
from tlcli.litert.description import LiteRTDescription, describe_litert
from tlcli.litert.metadata.reading import OWN_VERSION
from tlcli.litert.pool import LiteRTPool

_TYPES = ("float32", "uint8", "int8")


def load_litert(request: LoadRequest, *, mapped: bool = False) -> Classifier:
    """Return the classifier of a LiteRT file; ``mapped`` is as for `LiteRTPool`.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: it cannot be run, takes no images, gives no scores, or has no labels that fit.
    """
    path = request.graph
    if request.card is None:
        description = describe_litert(path)
        _check_task(description, path)
    else:
        description = LiteRTDescription()
    request.run_trial()
    engine = LiteRTPool(path, mapped=mapped, trust=request.trust)
    _check_layers(engine, request)
    _check_takes_images(engine, path)
    _choose_output(engine, description, request)
    count = count_scores(engine.output_shape, path)
    activation = description.activations[engine.output] if description.activations else "softmax"
    if activation == "numbers":
        raise GraphError(no_scores(path))
    labels = fitting_labels(
        request.labels,
        count,
        path,
        pair=activation != "softmax",
        named=description.metadata.labels_files,
    )
    request = replace(request, labels=labels)
    if request.card is not None:
        spec = request.spec_of_card(labels=count, any_batch=True)
    else:
        stated = description.metadata
        own = stated.version == OWN_VERSION
        if own:
            request = replace(request, thresholds=packed_thresholds(path, stated.calibration_files))
        facts = ModelFacts(
            path=path,
            kind=ModelKind.LITERT,
            input=engine.input_name,
            output=engine.output_name,
            shape=engine.input_shape,
            # Our preprocessing gives real numbers, which the engine quantises by itself.
            dtype="float32" if own else engine.input_type,
            scores=count,
            any_batch=True,
            adjacent=find_adjacent_files(path),
            indexed_labels=labels.indexed,
            mean=stated.mean,
            std=stated.std,
            version=stated.version,
            steps=description.steps,
            activation=activation,
        )
        spec = specify(facts, request.overrides)
    return request.classifier(spec, lambda: engine, tensorflow_decoder=False)


def _check_task(description: LiteRTDescription, path: Path) -> None:
    """Refuse what is made for another task than labelling, by its operators."""
    if any("Detection" in name for name in description.operators):
        raise GraphError(f"{path} gives boxes, not labels: it detects objects; give a classifier")


def _check_layers(engine: LiteRTPool, request: LoadRequest) -> None:
    names = [name for name, _ in engine.outputs]
    for option, given, known in (
        ("--input_layer", request.overrides.input_layer, [engine.input_name]),
        ("--output_layer", request.overrides.output_layer, names),
    ):
        if given is not None and given.split(":")[0] not in {each.split(":")[0] for each in known}:
            raise GraphError(
                f"{request.graph} has one input, {engine.input_name!r}, and gives its scores at "
                f"{', '.join(map(repr, names))}; leave {option} {given} out"
            )


def _check_takes_images(engine: LiteRTPool, path: Path) -> None:
    shape, dtype = engine.input_shape, engine.input_type
    channels = 1 if len(shape) == 3 else shape[3] if len(shape) == 4 else 0
    if channels in (1, 3, None) and dtype in _TYPES:
        return
    if len(shape) == 4 and shape[1] in (1, 3) and dtype in _TYPES:
        raise GraphError(
            f"{path} takes {list(shape)}, channels first; export it with channels last"
        )
    if channels in (1, 3, None):
        raise GraphError(
            f"{path} takes images as {dtype}; export it with an input of float32, uint8 or int8"
        )
    raise GraphError(
        f"{path} takes {dtype} {[size or '?' for size in shape]}, no images of one or three "
        "channels; give another graph"
    )


def _choose_output(
    engine: LiteRTPool, description: LiteRTDescription, request: LoadRequest
) -> None:
    """Take the output that gives the scores, where there are several."""
    wanted = request.overrides.output_layer
    if wanted is not None:
        names = [name.split(":")[0] for name, _ in engine.outputs]
        engine.use_output(names.index(wanted.split(":")[0]))
        return
    if len(engine.outputs) == 1 or not description.activations:
        return
    sizes = [shape[-1] if shape else None for _, shape in engine.outputs]
    labels = count_labels(request.labels, request.graph)
    index = choose_output(description.activations, sizes, labels)
    if index is None:
        listed = ", ".join(repr(name) for name, _ in engine.outputs)
        raise GraphError(
            f"cannot tell which output of {request.graph} gives the scores ({listed}); name it "
            "with --output_layer"
        )
    engine.use_output(index)
