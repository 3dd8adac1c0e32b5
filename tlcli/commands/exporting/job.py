"""A graph exported to the formats of other programs, in one call."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.core.formats.kinds import KINDS, check_packages, check_target, parse_kinds
from tlcli.errors import DataError, UsageError
from tlcli.progress import Progress

if TYPE_CHECKING:
    from tlcli.core.classifier.classifier import Classifier
    from tlcli.core.formats.figures import Exports
    from tlcli.core.formats.images import ExportImages

_log = logging.getLogger("tlcli")


def export(
    graph: Path | str,
    to: str | Sequence[str],
    output: Path | str | None = None,
    *,
    image_dir: Path | str | None = None,
    manifest: Path | str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Exports:
    """Write a graph in other formats, and compare each file with it.

    Args:
        graph: a graph file or folder as for `tlcli.load`.
        to: names of formats, or one text with commas between them: onnx, tflite, tflite-float16,
            tflite-int8, tflite-edgetpu, saved_model, openvino, coreml.
        output: path of the file, where there is one format; None: beside the graph.
        image_dir: folder of labelled images to calibrate with and to compare on, divided as
            `tlcli.retrain` divides it; None: that of the model card, if it is there.
        manifest: a list of images and labels, in place of ``image_dir``.
        force: also write files that are less accurate than allowed.
        progress: called with ("formats", done, total).
        options: of `tlcli.load`: labels, layers, sizes and scaling.

    Returns:
        Figures of the graph and of the files; those that were not written are in ``refused``.

    Raises:
        UsageError: an unknown format, or values that exclude each other.
        DataError: the images cannot be used.
        GraphError: the graph cannot be loaded or run.
        OutputError: a package is missing, or an output would replace something else.
    """
    names = parse_kinds(to)
    if output is not None and len(names) > 1:
        raise UsageError("--output names one file; leave it out, or give --to one format")
    if image_dir is not None and manifest is not None:
        raise UsageError("give --image_dir DIR or --manifest FILE, not both")
    source = Path(graph)
    targets = {
        name: KINDS[name].path_beside(source) if output is None else Path(output) for name in names
    }
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
        overrides = {each.name: options.get(each.name) for each in fields(InputOverrides)}
        network = network_of(classifier, InputOverrides(**overrides), options.get("trust", False))
        exporter = Exporter(classifier, network, images, force)
        with Outputs() as files:
            exports = exporter.export_all(targets, files.stage, progress)
            if exports.files:
                files.commit(exports.files[-1].path)
    return exports


def _images(
    classifier: Classifier, image_dir: Path | str | None, manifest: Path | str | None
) -> ExportImages:
    """Return the images to compare on: those given, else those of the model card, else none."""
    from tlcli.core.formats.images import ExportImages

    if image_dir is not None or manifest is not None:
        return _divided(classifier, image_dir, manifest)
    training = {} if classifier.card is None else classifier.card.training
    for name in ("image_dir", "manifest"):
        known = training.get(name)
        if not isinstance(known, str) or not Path(known).exists():
            continue
        try:
            found = _divided(classifier, *((known, None) if name == "image_dir" else (None, known)))
        except DataError as error:  # it was changed since, or is another folder of that name
            _log.info("The images that the model card names are not used: %s", error)
            continue
        _log.info("Comparing on the test images of %s, by the model card", known)
        return found
    return ExportImages()


def _divided(
    classifier: Classifier, image_dir: Path | str | None, manifest: Path | str | None
) -> ExportImages:
    from tlcli.core.data.archives import as_folder
    from tlcli.core.data.image_folder import scan_folder
    from tlcli.core.data.manifest import read_manifest
    from tlcli.core.formats.images import divided

    if manifest is not None:
        several = classifier.thresholds is not None
        return divided(classifier, read_manifest(Path(manifest), minimum_labels=1, several=several))
    assert image_dir is not None
    folder = as_folder(Path(image_dir))
    archive = None if folder == Path(image_dir) else Path(image_dir)
    dataset = scan_folder(folder, keep_label_names=True, minimum_labels=1, source=archive)
    return divided(classifier, dataset, merges=True)
