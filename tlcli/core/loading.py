"""Graphs of every kind and generation, made ready to label images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tlcli.core.classifier import Classifier
from tlcli.core.digests import Digests
from tlcli.core.feeding import classifier_for
from tlcli.core.frozen_loading import load_frozen
from tlcli.core.input_options import Options
from tlcli.core.labels import Labels, as_labels
from tlcli.core.litert_loading import is_litert, load_litert
from tlcli.core.model_card import ModelCard, card_path, load_for
from tlcli.core.seal import read_seal
from tlcli.errors import GraphError, TlcliError, UsageError

_log = logging.getLogger("tlcli")

# A graph and its card are read one after the other: not while a retraining replaces them.
_TRIES = 5


def load_classifier(
    graph: Path,
    labels: Path | str | Sequence[str] | None,
    options: Options,
    batch_size: int | None,
    trust: bool,
) -> Classifier:
    """Load a graph; arguments and errors as `tlcli.core.classifier.load` has them."""
    for _ in range(_TRIES):
        before = _state(graph)
        try:
            classifier = _load(graph, labels, options, batch_size, trust)
        except TlcliError:
            if _state(graph) == before:
                raise
            continue
        if _state(graph) == before:
            return classifier
        classifier.close()
    return _load(graph, labels, options, batch_size, trust)


def _state(graph: Path) -> list[tuple[int, ...]]:
    """Return what changes when a retraining replaces the graph, or its card."""
    found: list[tuple[int, ...]] = []
    for path in (graph, card_path(graph)):
        try:
            state = path.stat()
        except OSError:
            found.append(())
        else:
            found.append((state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))
    return found


def _load(
    graph: Path,
    labels: Path | str | Sequence[str] | None,
    options: Options,
    batch_size: int | None,
    trust: bool,
) -> Classifier:
    if not graph.exists():
        raise GraphError(f"there is no graph at {graph}; give its place with --graph")
    if not (graph.is_file() or graph.is_dir()):  # a pipe would keep the run waiting
        raise GraphError(f"cannot read {graph}: not a regular file; give a graph file")
    if options.input_std == 0:
        raise UsageError("the input std is 0; pixels cannot be divided by it")
    digests = Digests()
    try:
        if graph.is_file():
            # Both are hashed while the other is, and while LiteRT is imported.
            digests.begin(graph)
            digests.begin(graph.with_suffix(".tflite"))
        return _load_hashed(graph, labels, options, batch_size, trust, digests)
    finally:
        digests.close()


def _load_hashed(
    graph: Path,
    labels: Path | str | Sequence[str] | None,
    options: Options,
    batch_size: int | None,
    trust: bool,
    digests: Digests,
) -> Classifier:
    card, source = load_for(graph, digests.of), str(card_path(graph))
    sealed = _sealed(graph, trust, card is not None) if graph.is_file() else None
    if card is not None and sealed is not None and not _agree(card, sealed):
        _log.warning("The model card %s is not used: it was changed since.", source)
        card = None
    if card is None:
        card, source = sealed, str(graph)
    given = None if labels is None else as_labels(labels)
    if card is not None:
        options = _beyond(card, options)
        if given is None:
            given = Labels(card.labels, source)
        if card.input.preprocessing is None:
            raise GraphError(
                f"{graph} holds the final layer alone: it takes bottlenecks, not images; retrain "
                "without --final_layer_only to get a graph that labels images"
            )
    if graph.is_dir():
        return _load_saved_model(graph, given, card, options, batch_size, trust)
    if is_litert(graph):
        return load_litert(graph, given, card, options, batch_size, trust=trust)
    return load_frozen(graph, given, card, options, batch_size, trust, digests)


def _agree(card: ModelCard, sealed: ModelCard) -> bool:
    return (card.labels, card.input, card.output) == (sealed.labels, sealed.input, sealed.output)


def _sealed(graph: Path, trust: bool, checked: bool) -> ModelCard | None:
    try:
        return read_seal(graph, checked)
    except GraphError as error:
        if not trust:
            raise
        _log.warning("%s", error)
        return None


def _beyond(card: ModelCard, options: Options) -> Options:
    """Return the options without those that say what the card says too."""
    known: dict[str, Any] = {
        "input_layer": {card.input.name, f"{card.input.name}:0"},
        "output_layer": {card.output, f"{card.output}:0"},
        "input_height": {card.input.height},
        "input_width": {card.input.width},
        "input_mean": {(card.input.preprocessing or {}).get("mean")},
        "input_std": {(card.input.preprocessing or {}).get("std")},
    }
    same = [
        field.name for field in fields(options) if getattr(options, field.name) in known[field.name]
    ]
    return replace(options, **dict.fromkeys(same))


def _load_saved_model(
    folder: Path,
    labels: Labels | None,
    card: ModelCard | None,
    options: Options,
    batch_size: int | None,
    trust: bool,
) -> Classifier:
    from tlcli.core.graph_safety import check_saved_model
    from tlcli.core.saved_model_engine import SavedModelEngine, examine_saved_model

    if not trust:
        check_saved_model(folder)
    wants = examine_saved_model(folder, options)
    return classifier_for(
        folder,
        wants,
        lambda: SavedModelEngine(folder, wants),
        labels,
        card,
        options,
        batch_size,
    )
