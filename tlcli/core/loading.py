"""Graphs of every kind and generation, made ready to label images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.core.classifier import Classifier, Engine
from tlcli.core.converted_graphs import ConvertedGraph, copy_name, find_copy, keep_copy
from tlcli.core.decoding import Source
from tlcli.core.digests import Digests
from tlcli.core.engines import GraphEngine
from tlcli.core.files import sha256_file
from tlcli.core.images import Preprocessing
from tlcli.core.input_options import Options, Scaling, override_scaling, scaling_of
from tlcli.core.labels import Labels, as_labels, find_labels
from tlcli.core.litert_pool import LiteRTPool
from tlcli.core.model_card import ModelCard, card_path, load_for
from tlcli.core.seal import read_seal
from tlcli.errors import DataError, GraphError, OutputError, TlcliError, UsageError

if TYPE_CHECKING:
    from tlcli.core.graph_inference import GraphWants

_log = logging.getLogger("tlcli")

# TensorFlow gains by batches up to eight images (docs), LiteRT is fastest with one.
_TENSORFLOW_BATCH = 8
_LITERT_BATCH = 1

# A graph and its card are read one after the other: not while a retraining replaces them.
_TRIES = 5

# What LiteRT files of whole numbers take is 0..255, or that less 128.
_RAW = {"uint8": Scaling(0.0, 1.0), "int8": Scaling(128.0, 1.0)}


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
    if _is_litert(graph):
        return _load_litert(graph, given, card, options, batch_size, trust=trust)
    return _load_frozen(graph, given, card, options, batch_size, trust, digests)


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


def _preprocessing(
    card: ModelCard | None, height: int, width: int, scaling: Scaling, options: Options
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


def _reader(preprocessing: Preprocessing) -> Callable[[Source], Any] | None:
    if preprocessing.name != "label_image":
        return None
    from tlcli.core.label_image_reader import label_image_reader

    return label_image_reader(preprocessing)


def _is_litert(graph: Path) -> bool:
    try:
        with graph.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise GraphError(f"cannot read {graph}: {error.strerror or error}") from error
    return head[4:8] == b"TFL3" or graph.suffix == ".tflite"


def _load_frozen(
    path: Path,
    labels: Labels | None,
    card: ModelCard | None,
    options: Options,
    batch_size: int | None,
    trust: bool,
    digests: Digests,
) -> Classifier:
    if card is not None and options.is_empty:
        litert = _listed_litert(path, card, digests)
        if litert is not None:
            classifier = _try_litert(litert, path, labels, card, batch_size)
            if classifier is not None:
                return classifier
    wants, engine = _frozen_engine(
        path, _with_card(options, card), card is not None, trust, digests
    )
    labels = labels or find_labels(path)
    if wants.labels is not None:
        labels.check(wants.labels, path)
    preprocessing = _preprocessing(card, wants.height, wants.width, wants.scaling, options)
    usual = _TENSORFLOW_BATCH if isinstance(engine, GraphEngine) else _LITERT_BATCH
    size = usual if batch_size is None else batch_size
    return Classifier(
        graph=path,
        labels=labels.names,
        preprocessing=preprocessing,
        engine=engine,
        batch_size=size if wants.any_batch else 1,
        dtype=wants.dtype,
        reader=_reader(preprocessing),
    )


def _frozen_engine(
    path: Path, options: Options, plain: bool, trust: bool, digests: Digests
) -> tuple[GraphWants | ConvertedGraph, Engine]:
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
            override_scaling(copy.scaling, Options(), f"{path} takes its images at {copy.input!r}")
            return copy, engine
    # Protobuf and all that reads graphs is not needed for a LiteRT file.
    from tlcli.core.graph_inference import examine
    from tlcli.core.graph_limits import check_sizes
    from tlcli.core.graph_safety import check_operations, read_graph

    graph = read_graph(path)
    if not trust:
        check_operations(graph, str(path))
    wants = examine(graph, options, str(path))
    if not trust:
        size = (wants.height, wants.width)
        check_sizes(wants.graph, wants.input, [wants.output], size, str(path))
    engine, model = _converted(wants, plain)
    # A copy is run without another look at the graph: only what passed the checks gets one,
    # and only if the file is still what was hashed.
    if model is not None and not trust and sha256_file(path) == digest:
        keep_copy(name, model, wants)
    return wants, engine


def _converted(wants: GraphWants, plain: bool) -> tuple[Engine, bytes | None]:
    """Return LiteRT, which starts at once, and its model; TensorFlow for what it cannot say."""
    from tlcli.core.graph_surgery import simplify
    from tlcli.core.litert_writer import write_model

    try:
        graph = wants.graph if plain else simplify(wants.graph, wants.input, [wants.output])
        model = write_model(graph, wants.input, wants.output)
        return LiteRTPool(model), model
    except (GraphError, OutputError) as error:
        _log.debug("TensorFlow runs the graph: %s", error)
        return GraphEngine(wants.graph, wants.input, wants.output), None


def _with_card(options: Options, card: ModelCard | None) -> Options:
    """Return the options, filled with the layers that the card names."""
    if card is None:
        return options
    return replace(
        options,
        input_layer=options.input_layer or card.input.name,
        output_layer=options.output_layer or card.output,
    )


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
        classifier = _load_litert(litert, labels, card, Options(), batch_size, mapped=True)
    except GraphError as error:
        _log.debug("%s is not used: %s", litert, error)
        return None
    # The graph that the user gave, not the file that runs in its place.
    classifier.graph = path
    return classifier


def _load_litert(
    path: Path,
    labels: Labels | None,
    card: ModelCard | None,
    options: Options,
    batch_size: int | None,
    mapped: bool = False,
    trust: bool = False,
) -> Classifier:
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
    labels = labels or find_labels(path)
    if engine.output_shape and engine.output_shape[-1] is not None:
        labels.check(engine.output_shape[-1], path)
    if card is not None:
        preprocessing = _preprocessing(card, height, width, Scaling(0.0, 255.0), options)
    else:
        scaling = _RAW.get(dtype) or scaling_of(_plain_name(name))
        scaling = override_scaling(scaling, options, f"{path} takes its images at {name!r}")
        preprocessing = _preprocessing(None, height, width, scaling, options)
    return Classifier(
        graph=path,
        labels=labels.names,
        preprocessing=preprocessing,
        engine=engine,
        batch_size=_LITERT_BATCH if batch_size is None else batch_size,
        # With a card the values are real numbers, which the engine quantises by itself.
        dtype="float32" if card is not None else dtype,
    )


def _plain_name(name: str) -> str:
    """Return the node's name: converters write "serving_default_image:0" for ``image``."""
    return name.split(":")[0].removeprefix("serving_default_")


def _check_layers(engine: LiteRTPool, options: Options, path: Path) -> None:
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
    labels = labels or find_labels(folder)
    if wants.labels is not None:
        labels.check(wants.labels, folder)
    preprocessing = _preprocessing(card, wants.height, wants.width, wants.scaling, options)
    engine: Engine = SavedModelEngine(folder, wants)
    size = _TENSORFLOW_BATCH if batch_size is None else batch_size
    return Classifier(
        graph=folder,
        labels=labels.names,
        preprocessing=preprocessing,
        engine=engine,
        batch_size=size if wants.any_batch else 1,
        dtype=wants.dtype,
        reader=_reader(preprocessing),
    )
