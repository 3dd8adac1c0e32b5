"""A new classifier in further formats, compared with it on the images of the run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from retrain.arguments.options import RetrainOptions
from retrain.inputs import Inputs
from tlcli.core.classifier.loading import load
from tlcli.core.formats.exporting import Exporter
from tlcli.core.formats.figures import Exports
from tlcli.core.formats.images import ExportImages, LabelledImages
from tlcli.core.formats.kinds import KINDS
from tlcli.core.formats.network import network_of
from tlcli.errors import GraphError, OutputError
from tlcli.storage.outputs import Outputs

_log = logging.getLogger("tlcli")
# What the run writes under an option of its own.
_WRITTEN = ("tflite", "saved_model")


def export_formats(
    files: Outputs, options: RetrainOptions, inputs: Inputs, staged: Mapping[Path, Path]
) -> Exports:
    """Write the formats of ``--export`` and return the figures of all.

    Args:
        files: in which the outputs of the run are staged.
        options: of the run.
        inputs: its images.
        staged: where the outputs of each path are now: graph, LiteRT file, SavedModel.
    """
    assert options.export is not None
    found, refused = [], {}
    with load(staged[options.output_graph]) as classifier:
        network = replace(network_of(classifier), path=options.output_graph)
        exporter = Exporter(classifier, network, export_images(inputs))
        for name in options.export:
            path = target(name, options)
            try:
                if name in _WRITTEN:
                    found.append(exporter.compared(name, staged[path], path))
                else:
                    found.append(exporter.export(name, path, files.stage))
            except (GraphError, OutputError) as error:
                _log.warning("%s", error)
                refused[name] = str(error)
        return exporter.exports(found, refused, staged[options.output_graph])


def target(name: str, options: RetrainOptions) -> Path:
    """Return the path of a format's output."""
    own = {"tflite": options.output_tflite, "saved_model": options.saved_model_dir}.get(name)
    return own or KINDS[name].path_beside(options.output_graph)


def export_images(inputs: Inputs) -> ExportImages:
    """Return the images of a run that are files, by their splits."""

    def part(split: str) -> LabelledImages:
        rows = [row for row in inputs.rows(split) if inputs.images[row].file is not None]
        truth = inputs.targets if inputs.marks is None else inputs.marks
        return LabelledImages([str(inputs.images[row].file) for row in rows], truth[rows])

    return ExportImages(part("training").files, part("validation"), part("testing"))
