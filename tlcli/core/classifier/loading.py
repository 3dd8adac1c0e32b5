"""Graphs of every kind and generation, made ready to label images."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tlcli.core.classifier.assembly import assemble
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.input_spec import InputOverrides
from tlcli.core.classifier.labels_file import Labels, as_labels
from tlcli.core.classifier.load_frozen import load_frozen
from tlcli.core.classifier.load_litert import is_litert, load_litert
from tlcli.core.export.embedded_card import read_embedded_card
from tlcli.core.export.model_card import ModelCard, card_path, load_for
from tlcli.errors import GraphError, TlcliError, UsageError
from tlcli.system.digests import Digests

_log = logging.getLogger("tlcli")

# A graph and its card are read one after the other: not while a retraining replaces them.
_TRIES = 5


def load_classifier(
    graph: Path,
    labels: Path | str | Sequence[str] | None,
    options: InputOverrides,
    batch_size: int | None,
    trust: bool,
) -> Classifier:
    """Load a graph; arguments and errors as `tlcli.core.classifier.classifier.load` has them."""
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
    options: InputOverrides,
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
    options: InputOverrides,
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
        return read_embedded_card(graph, checked)
    except GraphError as error:
        if not trust:
            raise
        _log.warning("%s", error)
        return None


def _beyond(card: ModelCard, options: InputOverrides) -> InputOverrides:
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
    options: InputOverrides,
    batch_size: int | None,
    trust: bool,
) -> Classifier:
    from tlcli.core.classifier.load_saved_model import SavedModelEngine, infer_saved_model_spec
    from tlcli.graph.safety import check_saved_model

    if not trust:
        check_saved_model(folder)
    wants = infer_saved_model_spec(folder, options)
    return assemble(
        folder,
        wants,
        lambda: SavedModelEngine(folder, wants),
        labels,
        card,
        options,
        batch_size,
    )


def load(
    graph: Path | str,
    *,
    labels: Path | str | Sequence[str] | None = None,
    input_layer: str | None = None,
    output_layer: str | None = None,
    input_height: int | None = None,
    input_width: int | None = None,
    input_mean: float | None = None,
    input_std: float | None = None,
    batch_size: int | None = None,
    trust: bool = False,
) -> Classifier:
    """Load a graph with its labels and its preprocessing.

    Args:
        graph: a frozen ``.pb``, a ``.tflite`` file or a SavedModel folder, made by anyone.
        labels: a labels file, or the labels; default: the model card's, or those of a
            labels file beside the graph.
        input_layer: where images go in; this and the following are inferred by default.
        output_layer: where scores come out.
        input_height: in pixels.
        input_width: in pixels.
        input_mean: taken off pixels of 0..255.
        input_std: what the rest is divided by.
        batch_size: images that run at once; a graph that takes one image only is fed one
            at a time whatever this says.
        trust: run a graph with operations that inference does not need.

    Raises:
        GraphError: the graph cannot be read, is not trusted, does not say what it wants, or
            does not fit the labels.
        DataError: the labels file cannot be read.
        UsageError: values that cannot work.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"the batch size is {batch_size}; give 1 or more")
    for name, value in (("mean", input_mean), ("std", input_std)):
        if value is not None and not math.isfinite(value):
            raise UsageError(f"the input {name} is {value}; give a number")
    options = InputOverrides(
        input_layer, output_layer, input_height, input_width, input_mean, input_std
    )
    return load_classifier(Path(graph), labels, options, batch_size, trust)
