"""The outputs of a run: graph, labels, LiteRT file, SavedModel and model card."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrain.arguments.options import DEFAULT_REPORT, RetrainOptions
from retrain.evidence.unknown import UnknownImages, learn_unknown
from retrain.fitting import STEP_LINES
from retrain.inputs import Inputs
from tlcli.core.bottlenecks.text_files import export_folder
from tlcli.core.data.splits import SPLITS
from tlcli.core.evaluation.metrics import Evaluation
from tlcli.core.evaluation.multi_label.figures import MultiLabelEvaluation, value_of
from tlcli.core.evaluation.multi_label.growth import UNLABELLED
from tlcli.core.evaluation.training_images import images_to_card, to_card
from tlcli.core.export import model_card
from tlcli.core.export.backbone_cache import BackboneCache
from tlcli.core.export.embedded_card import embed_card
from tlcli.core.export.frozen_graph import (
    BOTTLENECK_INPUT,
    SMALL_GRAPH,
    ClassifierGraph,
    append_final_layer,
    final_layer_graph,
    serialise,
    write_labels,
)
from tlcli.core.export.packing import with_metadata
from tlcli.core.export.unknown_nodes import append_unknown
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.core.formats.kinds import KINDS, check_packages, check_target
from tlcli.errors import OutputError, StorageError
from tlcli.graph.messages import GraphDef
from tlcli.storage.locations import below, is_url, shown
from tlcli.storage.objects import check_writable, entries
from tlcli.storage.outputs import Outputs, report_at
from tlcli.system.atomic_files import made_folders, output_error, write_bytes

if TYPE_CHECKING:
    from tlcli.core.formats.figures import Exports

logger = logging.getLogger("tlcli")

Tested = Evaluation | MultiLabelEvaluation

_REPORT_MARK = b'<script type="application/json" id="report-data">'
_REPORT_END = b"</script>"
# What a SavedModel consists of, made by anyone, and what file managers leave in its folder.
_SAVED_MODEL_NAMES = {
    *("saved_model.pb", "variables", "assets", "assets.extra", "fingerprint.pb"),
    *("keras_metadata.pb", "debug", ".DS_Store", "Thumbs.db", "desktop.ini"),
}


@contextmanager
def checked_outputs(options: RetrainOptions) -> Iterator[None]:
    """Check before the work that its outputs can be written; sweep what a killed run left.

    Folders that were made for outputs and got none, because the block failed, are removed again.

    Raises:
        OutputError: a folder cannot be made or written.
    """
    files = [options.output_graph, options.labels_path, options.report_path]
    files += [options.output_tflite, options.checkpoint_path]
    for name in options.export or ():
        # Those with an option of their own are checked like it.
        if name not in ("tflite", "saved_model"):
            check_target(name, KINDS[name].path_beside(options.output_graph))
    check_packages(options.export or ())
    folders = {path.parent for path in files if path is not None}
    if options.saved_model_dir is not None:
        folders.add(options.saved_model_dir.parent)
        _check_saved_model_dir(options.saved_model_dir)
    for folder in filter(is_url, sorted(folders)):
        check_writable(folder)
    folders = {folder for folder in folders if not is_url(folder)}
    own = (options.intermediate_output_graphs_dir, options.export_bottlenecks)
    folders |= {folder for folder in (*own, options.summaries_dir) if folder is not None}
    for path in files[:4]:
        if path is not None and path.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder; give the name of a file")
    with made_folders(sorted(folders)):
        for folder in folders:
            if not os.access(folder, os.W_OK | os.X_OK):
                raise OutputError(
                    f"cannot write to {folder}: permission denied; choose another folder for the "
                    "outputs"
                )
        yield


def _check_saved_model_dir(folder: Path) -> None:
    """Raise OutputError where more than an older SavedModel would go, as the folder is replaced."""
    if is_url(folder):
        start = len(below(folder, ""))
        found = (each[start:].partition("/")[0] for each in entries(folder))
        _check_saved_model(folder, set(found))
        return
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise OutputError(f"cannot write {folder}: it is a file; give the name of a folder")
    try:
        names = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise output_error(folder, error) from error
    _check_saved_model(folder, names)


def _check_saved_model(folder: Path, names: Collection[str]) -> None:
    others = sorted(set(names) - _SAVED_MODEL_NAMES)
    if others or (names and "saved_model.pb" not in names):
        raise OutputError(
            f"cannot write {shown(folder)}: it contains {(others or sorted(names))[0]}, which is "
            "no part of an older SavedModel and would be lost; give a new folder with "
            "--saved_model_dir"
        )


class ClassifierBuilder:
    """Makes a run's outputs; a backbone that was exported before comes out of `BackboneCache`.

    Attributes:
        unknown: the score of unknown images that the graph gets, once there is one.
        exports: figures of the formats of ``--export``, once they are made.
    """

    def __init__(
        self,
        options: RetrainOptions,
        inputs: Inputs,
        fine_tuned: Mapping[str, Any] | None = None,
        thresholds: Sequence[float] = (),
    ) -> None:
        self.options, self.inputs, self._thresholds = options, inputs, tuple(thresholds)
        self._fine_tuned = fine_tuned
        self.unknown: UnknownImages | None = None
        self.exports: Exports | None = None
        self._name = options.final_tensor_name
        self._backbone = None if options.final_layer_only else inputs.backbone
        self._cache: BackboneCache | None = None
        if self._backbone is not None:
            self._cache = BackboneCache(self._backbone.fingerprint, self._name, trust=options.trust)

    def graph(self, layer: FinalLayer) -> bytes:
        """Return the frozen graph from images (or from bottlenecks) to probabilities.

        Raises:
            OutputError: there would be more bytes than a file may have.
        """
        if self._backbone is None or self._cache is None:
            return serialise(final_layer_graph(layer, self._name))
        content = self._cache.graph(layer)
        if content is None:
            graph = append_final_layer(self._backbone.load_graph(), layer, self._name)
            content = serialise(graph)
            self._cache.store_graph(graph, content)
        return content

    def litert(self, graph: bytes, layer: FinalLayer) -> bytes | None:
        """Return the LiteRT file; by default only of small networks, and then never fatal."""
        wanted = self.options.output_tflite is not None
        if self._cache is None or not (wanted or len(graph) <= SMALL_GRAPH):
            return None
        content = self._cache.litert(layer)
        if content is not None:
            return content
        from tlcli.core.export import tflite

        try:
            content = tflite.convert(self.parsed(graph))
        except OutputError as error:
            if wanted:
                raise
            logger.warning("No LiteRT file is written: %s", error)
            return None
        self._cache.store_litert(layer, content)
        return content

    def learn_unknown(self, layer: FinalLayer, tuned: bool = False) -> None:
        """Give the graph a score of unknown images, if it takes images and there are enough.

        Args:
            layer: of the graph.
            tuned: see `retrain.evidence.unknown.learn_unknown`.
        """
        if self._backbone is not None:
            self.unknown = learn_unknown(self.inputs, len(self.graph(layer)), tuned)

    def with_unknown(self, graph: bytes) -> bytes:
        """Return the graph with the score of unknown images, where there is one."""
        found = None if self.unknown is None else append_unknown(graph, self.unknown.model)
        if found is None:
            self.unknown = None
            return graph
        return found

    def parsed(self, graph: bytes) -> ClassifierGraph:
        """Return a graph that takes images, with its size and the names of its ends."""
        assert self._backbone is not None
        return ClassifierGraph(
            GraphDef.FromString(graph), self._backbone.height, self._backbone.width, self._name
        )

    def with_card(self, content: bytes) -> bytes:
        """Return a graph or LiteRT file with the embedded model card at its end."""
        return embed_card(
            content,
            labels=self.inputs.labels,
            input=self._input(),
            output=self._name,
            thresholds=self._thresholds,
        )

    def packed(self, content: bytes) -> bytes:
        """Return a LiteRT file with signature, metadata, labels and the embedded model card.

        Raises:
            DataError: a label that no labels file can hold.
        """
        labels = self.inputs.labels
        return self.with_card(with_metadata(content, labels, thresholds=self._thresholds))

    def card(
        self, path: Path, files: Mapping[Path, Path], tested: Tested | None
    ) -> model_card.ModelCard:
        """Return the model card that will lie at ``path``, for outputs and where they are now."""
        counts = {
            split: dict(zip(self.inputs.labels, self.inputs.counts(split).tolist(), strict=True))
            for split in SPLITS
        }
        accuracy: dict[str, Any] = {}
        if tested is not None and tested.accuracy is not None:
            accuracy = {"test": tested.accuracy, "count": tested.count, "interval": tested.interval}
            if isinstance(tested, MultiLabelEvaluation):
                accuracy["mean_average_precision"] = value_of(tested.mean_average_precision)
        training = {**self.options.to_dict(), "images": counts}
        if self.inputs.given_split is not None:
            training["split"] = self.inputs.given_split.to_dict()
        if self._fine_tuned is not None:
            training["fine_tuned"] = dict(self._fine_tuned)
        card = model_card.ModelCard(
            labels=tuple(self.inputs.labels),
            input=self._input(),
            output=self._name,
            backbone=describe_backbone(self.inputs),
            training=training,
            accuracy=accuracy,
            unknown={} if self.unknown is None else self.unknown.to_card(),
            training_images=to_card(self.inputs.contents[self.inputs.part("training")]),
            thresholds=self._thresholds,
            images=self._images(),
        )
        return model_card.complete(card, path, files)

    def _images(self) -> dict[str, str]:
        """Return what identifies the images of each label."""
        labels, contents, marks = self.inputs.labels, self.inputs.contents, self.inputs.marks
        if marks is None:
            return images_to_card(labels, self.inputs.targets.tolist(), contents)
        # An image with several labels is one of each.
        rows, targets = np.nonzero(np.hstack([marks, ~marks.any(axis=1, keepdims=True)]))
        every = [contents[row] for row in rows]
        return images_to_card((*labels, UNLABELLED), targets.tolist(), every)

    def _input(self) -> model_card.CardInput:
        if self._backbone is None:
            return model_card.CardInput(name=BOTTLENECK_INPUT)
        from tlcli.core.images.preprocessing import Preprocessing

        height, width = self._backbone.height, self._backbone.width
        preprocessing = Preprocessing("tlcli-1", height, width).to_dict()
        return model_card.CardInput(height=height, width=width, preprocessing=preprocessing)


def intermediate_writer(builder: ClassifierBuilder) -> Callable[[int, FinalLayer], None] | None:
    """Return what writes ``intermediate_N.pb`` with its card, or None when none is wanted."""
    folder = builder.options.intermediate_output_graphs_dir
    if folder is None or not builder.options.intermediate_store_frequency:
        return None

    def write(step: int, layer: FinalLayer) -> None:
        path = folder / f"intermediate_{step}.pb"
        write_bytes(path, builder.with_card(builder.graph(layer)))
        card = model_card.card_path(path)
        builder.card(card, {path: path}, None).write(card)
        logging.getLogger(STEP_LINES).info("Saved the intermediate graph %s", path)

    return write


def write_classifier(
    files: Outputs, builder: ClassifierBuilder, layer: FinalLayer, tested: Tested
) -> dict[str, Path]:
    """Stage everything but the report, and return kind of output to path; nothing is replaced yet.

    Raises:
        OutputError: something cannot be written or converted.
    """
    options, inputs = builder.options, builder.inputs
    graph = builder.graph(layer)
    tflite = builder.litert(graph, layer)
    if options.export_bottlenecks is not None:
        items = zip((image.name for image in inputs.images), inputs.vectors, strict=True)
        made_by = None if inputs.backbone is None else inputs.backbone.name
        export_folder(options.export_bottlenecks, items, made_by)
    outputs = {"graph": options.output_graph, "labels": options.labels_path}
    beside = options.output_graph.with_suffix(".tflite")
    if tflite is not None:
        outputs["tflite"] = options.output_tflite or beside
    elif beside != options.output_graph and beside.is_file():
        logger.warning("%s is not of this run, which writes no LiteRT file", beside)
    staged = {path: files.stage(path) for path in outputs.values()}
    write_bytes(staged[outputs["graph"]], builder.with_card(builder.with_unknown(graph)))
    write_labels(staged[outputs["labels"]], inputs.labels)
    if tflite is not None:
        write_bytes(staged[outputs["tflite"]], builder.packed(tflite))
    path = model_card.card_path(options.output_graph)
    card = builder.card(path, staged, tested)
    if options.saved_model_dir is not None and inputs.backbone is not None:
        from tlcli.core.export.saved_model import write_saved_model

        folder = files.stage(options.saved_model_dir)
        write_saved_model(folder, builder.parsed(graph), inputs.labels, card)
        outputs["saved_model"] = options.saved_model_dir
        staged[options.saved_model_dir] = folder
    if options.export is not None:
        from retrain.formats.exporting import export_formats

        builder.exports = export_formats(files, options, inputs, staged)
        outputs |= {each.kind: each.path for each in builder.exports.files}
    if options.export_bottlenecks is not None:
        outputs["bottlenecks"] = options.export_bottlenecks
    if options.summaries_dir is not None:
        outputs["summaries"] = options.summaries_dir
    if options.intermediate_output_graphs_dir is not None and options.intermediate_store_frequency:
        outputs["intermediate_graphs"] = options.intermediate_output_graphs_dir
    outputs["model_card"] = path
    card.write(files.stage(path))
    return outputs


def describe_backbone(inputs: Inputs) -> dict[str, Any]:
    """Return name, source, licence, fingerprint, D and precision of what made the vectors."""
    if inputs.backbone is not None:
        return model_card.describe_backbone(inputs.backbone, inputs.bottleneck_size)
    return {
        "name": "imported",
        "source": "imported text bottlenecks",
        "fingerprint": None,
        "bottleneck_size": inputs.bottleneck_size,
        "licence": "unknown",
        "precision": "float32",
    }


def earlier_report(graph: Path) -> Path | None:
    """Return the report of the graph that lies, or lay, at ``graph``, where reports lie by default.

    None where there is none, and where the file is another graph's report, or none of tlcli's.
    """
    path = graph.parent / DEFAULT_REPORT
    outputs = _reported_outputs(path)
    # Paths are relative to the current folder of that run; only their being neighbours is certain.
    expected = [graph.name, DEFAULT_REPORT]
    found = [Path(str(outputs.get(kind))) for kind in ("graph", "report")]
    together = found[0].parent == found[1].parent
    return path if together and [each.name for each in found] == expected else None


def _reported_outputs(path: Path) -> dict[str, Any]:
    """Return the paths of the outputs that a report lists; empty where it is none."""
    try:
        content = report_at(path)
        _, mark, rest = content.rpartition(_REPORT_MARK)
        outputs = json.loads(rest.partition(_REPORT_END)[0])["outputs"] if mark else {}
    except (OSError, StorageError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return outputs if isinstance(outputs, dict) else {}
