"""Graphs of every kind and generation, loaded to label images."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.explanations import GraphExplainer
from tlcli.core.classifier.load_frozen import load_frozen
from tlcli.core.classifier.load_litert import load_litert
from tlcli.core.classifier.load_request import LoadRequest
from tlcli.core.export import model_card
from tlcli.core.export.embedded_card import read_embedded_card
from tlcli.core.export.model_card import ModelCard, card_path
from tlcli.core.images.preprocessing import Channels
from tlcli.core.model_spec.adjacent_files import NAMES as ADJACENT_FILES
from tlcli.core.model_spec.input_spec import InputOverrides
from tlcli.core.model_spec.kinds import ModelKind, kind_of
from tlcli.core.model_spec.labels_file import NAMES as LABELS_FILES
from tlcli.core.model_spec.labels_file import OTHER_NAMES as OTHER_LABELS_FILES
from tlcli.core.model_spec.labels_file import Labels, as_labels
from tlcli.errors import GraphError, StorageError, TlcliError, UsageError
from tlcli.runtime.tensorflow import import_tensorflow
from tlcli.runtime.watchdog import unusable
from tlcli.storage.copies import copy_here
from tlcli.storage.locations import is_url, text_of
from tlcli.storage.packages import Package, pack
from tlcli.system.digests import sha256_file

_log = logging.getLogger("tlcli")

# A graph and its card are read one after the other; a retraining may replace them meanwhile.
_TRIES = 5
# What loads a model in a trial and runs it.
_SOURCES = ("core/classifier", "core/model_spec", "graph", "keras_files", "litert", "runtime")


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
    channel_order: Channels | None = None,
    batch_size: int | None = None,
    trust: bool = False,
    unknown: bool = False,
) -> Classifier:
    """Load a graph with its labels and its preprocessing.

    Args:
        graph: a frozen ``.pb``, a ``.tflite``, ``.keras`` or ``.h5`` file or a SavedModel
            folder, made by anyone.
        labels: a labels file, or the labels; default: the model card's, or those of a
            labels file next to the graph.
        input_layer: where images go in; this and the following are inferred by default.
        output_layer: where scores come out.
        input_height: in pixels.
        input_width: in pixels.
        input_mean: subtracted from pixels of 0..255.
        input_std: what the rest is divided by.
        channel_order: "rgb" or "bgr".
        batch_size: images that run at once; a graph that takes one image only gets one
            at a time in any case.
        trust: run a graph with operations that inference does not need.
        unknown: predictions also say whether an image is like the training images at all; for
            frozen graphs of tlcli.

    Raises:
        GraphError: the graph cannot be read, is not trusted, leaves its input spec open, does not
            fit the labels, or cannot tell unknown images where that is asked for.
        DataError: the labels file cannot be read.
        UsageError: values that cannot work.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"the batch size is {batch_size}; give 1 or more")
    for name, value in (("mean", input_mean), ("std", input_std)):
        if value is not None and not math.isfinite(value):
            raise UsageError(f"the input {name} is {value}; give a number")
    overrides = InputOverrides(
        *(input_layer, output_layer, input_height, input_width, input_mean, input_std),
        channel_order,
    )
    here = _copied(graph) if is_url(graph) else Path(graph)
    if isinstance(labels, (str, Path)) and is_url(labels):
        labels = copy_here(labels)
    request = LoadRequest(here, overrides, batch_size, trust, unknown=unknown)
    for _ in range(_TRIES):
        before = _state(request.graph)
        try:
            classifier = _load_or_explain(request, labels)
        except TlcliError:
            if _state(request.graph) == before:
                raise
            continue
        if _state(request.graph) == before:
            return classifier
        classifier.close()
    return _load_or_explain(request, labels)


