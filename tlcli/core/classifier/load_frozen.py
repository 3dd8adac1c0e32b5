"""Frozen graphs, loaded to label images: in LiteRT where that has all their operations.

What starts fastest comes first: the LiteRT file that the model card lists, then a conversion in
the cache, then the graph itself. Converting a large graph takes longer than anything else that
labelling one image does.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.core.classifier.classifier import Classifier, Engine
from tlcli.core.classifier.load_litert import load_litert
from tlcli.core.classifier.load_request import LoadRequest
from tlcli.core.export.model_card import ModelCard, card_path
from tlcli.core.model_spec.adjacent_files import find_adjacent_files
from tlcli.core.model_spec.facts import ModelFacts
from tlcli.core.model_spec.input_spec import InputOverrides
from tlcli.core.model_spec.kinds import ModelKind
from tlcli.core.model_spec.labels_file import count_labels, fitting_labels
from tlcli.core.model_spec.origins import specify
from tlcli.core.unknown.model import ALL_OUTPUTS
from tlcli.errors import GraphError, OutputError
from tlcli.litert.pool import LiteRTPool
from tlcli.runtime.tensorflow import GraphEngine
from tlcli.system.cache_folders import converted_folder
from tlcli.system.digests import sha256_file
from tlcli.system.file_cache import FileCache

if TYPE_CHECKING:
    from tlcli.core.model_spec.input_inference import FrozenNetwork

_log = logging.getLogger("tlcli")

# What examines, checks, simplifies and converts a graph.
CONVERSION_SOURCES = ("core/classifier", "core/model_spec", "graph", "keras_files", "litert")
# What is stored with a conversion of what its graph shows.
_FACTS = (
    *("input", "output", "shape", "dtype", "scores", "any_batch", "activation", "divided_by"),
    "is_inception",
)


@dataclass(frozen=True)
class ConvertedGraph:
    """A conversion in the cache, and what its graph shows.

    Attributes:
        model: the LiteRT file.
        facts: as the graph's `FrozenNetwork` had them.
    """

    model: Path
    facts: ModelFacts


def load_frozen(request: LoadRequest) -> Classifier:
    """Return the classifier of a frozen graph.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: it cannot be read or run, or has no labels that fit.
    """
    is_plain = request.overrides == InputOverrides() and not request.unknown
    if request.card is not None and is_plain:
        classifier = _listed_litert(request, request.card)
        if classifier is not None:
            return classifier
    facts, engine = _engine(request)
    return classifier_of(request, facts, engine)


def classifier_of(request: LoadRequest, facts: ModelFacts, engine: Engine) -> Classifier:
    """Return the classifier of a graph that was examined and is loaded.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: it has no labels that fit, or its size is unknown.
    """
    if request.card is not None:
        spec = request.spec_of_card(facts.scores, facts.any_batch)
        return request.classifier(spec, lambda: engine)
    pair = facts.activation != "softmax"
    labels = fitting_labels(request.labels, facts.scores, request.graph, pair=pair)
    facts = replace(
        facts, adjacent=find_adjacent_files(request.graph), indexed_labels=labels.indexed
    )
    spec = specify(facts, request.overrides)
    return replace(request, labels=labels).classifier(spec, lambda: engine)


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


def _engine(request: LoadRequest) -> tuple[ModelFacts, Engine]:
    """Return what a graph shows, and what runs it."""
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
    if request.unknown:
        key = (*key, ALL_OUTPUTS)
    converted = find_conversion(key, path)
    if converted is not None:
        try:
            return converted.facts, LiteRTPool(converted.model, mapped=True)
        except GraphError as error:
            _log.debug("the conversion %s is not used: %s", converted.model, error)
    network = frozen_network(replace(request, overrides=overrides))
    engine, model = convert(network, simple)
    # A conversion runs without another look at the graph: only what passed the checks is stored,
    # and only if the file is still the one that was hashed.
    if model is not None and not request.trust and sha256_file(path) == digest:
        store_conversion(key, model, network.facts)
    return network.facts, engine


def frozen_network(request: LoadRequest) -> FrozenNetwork:
    """Return the network of a frozen graph, whose operations and sizes were checked.

    Raises:
        GraphError: it cannot be read, is not trusted, or leaves its input spec open.
    """
    # Protobuf and all that reads graphs is not needed for a LiteRT file.
    from tlcli.core.model_spec.input_inference import examine
    from tlcli.graph import safety
    from tlcli.graph.limits import check_sizes

    path = request.graph
    graph = safety.read_graph(path)
    if not request.trust:
        safety.check_operations(graph, str(path))
    network = examine(graph, request.overrides, path, labels=count_labels(request.labels, path))
    if request.unknown:
        network = _with_unknown(network, graph, request)
    if not request.trust:
        height, width = network.facts.size
        assert height is not None
        assert width is not None
        check_sizes(network.graph, network.input, [network.output], (height, width), str(path))
    return network


def _with_unknown(network: FrozenNetwork, graph: Any, request: LoadRequest) -> FrozenNetwork:
    """Return a network with the unknown score and the similarities in its one output.

    Raises:
        GraphError: the graph has none.
    """
    from tlcli.core.export.unknown_nodes import with_all_outputs

    whole = with_all_outputs(graph, network.output)
    if whole is None:
        raise request.without_unknown()
    return replace(network, graph=whole, output=ALL_OUTPUTS)


def convert(network: FrozenNetwork, simple: bool = False) -> tuple[Engine, bytes | None]:
    """Return what runs a graph, and its LiteRT model where LiteRT runs it.

    Args:
        network: a graph that was examined.
        simple: it has been simplified.

    Returns:
        LiteRT, which starts at once, and its model; TensorFlow and None where LiteRT cannot.
    """
    from tlcli.graph.simplify import simplify
    from tlcli.litert import writer

    graph, ends = network.graph, (network.input, network.output)
    try:
        if not simple:
            graph = simplify(graph, network.input, [network.output])
        model = writer.write_model(graph, *ends)
        return LiteRTPool(model), model
    except (GraphError, OutputError) as error:
        _log.debug("TensorFlow runs the graph: %s", error)
        return GraphEngine(network.graph, *ends), None


def _conversions() -> FileCache:
    return FileCache(converted_folder(), CONVERSION_SOURCES)


def conversion_key(digest: str, overrides: InputOverrides, simple: bool) -> Sequence[Any]:
    """Return the key of a graph's conversion; ``simple`` if it was converted as it is."""
    return (digest, *astuple(overrides), simple)


def find_conversion(key: Sequence[Any], path: Path) -> ConvertedGraph | None:
    """Return the conversion of the graph at ``path``, if there is one in the cache."""
    found = _conversions().find(key)
    if found is None:
        return None
    values = dict(found.facts)
    steps = tuple((kind, np.asarray(value)) for kind, value in values.pop("steps"))
    values["shape"] = tuple(values["shape"])
    facts = ModelFacts(path=path, kind=ModelKind(values.pop("kind")), steps=steps, **values)
    return ConvertedGraph(found.path, facts)


def store_conversion(key: Sequence[Any], model: bytes, facts: ModelFacts) -> None:
    """Keep the LiteRT model of a graph, and what the graph shows, in the cache."""
    values: dict[str, Any] = {name: getattr(facts, name) for name in _FACTS}
    values["kind"] = facts.kind.value
    # Their means alone are looked at.
    values["steps"] = [(kind, float(np.mean(value))) for kind, value in facts.steps]
    _conversions().store(key, values, model)
