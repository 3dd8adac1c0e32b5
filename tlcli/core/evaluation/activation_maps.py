"""Class activation maps: where in an image a classifier saw a label.

A bottleneck is the mean of a feature map over its h x w places, and the final layer is
linear, so a label's logit is the mean over the places of (features @ weights) plus a bias.
That map is exact: no gradients, no second network, one matrix product.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.arrays import Array
from tlcli.backbone import INPUT, BackboneGraph
from tlcli.core.evaluation.linear_head import LinearEnd, NoActivationMapError, find_linear_end
from tlcli.errors import GraphError, OutputError

if TYPE_CHECKING:
    from PIL import Image

    from tlcli.core.classifier.classifier import Classifier, Engine
    from tlcli.core.final_layer.sgd import FinalLayer
    from tlcli.core.model_spec.input_spec import InputOverrides

__all__ = ["ActivationMapper", "NoActivationMapError", "overlay"]

# How much of the colour shows through where the map is highest.
HEAT_STRENGTH = 0.65
# From cold to warm; even steps in lightness, so it also reads in grey.
_HEAT = np.array(
    [(13, 8, 90), (84, 2, 163), (158, 25, 157), (212, 72, 121), (245, 126, 77), (252, 200, 60)],
    dtype=np.float32,
)


class ActivationMapper:
    """What gives activation maps of images; made by one of its ``from_`` or ``for_`` methods.

    Not for several threads at once.

    Attributes:
        label_count: L.
        any_batch: False when it takes one image at a time, which `maps` sees to.
    """

    def __init__(
        self,
        engine: Engine,
        end: LinearEnd,
        weights: Array,
        biases: Array,
        any_batch: bool = True,
    ) -> None:
        self._engine, self._window = engine, end.window
        self._weights, self._biases = weights, biases
        self.label_count = len(biases)
        self.any_batch = any_batch

    @classmethod
    def from_backbone(
        cls, backbone: BackboneGraph, layer: FinalLayer, *, allow_tensorflow: bool = False
    ) -> ActivationMapper:
        """Return the mapper of a backbone and the final layer behind it.

        Args:
            backbone: loaded.
            layer: its weights are [D, L].
            allow_tensorflow: import TensorFlow (seconds) for a graph that LiteRT cannot run.

        Raises:
            NoActivationMapError: the bottleneck is no average over positions, or not to be run.
        """
        end = find_linear_end(backbone.graph, backbone.output)
        weights: Array = np.asarray(layer.weights)
        biases: Array = np.asarray(layer.biases)
        if end.biases is not None:
            biases = biases + end.biases @ weights
        if end.weights is not None:
            weights = end.weights @ weights
        engine = _engine(backbone.graph, INPUT, end.features, allow_tensorflow)
        return cls(engine, end, weights, biases, backbone.any_batch)

    @classmethod
    def from_graph(
        cls, graph: Any, input: str, output: str, *, allow_tensorflow: bool = False
    ) -> ActivationMapper:
        """Return the mapper of a whole classifier, ``output_graph.pb`` for one.

        Args:
            graph: a frozen ``GraphDef``, plain as exported or as `simplify` leaves it.
            input: name of its placeholder.
            output: name of its scores.
            allow_tensorflow: as above.

        Raises:
            NoActivationMapError: the scores are not linear in averaged features.
        """
        end = find_linear_end(graph, output)
        if end.weights is None:
            raise NoActivationMapError("its scores come from no linear layer")
        biases = end.biases
        if biases is None:
            biases = np.zeros(end.weights.shape[1], np.float32)
        engine = _engine(graph, input, end.features, allow_tensorflow)
        return cls(engine, end, end.weights, biases)

    @classmethod
    def for_classifier(
        cls,
        classifier: Classifier,
        options: InputOverrides | None = None,
        *,
        trust: bool = False,
        allow_tensorflow: bool = False,
    ) -> ActivationMapper:
        """Return the mapper of a loaded classifier; feed it what ``classifier.read`` gives.

        The graph's file is read again: a frozen graph, a SavedModel that holds its weights,
        or a .tflite file next to the frozen graph that its card names.

        Args:
            classifier: of any generation.
            options: the same that it was loaded with.
            trust: also as in `tlcli.load`.
            allow_tensorflow: import TensorFlow (seconds) for a graph that LiteRT cannot run.

        Raises:
            NoActivationMapError: it has no such maps.
            GraphError: the file cannot be read any more.
        """
        graph, input, output, any_batch = _read(classifier.graph, options, trust)
        mapper = cls.from_graph(graph, input, output, allow_tensorflow=allow_tensorflow)
        if mapper.label_count != len(classifier.labels):
            mapper.close()
            raise NoActivationMapError("its final layer does not fit its labels")
        mapper.any_batch = any_batch
        return mapper

    def features(self, batch: Array) -> Array:
        """Return the feature maps, float32 [n, gh, gw, D].

        Args:
            batch: float32 [n, height, width, 3] in the range that the graph takes, for graphs
                made by tlcli [0, 1].

        Raises:
            NoActivationMapError: what was averaged is no map of all places.
            GraphError: the graph cannot be run.
        """
        parts = [batch] if self.any_batch else [batch[i : i + 1] for i in range(len(batch))]
        found = np.concatenate([np.asarray(self._engine.run(part)) for part in parts])
        if (
            found.ndim != 4
            or found.shape[-1] != len(self._weights)
            or self._window not in (None, found.shape[1:3])
        ):
            # A pooled map that was flattened, not averaged, has more values than channels.
            raise NoActivationMapError(
                f"its feature map of the shape {list(found.shape[1:])} is not averaged as a whole"
            )
        return found

    def maps(self, batch: Array, labels: Sequence[int] | None = None) -> Array:
        """Return how much each place speaks for a label.

        Args:
            batch: as `features` takes it.
            labels: the index of one label for each image; None: all labels of each.

        Returns:
            float32 [n, gh, gw], or [n, gh, gw, L] for all labels. The mean over the places
            plus the label's bias is the label's logit.

        Raises:
            NoActivationMapError, GraphError: as `features`.
        """
        features = self.features(batch)
        if labels is None:
            return np.asarray(features @ self._weights, np.float32)
        columns = self._weights[:, np.asarray(labels, np.intp)]  # [D, n]
        found: Array = np.einsum("nhwd,dn->nhw", features, columns)
        return found.astype(np.float32, copy=False)

    def logits(self, maps: Array) -> Array:
        """Return the logits [n, L] of maps [n, gh, gw, L] of all labels."""
        return np.asarray(maps.mean(axis=(1, 2)) + self._biases, np.float32)

    def close(self) -> None:
        """Release the graph; no maps afterwards."""
        self._engine.close()

    def __enter__(self) -> ActivationMapper:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def overlay(image: Image.Image, activation: Array) -> Image.Image:
    """Lay an activation map over an image: grey where it is low, warm where it is high.

    Args:
        image: any size; shown as the network saw it, that is whole.
        activation: [gh, gw], any range; what is below zero speaks against the label and counts
            as zero.

    Returns:
        RGB, of the image's size.
    """
    from PIL import Image

    heat = np.maximum(np.nan_to_num(np.asarray(activation, dtype=np.float32)), 0)
    highest = float(heat.max()) if heat.size else 0.0
    if highest > 0:
        heat = heat / highest
    scaled = Image.fromarray(heat).resize(image.size, Image.Resampling.BICUBIC)
    level = np.clip(np.asarray(scaled, dtype=np.float32), 0, 1)
    place = level * (len(_HEAT) - 1)
    below = np.minimum(place.astype(np.int64), len(_HEAT) - 2)
    part = (place - below)[..., None]
    colour = _HEAT[below] * (1 - part) + _HEAT[below + 1] * part
    grey = np.asarray(image.convert("L"), dtype=np.float32)[..., None]
    # Even the coldest place keeps a little colour, so that the map is seen to cover the image.
    alpha = (HEAT_STRENGTH * (0.25 + 0.75 * level))[..., None]
    mixed = grey * (1 - alpha) + colour * alpha
    return Image.fromarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))


def _engine(graph: Any, input: str, features: str, allow_tensorflow: bool) -> Engine:
    """Return what runs the part of ``graph`` before the average."""
    from tlcli.litert.interpreter import LiteRTEngine
    from tlcli.litert.writer import write_model
    from tlcli.runtime.tensorflow import GraphEngine

    try:
        return LiteRTEngine(write_model(graph, input, features))
    except (GraphError, OutputError) as error:
        if not allow_tensorflow and "tensorflow" not in sys.modules:
            raise NoActivationMapError(f"LiteRT does not run it: {error}") from error
    return GraphEngine(graph, input, features)


def _read(path: Path, options: InputOverrides | None, trust: bool) -> tuple[Any, str, str, bool]:
    """Return a classifier's graph, plain, with its input, its output, and if it takes batches."""
    from tlcli.core.export.model_card import load_for
    from tlcli.core.model_spec.input_inference import examine
    from tlcli.core.model_spec.input_spec import InputOverrides
    from tlcli.graph.safety import check_operations, read_graph, read_saved_model
    from tlcli.graph.simplify import simplify

    given = options or InputOverrides()
    card = load_for(path)
    if card is not None:
        given = replace(
            given,
            input_layer=given.input_layer or card.input.name,
            output_layer=given.output_layer or card.output,
        )
    if path.is_dir():
        graph = read_saved_model(path).meta_graphs[0].graph_def
    else:
        graph = read_graph(_frozen_beside(path))
    if not trust:
        check_operations(graph, str(path))
    network = examine(graph, given, path)
    plain = network.graph
    if card is None:
        plain = simplify(plain, network.input, [network.output])
    return plain, network.input, network.output, network.facts.any_batch


def _frozen_beside(path: Path) -> Path:
    """Return the frozen graph that belongs to a .tflite file, and any other file itself."""
    from tlcli.core.export.model_card import card_path, load_for
    from tlcli.system.atomic_files import sha256_file

    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] != b"TFL3" and path.suffix != ".tflite":
        return path
    card = load_for(path)
    for name, digest in card.files.items() if card is not None else ():
        place = card_path(path).parent / name
        if name.endswith(".pb") and place.is_file() and sha256_file(place) == digest:
            return place
    raise NoActivationMapError("it is a .tflite file without the frozen graph it was made from")
