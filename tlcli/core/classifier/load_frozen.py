"""Frozen graphs, made ready to label images: in LiteRT where that can say them.

What is quickest to start comes first: the LiteRT file that the model card lists, then the
copy that an earlier run kept, then the graph itself.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tlcli.core.classifier.assembly import assemble
from tlcli.core.classifier.classifier import Classifier, Engine
from tlcli.core.classifier.converted_cache import copy_name, find_copy, keep_copy
from tlcli.core.classifier.input_spec import InputOverrides, InputSpec, override_scaling
from tlcli.core.classifier.labels_file import Labels
from tlcli.core.classifier.load_litert import load_litert
from tlcli.core.export.model_card import ModelCard, card_path
from tlcli.errors import GraphError, OutputError
from tlcli.litert.pool import LiteRTPool
from tlcli.runtime.tensorflow import GraphEngine
from tlcli.system.atomic_files import sha256_file
from tlcli.system.digests import Digests

if TYPE_CHECKING:
    from tlcli.core.classifier.input_inference import FrozenGraphSpec

_log = logging.getLogger("tlcli")


def load_frozen(
    path: Path,
    labels: Labels | None,
    card: ModelCard | None,
    options: InputOverrides,
    batch_size: int | None,
    trust: bool,
    digests: Digests,
) -> Classifier:
    """Return what labels images by a frozen graph.

    Args:
        path: the graph.
        labels: None takes those that lie beside it.
        card: its model card, if it has one that holds.
        options: what the card does not say.
        batch_size: images at a time; None chooses.
        trust: run it whatever operations it has.
        digests: of files.

    Raises:
        GraphError: it cannot be read or run, or has no labels that fit.
    """
    if card is not None and options.is_empty:
        litert = _listed_litert(path, card, digests)
        if litert is not None:
            classifier = _try_litert(litert, path, labels, card, batch_size)
            if classifier is not None:
                return classifier
    wants, engine = _frozen_engine(
        path, _with_card(options, card), card is not None, trust, digests
    )
    return assemble(path, wants, lambda: engine, labels, card, options, batch_size)


def _listed_litert(path: Path, card: ModelCard, digests: Digests) -> Path | None:
    """Return the LiteRT file that the card vouches for, when it lies there unchanged."""
    folder = card_path(path).parent
    for name, digest in card.files.items():
        if not name.endswith(".tflite"):
            continue
        place = folder / name
        try:
            if place.is_file() and digests.of(place) == digest:
                return place
        except OSError:
            continue
    return None


def _try_litert(
    litert: Path, path: Path, labels: Labels | None, card: ModelCard, batch_size: int | None
) -> Classifier | None:
    """Return a classifier that answers without importing TensorFlow; None when it cannot be."""
    try:
        classifier = load_litert(litert, labels, card, InputOverrides(), batch_size, mapped=True)
    except GraphError as error:
        _log.debug("%s is not used: %s", litert, error)
        return None
    # The graph that the user gave, not the file that runs in its place.
    classifier.graph = path
    return classifier


def _with_card(options: InputOverrides, card: ModelCard | None) -> InputOverrides:
    """Return the options, filled with the layers that the card names."""
    if card is None:
        return options
    return replace(
        options,
        input_layer=options.input_layer or card.input.name,
        output_layer=options.output_layer or card.output,
    )


def _frozen_engine(
    path: Path, options: InputOverrides, plain: bool, trust: bool, digests: Digests
) -> tuple[InputSpec, Engine]:
    """Return what a graph wants, and what runs it.

    Args:
        path: the graph.
        options: to examine it with.
        plain: it is one of ours, simple as it stands.
        trust: run it whatever operations it has.
        digests: of files.
    """
    try:
        digest = digests.of(path)
    except OSError as error:
        raise GraphError(f"cannot read {path}: {error.strerror or error}") from error
    name = copy_name(digest, options, plain)
    copy = find_copy(name)
    if copy is not None:
        try:
            engine: Engine = LiteRTPool(copy.model, mapped=True)
        except GraphError as error:
            _log.debug("the copy %s is not used: %s", copy.model, error)
        else:
            # Says again what is only assumed.
            override_scaling(
                copy.scaling, InputOverrides(), f"{path} takes its images at {copy.input!r}"
            )
            return copy, engine
    # Protobuf and all that reads graphs is not needed for a LiteRT file.
    from tlcli.core.classifier.input_inference import infer_spec
    from tlcli.graph.limits import check_sizes
    from tlcli.graph.safety import check_operations, read_graph

    graph = read_graph(path)
    if not trust:
        check_operations(graph, str(path))
    wants = infer_spec(graph, options, str(path))
    if not trust:
        size = (wants.height, wants.width)
        check_sizes(wants.graph, wants.input, [wants.output], size, str(path))
    engine, model = _converted(wants, plain)
    # A copy is run without another look at the graph: only what passed the checks gets one,
    # and only if the file is still what was hashed.
    if model is not None and not trust and sha256_file(path) == digest:
        keep_copy(name, model, wants)
    return wants, engine


def _converted(wants: FrozenGraphSpec, plain: bool) -> tuple[Engine, bytes | None]:
    """Return LiteRT, which starts at once, and its model; TensorFlow for what it cannot say."""
    from tlcli.graph.simplify import simplify
    from tlcli.litert.writer import write_model

    try:
        graph = wants.graph if plain else simplify(wants.graph, wants.input, [wants.output])
        model = write_model(graph, wants.input, wants.output)
        return LiteRTPool(model), model
    except (GraphError, OutputError) as error:
        _log.debug("TensorFlow runs the graph: %s", error)
        return GraphEngine(wants.graph, wants.input, wants.output), None