def _copied(graph: Path | str) -> Path:
    """Return a copy of a graph in a bucket, with what belongs to it."""
    name = Path(text_of(graph)).name
    try:
        return copy_here(graph, [card_path(Path(name)).name, *LABELS_FILES, f"{name}.txt"])
    except StorageError as error:
        raise GraphError(f"{error}; check --graph") from error


def packed(graph: Path) -> Package:
    """Return a graph with all that `load` may read beside it, for another machine.

    Args:
        graph: as for `load`; of one in a bucket, the copy in the cache is packed.

    Raises:
        GraphError: it cannot be read.
    """
    here = _copied(graph) if is_url(graph) else graph
    beside = (
        *(card_path(here).name, f"{here.stem}.tflite", f"{here.name}.txt"),
        *(*LABELS_FILES, *OTHER_LABELS_FILES, *ADJACENT_FILES),
    )
    try:
        return pack(here, beside)
    except StorageError as error:
        raise GraphError(f"there is no graph at {graph}: {error.reason}; check --graph") from error


def load_untried(
    graph: Path | str,
    *,
    labels: Path | str | Sequence[str] | None = None,
    batch_size: int | None = None,
    **overrides: Any,
) -> Classifier:
    """Load a graph as `load` does, but in this process alone: in the child of a trial.

    Args:
        graph: as for `load`, and so are the others.
        labels: a labels file, or the labels.
        batch_size: images that run at once.
        overrides: the fields of `InputOverrides`.

    Raises:
        TlcliError: as `load`.
    """
    request = LoadRequest(Path(graph), InputOverrides(**overrides), batch_size)
    return _load(request, labels, tried=True)


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


def _load_or_explain(request: LoadRequest, labels: Path | str | Sequence[str] | None) -> Classifier:
    """Load a graph; whatever a damaged one lets Python raise becomes a sentence."""
    try:
        classifier = _load(request, labels)
    except (TlcliError, OSError):
        raise
    except Exception as error:
        raise GraphError(unusable(error, str(request.graph))) from error
    options = {**asdict(request.overrides), "trust": request.trust}
    classifier.explainer = GraphExplainer(classifier, options)
    return classifier


def _load(
    request: LoadRequest, labels: Path | str | Sequence[str] | None, tried: bool = False
) -> Classifier:
    graph = request.graph
    if not graph.exists():
        raise GraphError(f"there is no graph at {graph}; give its path with --graph")
    if not (graph.is_file() or graph.is_dir()):  # a pipe would keep the run waiting
        raise GraphError(f"cannot read {graph}: not a regular file; give a graph file")
    kind = kind_of(graph)
    if kind is ModelKind.KERAS_HUB:
        raise GraphError(
            f"{graph} is a preset of keras-hub, a backbone without labels: retrain on it with "
            f"tlcli retrain --module {graph}"
        )
    if request.overrides.input_std == 0:
        raise UsageError("the input std is 0; pixels cannot be divided by it")
    paths = {graph, graph.with_suffix(".tflite")} if graph.is_file() else set()
    with ThreadPoolExecutor(2, "tlcli-hash") as pool:
        # Both are hashed at once, and while LiteRT is imported.
        begun = {path: pool.submit(sha256_file, path) for path in paths if path.is_file()}

        def digest_of(path: Path) -> str:
            return begun[path].result() if path in begun else sha256_file(path)

        request = _with_card(replace(request, digest_of=digest_of), labels)
        # A card seals what tlcli wrote itself.
        if request.card is None and not request.trust and not tried:
            run_trial = functools.partial(_try, request, kind, labels)
            request = replace(request, run_trial=run_trial)
        if request.unknown and kind is not ModelKind.FROZEN_GRAPH:
            raise request.without_unknown()
        if kind is ModelKind.LITERT:
            return load_litert(request)
        request.run_trial()
        if kind is ModelKind.SAVED_MODEL:
            from tlcli.core.classifier.load_saved_model import load_saved_model

            return load_saved_model(request)
        if kind.is_keras:
            from tlcli.core.classifier.load_keras import load_keras

            return load_keras(request)
        return load_frozen(request)


