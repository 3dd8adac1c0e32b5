"""The classifier of an earlier run, and what changed since."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from retrain.growing.inherited import earlier_card
from retrain.inputs import Inputs
from retrain.testing import Tests
from tlcli.arrays import Floats, Indices
from tlcli.core.evaluation.growth import (
    Growth,
    SameImages,
    count_changes,
    label_changes,
    renumbered,
)
from tlcli.core.evaluation.metrics import Bools
from tlcli.core.evaluation.training_images import TrainingImages, images_from_card
from tlcli.core.export.frozen_graph import BIASES, WEIGHTS
from tlcli.core.export.model_card import ModelCard
from tlcli.core.final_layer.sgd import FinalLayer
from tlcli.errors import DataError, TlcliError
from tlcli.progress import Watcher
from tlcli.system.digests import sha256_file

logger = logging.getLogger("tlcli")

# Digits of a SHA-256 that a card lists.
_DIGITS = 16
_GRAPHS = (".pb", ".tflite")


@dataclass(frozen=True)
class Earlier:
    """An earlier run, as its card and its graph have it.

    Attributes:
        path: of the card.
        card: its content.
        graph: path of its graph; None where it is gone or was changed.
    """

    path: Path
    card: ModelCard
    graph: Path | None

    @classmethod
    def of(cls, given: Path | None) -> Earlier | None:
        """Return the run of a card, or of a graph with a card; None where none is given.

        Raises:
            DataError: there is no card, or it cannot be used.
        """
        if given is None:
            return None
        path, card = earlier_card(given)
        return cls(path, card, _graph(path, card))

    def layer(self, inputs: Inputs) -> FinalLayer | None:
        """Return its final layer where it takes the vectors of ``inputs``, else None.

        A layer of one label per image is none for several, and the other way round.
        """
        fingerprint = None if inputs.backbone is None else inputs.backbone.fingerprint
        if bool(self.card.thresholds) != (inputs.marks is not None):
            return None
        if self.graph is None or self.graph.suffix != ".pb":
            return None
        if self.card.backbone.get("fingerprint") != fingerprint:
            return None
        found = _final_layer(self.graph, self.card.activation)
        expected = (inputs.bottleneck_size, len(self.card.labels))
        return found if found is not None and found.weights.shape == expected else None

    def start(self, inputs: Inputs, fresh: FinalLayer) -> FinalLayer:
        """Return the layer that steps begin with: its own, and ``fresh`` for labels it lacks."""
        found = self.layer(inputs)
        if found is None:
            return fresh
        places = renumbered(inputs.labels, self.card.labels)
        weights, biases = fresh.weights.copy(), fresh.biases.copy()
        weights[:, places >= 0] = found.weights[:, places[places >= 0]]
        biases[places >= 0] = found.biases[places[places >= 0]]
        return FinalLayer(weights, biases, fresh.activation)

    def sentence(self, inputs: Inputs, solver: str) -> str:
        """Report what steps began with; "" for a solver without steps."""
        if solver != "sgd":
            return ""
        if any(inputs.blocks) or self.layer(inputs) is None:
            return "The fit began from the start, as the earlier final layer takes other vectors."
        return "The fit began with the earlier final layer."


def growth(
    earlier: Earlier | None,
    candidates: Sequence[Inputs],
    tests: Tests,
    solver: str,
    watcher: Watcher,
) -> Growth | None:
    """Return what changed since an earlier run; None without one.

    Args:
        earlier: the run.
        candidates: inputs of this run, the tested ones first, then those of other vectors.
        tests: of this run.
        solver: what fitted the final layer.
        watcher: notified while the earlier graph labels images.
    """
    if earlier is None:
        return None
    inputs, card = candidates[0], earlier.card
    before, now = images_from_card(card.images), _numbers(inputs)
    relabelled, exact = 0, before is not None and now is not None
    if before is not None and now is not None:
        changes, relabelled = label_changes(before, now)
    else:
        counts = dict(zip(inputs.labels, inputs.counts().tolist(), strict=True))
        changes = count_changes(counts_of(card), counts)
    found = Growth(
        card=str(earlier.path),
        labels=changes,
        labels_added=tuple(each for each in inputs.labels if each not in card.labels),
        labels_removed=tuple(each for each in card.labels if each not in inputs.labels),
        relabelled=relabelled,
        exact=exact,
        fit=earlier.sentence(inputs, solver),
    )
    try:
        return replace(found, tested=_tested(earlier, candidates, tests, watcher))
    except TlcliError as error:
        return replace(found, untested=f"Not compared with the earlier classifier: {error}.")


def _tested(
    earlier: Earlier, candidates: Sequence[Inputs], tests: Tests, watcher: Watcher
) -> SameImages:
    """Return both classifiers on the test images that neither was trained on.

    Raises:
        TlcliError: why there is nothing to compare, in a few words.
    """
    inputs, card = candidates[0], earlier.card
    if card.thresholds:
        raise DataError("it gives several labels per image")
    places = renumbered(inputs.labels, card.labels)
    chosen = unseen(earlier, inputs, tests.rows) & (places[tests.truth] >= 0)
    if not chosen.any():
        raise DataError("no test image is of a label that it knows and is new to it")
    given = scores_before(earlier, candidates, tests.rows[chosen], watcher).argmax(axis=1)
    known = renumbered(card.labels, inputs.labels)
    # A label that is gone is wrong for every image.
    before = known[given]
    found = SameImages.of(before, tests.predictions.labels[chosen], tests.truth[chosen])
    assert found is not None
    return found


def unseen(earlier: Earlier, inputs: Inputs, rows: Indices) -> Bools:
    """Return which of some images did not train the earlier classifier, bool [N].

    Raises:
        DataError: that is not known, or the classifier is gone.
    """
    if earlier.graph is None:
        raise DataError("its graph is gone, or was changed since its card was written")
    training = TrainingImages.from_card(earlier.card.training_images)
    if training is None:
        raise DataError("its card does not list its training images")
    contents = [inputs.contents[row] for row in rows]
    known = np.array([content is not None for content in contents], np.bool_)
    return np.asarray(~np.array(training.contain(contents), np.bool_) & known, np.bool_)


def scores_before(
    earlier: Earlier, candidates: Sequence[Inputs], rows: Indices, watcher: Watcher
) -> Floats:
    """Return the scores of the earlier classifier, 0 to 1, float32 [N, its labels].

    Args:
        earlier: with a graph.
        candidates: inputs with the vectors that it may take; rows are those of the first.
        rows: of the images, [N].
        watcher: notified while the graph labels images.

    Raises:
        TlcliError: an image cannot be scored.
    """
    names = [candidates[0].images[row].name for row in rows]
    for inputs in candidates:
        layer = earlier.layer(inputs)
        if layer is not None:
            place = {image.name: row for row, image in enumerate(inputs.images)}
            own = np.array([place[name] for name in names], np.int64)
            return layer.probabilities(inputs.vectors_at(own))
    from tlcli.core.classifier.loading import load

    files = [candidates[0].images[row].file for row in rows]
    if any(file is None for file in files):
        raise DataError("its backbone is another one, and these images have vectors alone")
    assert earlier.graph is not None
    classifier = load(earlier.graph)
    try:
        watcher.begin("earlier", str(earlier.graph))
        found = []
        scored = classifier.probabilities([str(file) for file in files])
        for number, (path, scores, error) in enumerate(scored, 1):
            if scores is None:
                raise DataError(f"{path} cannot be read ({error})")
            found.append(scores)
            watcher("earlier", number, len(files))
    finally:
        classifier.close()
    return np.asarray(found, np.float32)


def _graph(path: Path, card: ModelCard) -> Path | None:
    """Return the unchanged graph of a card, the frozen one where there are several."""
    for suffix in _GRAPHS:
        for name, digest in card.files.items():
            graph = path.parent / name
            try:
                if graph.suffix == suffix and sha256_file(graph) == digest:
                    return graph
            except OSError:
                continue
    return None


def _final_layer(graph: Path, activation: str) -> FinalLayer | None:
    """Return the final layer of a graph of tlcli; None where its nodes are others."""
    from tlcli.errors import GraphError
    from tlcli.graph.messages import GraphDef
    from tlcli.graph.nodes import tensor_to_array

    try:
        nodes = {node.name: node for node in GraphDef.FromString(graph.read_bytes()).node}
        weights, biases = (
            np.array(tensor_to_array(nodes[name].attr["value"].tensor), np.float32)
            for name in (WEIGHTS, BIASES)
        )
    except (OSError, KeyError, ValueError, GraphError):
        return None
    return FinalLayer(weights, biases, activation)


def _numbers(inputs: Inputs) -> dict[str, list[int]] | None:
    """Return what identifies the images of each label; None where an image is a vector alone."""
    found: dict[str, list[int]] = {label: [] for label in inputs.labels}
    for target, content in zip(inputs.targets.tolist(), inputs.contents, strict=True):
        if content is None:
            return None
        found[inputs.labels[target]].append(int(content[:_DIGITS], 16))
    return found


def counts_of(card: ModelCard) -> dict[str, int]:
    """Return the number of images of each label that a card has."""
    total: dict[str, int] = {}
    images = card.training.get("images")
    for split in images.values() if isinstance(images, dict) else ():
        for label, number in split.items() if isinstance(split, dict) else ():
            if isinstance(number, int):
                total[label] = total.get(label, 0) + number
    return total
