"""The accuracy of a graph on labelled images, in one call, and what it calls unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.loading import load
from tlcli.core.data.held_out import images_to_evaluate
from tlcli.core.data.image_files import images_at
from tlcli.core.data.image_folder import Dataset
from tlcli.core.evaluation.graph_accuracy import GraphAccuracy, UnknownFound, measure_accuracy
from tlcli.core.evaluation.metrics import Proportion
from tlcli.core.evaluation.multi_label.graph import MultiLabelAccuracy, measure_multi_label
from tlcli.errors import DataError, UsageError
from tlcli.progress import Progress
from tlcli.storage.locations import shown, text_of


def evaluate(
    graph: Path | str | Classifier,
    image_dir: Path | str | None = None,
    *,
    manifest: Path | str | None = None,
    unknown_dir: Path | str | None = None,
    progress: Progress | None = None,
) -> GraphAccuracy:
    """Measure how often a graph is right on labelled images.

    Args:
        graph: a graph file or folder as for `tlcli.load`, or a classifier that is loaded, with
            whatever options it needs.
        image_dir: folder with one folder of images per label, or an archive of it; of train, val
            and test folders the test images count.
        manifest: a list of images and labels, in place of ``image_dir``.
        unknown_dir: a folder of images of other subjects, which the graph should call unknown; a
            loaded classifier is one of `tlcli.load` with ``unknown``.
        progress: called with ("images", done, total).

    Returns:
        Figures of all images and, where the model card lists the images that trained the graph,
        of the others: ``measured`` is what may be said of new images.

    Raises:
        UsageError: neither or both of ``image_dir`` and ``manifest``; or a graph with several
            labels per image, which `evaluate_multi_label` measures.
        DataError: the folder cannot be used, a label's folder has no label in the graph, or
            no image could be read.
        GraphError: the graph cannot be loaded or run.
    """
    if (image_dir is None) == (manifest is None):
        raise UsageError("give the images by image_dir or by manifest")
    images = images_to_evaluate(
        None if image_dir is None else Path(image_dir), None if manifest is None else Path(manifest)
    )
    if not isinstance(graph, Classifier):
        with load(graph, unknown=unknown_dir is not None) as classifier:
            return _measure(classifier, images, unknown_dir, progress)
    if unknown_dir is not None and graph.unknown is None:
        raise UsageError("unknown_dir takes a classifier of tlcli.load(graph, unknown=True)")
    return _measure(graph, images, unknown_dir, progress)


def evaluate_multi_label(
    graph: Path | str | Classifier,
    image_dir: Path | str | None = None,
    *,
    manifest: Path | str | None = None,
    progress: Progress | None = None,
) -> MultiLabelAccuracy:
    """Measure a graph with several labels per image; arguments and errors as of `evaluate`."""
    if (image_dir is None) == (manifest is None):
        raise UsageError("give the images by image_dir or by manifest")
    images = images_to_evaluate(
        None if image_dir is None else Path(image_dir),
        None if manifest is None else Path(manifest),
        several=True,
    )
    merges = manifest is None
    if isinstance(graph, Classifier):
        return measure_multi_label(graph, images, progress, merges=merges)
    with load(graph) as classifier:
        return measure_multi_label(classifier, images, progress, merges=merges)


def _check_single(classifier: Classifier) -> None:
    if classifier.card is not None and classifier.card.thresholds:
        raise UsageError(
            f"{classifier.graph} gives several labels per image; call tlcli.evaluate_multi_label"
        )


def _measure(
    classifier: Classifier,
    images: Dataset,
    unknown_dir: Path | str | None,
    progress: Progress | None,
) -> GraphAccuracy:
    _check_single(classifier)
    accuracy = measure_accuracy(classifier, images, progress)
    if unknown_dir is None:
        return accuracy
    return replace(accuracy, unknown=measure_unknown(classifier, Path(unknown_dir), progress))


def measure_unknown(
    classifier: Classifier, folder: Path, progress: Progress | None = None
) -> UnknownFound:
    """Return how many images of other subjects a graph calls unknown.

    Args:
        classifier: loaded with ``unknown``.
        folder: with images, at any depth; a path or a URL.
        progress: called with ("unknown", done, 0).

    Raises:
        DataError: no image could be read.
        GraphError: the graph cannot be run.
    """
    assert classifier.unknown is not None
    found = count = skipped = 0
    error = "there is none in it"
    for name, row, reason in classifier.rows(images_at(text_of(folder))):
        if row is None:
            skipped, error = skipped + 1, f"the first: {name}: {reason}"
            continue
        count += 1
        found += classifier.unknown.outcome(row).is_unknown
        if progress is not None:
            progress("unknown", count, 0)
    if not count:
        raise DataError(f"no image of {shown(folder)} could be read, {error}; check --unknown_dir")
    return UnknownFound(Proportion.of(found, count), count, skipped)
