"""The options of ``tlcli export`` and what it prints."""

from __future__ import annotations

import json
import logging
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tlcli.commands.options import (
    ANY_PATH,
    GRAPH_GROUP,
    LOGGING_GROUP,
    ImageDirCommand,
    find_graph,
    format_option,
    graph_options,
    log_options,
)
from tlcli.core.formats.kinds import KINDS, check_packages, check_target, parse_kinds
from tlcli.errors import UsageError
from tlcli.terminal import CONTEXT_SETTINGS, progress_bars, set_up_logging

if TYPE_CHECKING:
    from tlcli.core.classifier.classifier import Classifier
    from tlcli.core.formats.figures import Exports
    from tlcli.core.formats.images import ExportImages

_log = logging.getLogger("tlcli")

GROUPS = {
    "Export": ("to", "output", "force", "output_format"),
    "Images to compare on": ("image_dir", "manifest"),
    "Graph": GRAPH_GROUP,
    "Logging": LOGGING_GROUP,
}


@click.command(cls=ImageDirCommand, groups=GROUPS, context_settings=CONTEXT_SETTINGS)
@click.option(
    "--to",
    required=True,
    metavar="KIND",
    shell_complete=lambda context, parameter, text: [
        name for name in KINDS if name.startswith(text)
    ],
    help=f"Format, or several separated by commas: {', '.join(KINDS)}.",
)
@click.option(
    "--output",
    type=ANY_PATH,
    metavar="PATH",
    help="Path of the exported file or folder.  [default: beside the graph, by the graph's name]",
)
@click.option(
    "--force",
    is_flag=True,
    help="Write a file also where its scores differ from those of the graph, or its accuracy is "
    "more than half a point lower on the validation images.",
)
@click.option(
    "--image_dir",
    type=ANY_PATH,
    metavar="DIR",
    help="Folder of labelled images, as for retrain: its training images calibrate tflite-int8, "
    "its validation images decide whether that is accepted, its test images give the figures.  "
    "[default: that of the model card, if it is there]",
)
@click.option(
    "--manifest",
    type=ANY_PATH,
    metavar="FILE",
    help="Table of labelled images in place of --image_dir.",
)
@graph_options
@format_option("text", "json")
@log_options
def command(
    to: str,
    output: Path | None,
    force: bool,
    image_dir: Path | None,
    manifest: Path | None,
    graph: Path | None,
    output_format: str,
    logging_verbosity: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Write a graph in the formats of other programs, and compare each file with the graph.

    \b
    Examples:
      tlcli export --to onnx
      tlcli export --to tflite-int8,openvino --image_dir photos
      tlcli export --graph old.pb --to coreml --output App.mlpackage
    """
    names = parse_kinds(to)
    if output is not None and len(names) > 1:
        raise click.UsageError("--output names one file; leave it out, or give --to one format")
    if image_dir is not None and manifest is not None:
        raise click.UsageError("give --image_dir DIR or --manifest FILE, not both")
    set_up_logging(logging_verbosity, quiet)
    source = find_graph(graph)
    targets = {name: output or KINDS[name].path_beside(source) for name in names}
    for name, path in targets.items():
        check_target(name, path)
        if path == source:
            raise UsageError(f"--output {path} is the graph itself; give another name")
    check_packages(names)
    from tlcli.core.classifier.loading import load
    from tlcli.core.formats.exporting import Exporter
    from tlcli.core.formats.network import network_of
    from tlcli.core.model_spec.input_spec import InputOverrides
    from tlcli.storage.outputs import Outputs

    with load(source, **options) as classifier:
        images = _images(classifier, image_dir, manifest)
        overrides = InputOverrides(
            **{each.name: options[each.name] for each in fields(InputOverrides)}
        )
        network = network_of(classifier, overrides, options["trust"])
        exporter = Exporter(classifier, network, images, force)
        with progress_bars(quiet) as progress, Outputs() as files:
            exports = exporter.export_all(targets, files.stage, progress)
            if exports.files:
                files.commit(exports.files[-1].path)
    click.echo(_text(exports, output_format), nl=False)
    for reason in exports.refused.values():
        click.echo(f"Error: {reason}.", err=True)
    return 1 if exports.refused else 0


def _images(classifier: Classifier, image_dir: Path | None, manifest: Path | None) -> ExportImages:
    """Return the images to compare on: those given, else those of the model card, else none."""
    from tlcli.core.data.archives import as_folder
    from tlcli.core.data.image_folder import scan_folder
    from tlcli.core.data.manifest import read_manifest
    from tlcli.core.formats.images import ExportImages, divided

    if image_dir is None and manifest is None:
        training = {} if classifier.card is None else classifier.card.training
        for name in ("image_dir", "manifest"):
            known = training.get(name)
            if isinstance(known, str) and Path(known).exists():
                image_dir, manifest = (
                    (Path(known), None) if name == "image_dir" else (None, Path(known))
                )
                _log.info("Comparing on the test images of %s, by the model card", known)
                break
        else:
            return ExportImages()
    if manifest is not None:
        several = classifier.thresholds is not None
        return divided(classifier, read_manifest(manifest, minimum_labels=1, several=several))
    assert image_dir is not None
    folder = as_folder(image_dir)
    archive = None if folder == image_dir else image_dir
    dataset = scan_folder(folder, keep_label_names=True, minimum_labels=1, source=archive)
    return divided(classifier, dataset, merges=True)


def _text(exports: Exports, output_format: str) -> str:
    if output_format == "json":
        return json.dumps(exports.to_dict(), ensure_ascii=False, indent=2) + "\n"
    if not exports.files:
        return ""
    lines = [f"Written: {each.path}" for each in exports.files]
    return "\n".join([*lines, "", *exports.lines(), ""])
