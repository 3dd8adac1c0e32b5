"""The accuracy of a graph on labelled images, in one call."""

from __future__ import annotations

from pathlib import Path

from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.loading import load
from tlcli.core.data.held_out import images_to_evaluate
from tlcli.core.evaluation.graph_accuracy import GraphAccuracy, measure_accuracy
from tlcli.core.evaluation.multi_label.graph import MultiLabelAccuracy, measure_multi_label
from tlcli.errors import UsageError
from tlcli.progress import Progress


def evaluate(
    graph: Path | str | Classifier,
    image_dir: Path | str | None = None,
    *,
    manifest: Path | str | None = None,
    progress: Progress | None = None,
) -> GraphAccuracy:
    """Measure how often a graph is right on labelled images.

    Args:
        graph: a graph file or folder as for `tlcli.load`, or a classifier that is loaded, with
            whatever options it needs.
        image_dir: folder with one folder of images per label, or an archive of it; of train, val
            and test folders the test images count.
        manifest: a list of images and labels, in place of ``image_dir``.
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
    if isinstance(graph, Classifier):
        _check_single(graph)
        return measure_accuracy(graph, images, progress)
    with load(graph) as classifier:
        _check_single(classifier)
        return measure_accuracy(classifier, images, progress)


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
