"""What a run leaves behind: graph, labels, LiteRT file, SavedModel, report and model card."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrain.inputs import Inputs
from retrain.options import RetrainOptions
from tlcli.backbone import Backbone, BackboneGraph
from tlcli.core.bottlenecks.text_files import export_folder
from tlcli.core.evaluation.metrics import Evaluation
from tlcli.core.export import model_card
from tlcli.core.export.backbone_cache import BackboneCache
from tlcli.core.export.embedded_card import embed_card
from tlcli.core.export.frozen_graph import (
    BOTTLENECK_INPUT,
    SMALL_GRAPH,
    ClassifierGraph,
    append_final_layer,
    final_layer_graph,
    parse_graph,
    serialise,
    write_labels,
)
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import OutputError
from tlcli.system.atomic_files import (
    OutputSet,
    made_folders,
    output_error,
    sweep_temporary,
    write_bytes,
)

logger = logging.getLogger("tlcli")


# What a SavedModel consists of, made by anyone, and what file managers leave beside it.
_SAVED_MODEL_NAMES = {
    *("saved_model.pb", "variables", "assets", "assets.extra", "fingerprint.pb"),
    *("keras_metadata.pb", "debug", ".DS_Store", "Thumbs.db", "desktop.ini"),
}


@dataclass(frozen=True)
class Written:
    """What was written beside its place.

    Attributes:
        outputs: kind of output to path, the card's included.
        card: path of the model card.
    """

    outputs: dict[str, Path]
    card: Path


@contextmanager
def checked_places(options: RetrainOptions) -> Iterator[None]:
    """Find out before the work that its outputs can be written; sweep what a killed run left.

    Folders that were made for outputs and got none, because the block failed, are removed again.

    Raises:
        OutputError: a folder cannot be made or written.
    """
    files = [options.output_graph, options.labels_path, options.report_path]
    files += [options.output_tflite, options.checkpoint_path]
    folders = {path.parent for path in files if path is not None}
    if options.saved_model_dir is not None:
        folders.add(options.saved_model_dir.parent)
        _check_saved_model_dir(options.saved_model_dir)
    for folder in (
        options.intermediate_output_graphs_dir,
        options.export_bottlenecks,
        options.summaries_dir,
    ):
        if folder is not None:
            folders.add(folder)
    for path in files[:4]:
        if path is not None and path.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder; give the name of a file")
    with made_folders(sorted(folders)):
        for folder in folders:
            if not os.access(folder, os.W_OK | os.X_OK):
                raise OutputError(
                    f"cannot write to {folder}: permission denied; choose another place for the "
                    "outputs"
                )
            sweep_temporary(folder)
        yield


def _check_saved_model_dir(folder: Path) -> None:
    """Raise OutputError where more than an older SavedModel would go, as the folder is replaced."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file; give the name of a folder")
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise output_error(folder, error) from error
    others = sorted(names - _SAVED_MODEL_NAMES)
    if others or (names and "saved_model.pb" not in names):
        raise OutputError(
            f"cannot write {folder}: it holds {(others or sorted(names))[0]}, which is no part of "
            "an older SavedModel and would be lost; give a new folder with --saved_model_dir"
        )


class GraphBuilder:
    """The classifier's graph for a final layer; the backbone is loaded once, or not at all.

    A backbone that was exported before is taken out of the cache (see `BackboneCache`).
    """

    def __init__(self, options: RetrainOptions, backbone: Backbone | None) -> None:
        self._name = options.final_tensor_name
        self._backbone = None if options.final_layer_only else backbone
        self._loaded: BackboneGraph | None = None
        self.kept: BackboneCache | None = None
        if self._backbone is not None:
            self.kept = BackboneCache(self._backbone.fingerprint, self._name, trust=options.trust)

    def build(self, layer: FinalLayer) -> Any:
        """Return the ``GraphDef`` from images (or from bottlenecks) to probabilities."""
        if self._backbone is None:
            return final_layer_graph(layer, self._name)
        if self._loaded is None:
            self._loaded = self._backbone.load_graph()
        return append_final_layer(self._loaded, layer, self._name)

    def content(self, layer: FinalLayer) -> bytes:
        """Return the same as the bytes of a frozen graph.

        Raises:
            OutputError: there would be more than a file may have.
        """
        if self.kept is not None:
            content = self.kept.graph(layer)
            if content is not None:
                return content
        graph = self.build(layer)
        content = serialise(graph)
        if self.kept is not None:
            self.kept.store_graph(graph, content)
        return content


def intermediate_writer(
    options: RetrainOptions, inputs: Inputs, backbone: Backbone | None, builder: GraphBuilder
) -> Callable[[int, FinalLayer], None] | None:
    """Return what writes ``intermediate_N.pb`` with its card, or None when none is wanted."""
    folder = options.intermediate_output_graphs_dir
    if folder is None:
        return None

    def write(step: int, layer: FinalLayer) -> None:
        path = folder / f"intermediate_{step}.pb"
        write_bytes(path, _sealed(builder.content(layer), options, inputs, backbone))
        card = model_card.card_path(path)
        _card(card, options, inputs, backbone, {path: path}, None).write(card)
        logger.info("Saved the intermediate graph %s", path)

    return write


