"""Frozen graphs, loaded to label images: in LiteRT where that has all their operations.

What starts fastest comes first: the LiteRT file that the model card lists, then a conversion in
the cache, then the graph itself. Converting a large graph takes longer than anything else that
labelling one image does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.core.classifier.classifier import Classifier, Engine
from tlcli.core.classifier.input_spec import InputOverrides, InputSpec, Scaling, override_scaling
from tlcli.core.classifier.load_litert import load_litert
from tlcli.core.classifier.load_request import LoadRequest
from tlcli.core.export.model_card import ModelCard, card_path
from tlcli.errors import GraphError, OutputError
from tlcli.litert.pool import LiteRTPool
from tlcli.runtime.tensorflow import GraphEngine
from tlcli.system.atomic_files import sha256_file
from tlcli.system.cache_folders import converted_folder
from tlcli.system.file_cache import FileCache

if TYPE_CHECKING:
    from tlcli.core.classifier.input_inference import FrozenGraphSpec

_log = logging.getLogger("tlcli")

# What examines, checks, simplifies and converts a graph.
CONVERSION_SOURCES = ("core/classifier", "graph", "litert")


@dataclass(frozen=True)
class ConvertedGraph(InputSpec):
    """A conversion in the cache, and the input spec of its graph.

    Attributes:
        model: the LiteRT file.
        input: name of the graph's Placeholder.
    """

    model: Path
    input: str


def load_frozen(request: LoadRequest) -> Classifier:
    """Return the classifier of a frozen graph.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: it cannot be read or run, or has no labels that fit.
    """
    if request.card is not None and request.overrides == InputOverrides():
        classifier = _listed_litert(request, request.card)
        if classifier is not None:
            return classifier
    spec, engine = _engine(request)
    return request.classifier(spec, lambda: engine)


def _listed_litert(request: LoadRequest, card: ModelCard) -> Classifier | None:
    """Return a classifier by the LiteRT file that the card lists, if that is unchanged."""
    for name, digest in card.files.items():
        path = card_path(request.graph).parent / name
        try:
            if not (name.endswith(".tflite") and path.is_file()):
                continue
            if request.digest_of(path) != digest:
                continue
        except OSError:
            continue
        try:
            classifier = load_litert(replace(request, graph=path, trust=False), mapped=True)
        except GraphError as error:
            _log.debug("%s is not used: %s", path, error)
            return None
        # The graph that the user gave, not the file that runs in its place.
        classifier.graph = request.graph
        return classifier
    return None


def _engine(request: LoadRequest) -> tuple[InputSpec, Engine]:
    """Return the input spec of a graph, and what runs it."""
    path, overrides, card = request.graph, request.overrides, request.card
    if card is not None:
        overrides = replace(
            overrides,
            input_layer=overrides.input_layer or card.input.name,
            output_layer=overrides.output_layer or card.output,
        )
    try:
        digest = request.digest_of(path)
    except OSError as error:
        raise GraphError(f"cannot read {path}: {error.strerror or error}") from error
    simple = card is not None  # our own graphs are simple as they are
    key = conversion_key(digest, overrides, simple)
    conversion = find_conversion(key)
    if conversion is not None:
        try:
            engine: Engine = LiteRTPool(conversion.model, mapped=True)
        except GraphError as error:
            _log.debug("the conversion %s is not used: %s", conversion.model, error)
        else:
            # Logs again what is only assumed.
            override_scaling(
                conversion.scaling,
                InputOverrides(),
                f"{path} takes its images at {conversion.input!r}",
            )
            return conversion, engine
    # Protobuf and all that reads graphs is not needed for a LiteRT file.
    from tlcli.core.classifier.input_inference import infer_spec
    from tlcli.graph import safety
    from tlcli.graph.limits import check_sizes

    graph = safety.read_graph(path)
    if not request.trust:
        safety.check_operations(graph, str(path))
    spec = infer_spec(graph, overrides, str(path))
    if not request.trust:
        size = (spec.height, spec.width)
        check_sizes(spec.graph, spec.input, [spec.output], size, str(path))
    engine, model = _convert(spec, simple)
    # A conversion runs without another look at the graph: only what passed the checks is stored,
    # and only if the file is still the one that was hashed.
    if model is not None and not request.trust and sha256_file(path) == digest:
        _store_conversion(key, model, spec)
    return spec, engine


def _convert(spec: FrozenGraphSpec, simple: bool) -> tuple[Engine, bytes | None]:
    """Return LiteRT, which starts at once, and its model; TensorFlow where LiteRT cannot."""
    from tlcli.graph.simplify import simplify
    from tlcli.litert import writer

    try:
        graph = spec.graph if simple else simplify(spec.graph, spec.input, [spec.output])
        model = writer.write_model(graph, spec.input, spec.output)
        return LiteRTPool(model), model
    except (GraphError, OutputError) as error:
        _log.debug("TensorFlow runs the graph: %s", error)
        return GraphEngine(spec.graph, spec.input, spec.output), None


def _conversions() -> FileCache:
    return FileCache(converted_folder(), CONVERSION_SOURCES)


def conversion_key(digest: str, overrides: InputOverrides, simple: bool) -> Sequence[Any]:
    """Return the key of a graph's conversion; ``simple`` if it was converted as it is."""
    return (digest, *astuple(overrides), simple)


def find_conversion(key: Sequence[Any]) -> ConvertedGraph | None:
    """Return the conversion of a graph, if there is one in the cache."""
    found = _conversions().find(key)
    if found is None:
        return None
    facts = found.facts | {"scaling": Scaling(**found.facts["scaling"])}
    return ConvertedGraph(model=found.path, **facts)


def _store_conversion(key: Sequence[Any], model: bytes, spec: FrozenGraphSpec) -> None:
    names = ("input", "height", "width", "dtype", "labels", "any_batch")
    facts = {name: getattr(spec, name) for name in names}
    _conversions().store(key, facts | {"scaling": asdict(spec.scaling)}, model)