def _try(request: LoadRequest, kind: ModelKind, labels: Path | str | Sequence[str] | None) -> None:
    """Run a graph in a child process unless it passed before.

    Raises:
        TlcliError: what loading it there raised, or that it does not end well.
    """
    # Imported here: what tlcli wrote itself needs none of it.
    from tlcli.core.classifier.trial import (
        CLASSIFIER_TARGET,
        LITERT_SECONDS,
        TENSORFLOW_SECONDS,
        Trial,
        digest_model,
        require_pass,
    )

    graph, quick = request.graph, kind is ModelKind.LITERT
    try:
        key = digest_model(graph, request.digest_of)
    except OSError as error:
        raise GraphError(f"cannot read {graph}: {error.strerror or error}") from error
    options = asdict(request.overrides) | {"batch_size": request.batch_size}
    given = [*labels] if isinstance(labels, Sequence) and not isinstance(labels, str) else labels
    trial = Trial(
        name=str(graph),
        target=CLASSIFIER_TARGET,
        request={
            "graph": str(graph),
            "litert": quick,
            "options": options | {"labels": str(given) if isinstance(given, Path) else given},
        },
        key=(key, options, None if request.labels is None else len(request.labels.names)),
        sources=_SOURCES,
        seconds=LITERT_SECONDS if quick else TENSORFLOW_SECONDS,
    )
    needs_tensorflow = kind is ModelKind.SAVED_MODEL or kind.is_keras
    require_pass(trial, import_tensorflow if needs_tensorflow else _import_litert)


def _import_litert() -> None:
    with contextlib.suppress(ImportError):
        import ai_edge_litert.interpreter  # noqa: F401 - used when the child has passed it


def _with_card(request: LoadRequest, labels: Path | str | Sequence[str] | None) -> LoadRequest:
    """Return the request with the graph's model card, if it has one, and the labels."""
    graph = request.graph
    card, source = model_card.load_for(graph, request.digest_of), str(card_path(graph))
    embedded = _embedded_card(request, card is not None)
    if card is not None and embedded is not None:
        one, other = ((each.labels, each.input, each.output) for each in (card, embedded))
        if one != other:
            _log.warning("The model card %s is not used: it was changed since.", source)
            card = None
    if card is None:
        card, source = embedded, str(graph)
    given = None if labels is None else as_labels(labels)
    if card is None:
        return replace(request, labels=given)
    if card.input.preprocessing is None:
        raise GraphError(
            f"{graph} holds the final layer alone: it takes bottlenecks, not images; retrain "
            "without --final_layer_only to get a graph that labels images"
        )
    return replace(
        request,
        card=card,
        labels=given or Labels(card.labels, source),
        overrides=_differing(request.overrides, card),
    )


def _embedded_card(request: LoadRequest, checked: bool) -> ModelCard | None:
    """Return the card at the end of a graph file; ``checked`` as for `read_embedded_card`."""
    if not request.graph.is_file():
        return None
    try:
        return read_embedded_card(request.graph, checked)
    except GraphError as error:
        if not request.trust:
            raise
        _log.warning("%s", error)
        return None


def _differing(overrides: InputOverrides, card: ModelCard) -> InputOverrides:
    """Return the overrides without those that repeat the card."""
    preprocessing = card.input.preprocessing or {}
    known: dict[str, Any] = {
        "input_layer": {card.input.name, f"{card.input.name}:0"},
        "output_layer": {card.output, f"{card.output}:0"},
        "input_height": {card.input.height},
        "input_width": {card.input.width},
        "input_mean": {preprocessing.get("mean")},
        "input_std": {preprocessing.get("std")},
        "channel_order": {preprocessing.get("channels", "rgb")},
    }
    same = [
        field.name
        for field in fields(overrides)
        if getattr(overrides, field.name) in known[field.name]
    ]
    return replace(overrides, **dict.fromkeys(same))