def write_classifier(
    files: OutputSet,
    options: RetrainOptions,
    inputs: Inputs,
    backbone: Backbone | None,
    layer: FinalLayer,
    builder: GraphBuilder,
    tested: Evaluation,
) -> Written:
    """Write everything but the report beside its place; nothing is replaced yet.

    Raises:
        OutputError: something cannot be written or converted.
    """
    graph = builder.content(layer)
    tflite = _litert(options, graph, backbone, builder.kept, layer)
    if options.export_bottlenecks is not None:
        _export_bottlenecks(options.export_bottlenecks, inputs, backbone)
    outputs = {"graph": options.output_graph, "labels": options.labels_path}
    if tflite is not None:
        outputs["tflite"] = options.output_tflite or options.output_graph.with_suffix(".tflite")
    beside = {path: files.stage(path) for path in outputs.values()}
    write_bytes(beside[outputs["graph"]], _sealed(graph, options, inputs, backbone))
    write_labels(beside[outputs["labels"]], inputs.labels)
    if tflite is not None:
        sealed = _sealed(tflite, options, inputs, backbone)
        write_bytes(beside[outputs["tflite"]], sealed)
    earlier = options.output_graph.with_suffix(".tflite")
    if tflite is None and earlier != options.output_graph and earlier.is_file():
        logger.warning("%s is not of this run, which writes no LiteRT file", earlier)
    path = model_card.card_path(options.output_graph)
    card = _card(path, options, inputs, backbone, beside, tested)
    if options.saved_model_dir is not None and backbone is not None:
        from tlcli.core.export.saved_model import write_saved_model

        write_saved_model(
            files.stage(options.saved_model_dir),
            _parsed(graph, options, backbone),
            inputs.labels,
            card,
        )
        outputs["saved_model"] = options.saved_model_dir
    if options.export_bottlenecks is not None:
        outputs["bottlenecks"] = options.export_bottlenecks
    if options.summaries_dir is not None:
        outputs["summaries"] = options.summaries_dir
    if options.intermediate_output_graphs_dir is not None and options.intermediate_store_frequency:
        outputs["intermediate_graphs"] = options.intermediate_output_graphs_dir
    outputs["model_card"] = path
    card.write(files.stage(path))
    return Written(outputs, path)


def _litert(
    options: RetrainOptions,
    graph: bytes,
    backbone: Backbone | None,
    kept: BackboneCache | None,
    layer: FinalLayer,
) -> bytes | None:
    """Return the LiteRT file; by default only of small networks, and then never fatal."""
    if options.final_layer_only or backbone is None or kept is None:
        return None
    if options.output_tflite is None and len(graph) > SMALL_GRAPH:
        return None
    content = kept.litert(layer)
    if content is not None:
        return content
    from tlcli.core.export import tflite as litert

    try:
        content = litert.convert(_parsed(graph, options, backbone))
    except OutputError as error:
        if options.output_tflite is not None:
            raise
        logger.warning("No LiteRT file is written: %s", error)
        return None
    kept.store_litert(layer, content)
    return content


def _parsed(graph: bytes, options: RetrainOptions, backbone: Backbone) -> ClassifierGraph:
    return ClassifierGraph(
        parse_graph(graph), backbone.height, backbone.width, options.final_tensor_name
    )


def _sealed(
    content: bytes, options: RetrainOptions, inputs: Inputs, backbone: Backbone | None
) -> bytes:
    return embed_card(
        content,
        labels=inputs.labels,
        input=_input(options, backbone),
        output=options.final_tensor_name,
    )


def _input(options: RetrainOptions, backbone: Backbone | None) -> model_card.CardInput:
    if backbone is None or options.final_layer_only:
        return model_card.CardInput(name=BOTTLENECK_INPUT)
    from tlcli.core.images.preprocessing import Preprocessing

    preprocessing = Preprocessing("tlcli-1", backbone.height, backbone.width)
    return model_card.CardInput(
        height=backbone.height, width=backbone.width, preprocessing=preprocessing.to_dict()
    )


def _card(
    path: Path,
    options: RetrainOptions,
    inputs: Inputs,
    backbone: Backbone | None,
    files: Mapping[Path, Path],
    tested: Evaluation | None,
) -> model_card.ModelCard:
    counts = {
        split: dict(zip(inputs.labels, inputs.counts(split).tolist(), strict=True))
        for split in ("training", "validation", "testing")
    }
    accuracy: dict[str, Any] = {}
    if tested is not None and tested.accuracy is not None:
        accuracy = {"test": tested.accuracy, "count": tested.count, "interval": tested.interval}
    card = model_card.ModelCard(
        labels=tuple(inputs.labels),
        input=_input(options, backbone),
        output=options.final_tensor_name,
        backbone=describe(backbone, inputs),
        training={**options.to_dict(), "images": counts},
        accuracy=accuracy,
    )
    return model_card.complete(card, path, files)


def describe(backbone: Backbone | None, inputs: Inputs) -> dict[str, Any]:
    """Return name, source, licence, fingerprint, D and precision of what made the vectors."""
    if backbone is not None:
        return model_card.describe_backbone(backbone, inputs.bottleneck_size)
    return {
        "name": "imported",
        "source": "imported text bottlenecks",
        "fingerprint": None,
        "bottleneck_size": inputs.bottleneck_size,
        "licence": "unknown",
        "precision": "float32",
    }


def _export_bottlenecks(folder: Path, inputs: Inputs, backbone: Backbone | None) -> None:
    items = zip((image.name for image in inputs.images), inputs.vectors, strict=True)
    export_folder(folder, items, backbone.name if backbone is not None else None)
