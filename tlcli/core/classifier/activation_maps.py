"""Class activation maps: where in an image a classifier saw a label.

A bottleneck is the mean of a feature map over its h x w places, and the final layer is
linear, so a label's logit is the mean over the places of (features @ weights) plus a bias.
That map is exact: no gradients, no second network, one matrix product.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.arrays import Array, Floats
from tlcli.core.model_spec.linear_head import NoActivationMapError, find_linear_end
from tlcli.errors import GraphError, ImageError, OutputError
from tlcli.notebook import block, percent, picture_html
from tlcli.system.closing import Closing

if TYPE_CHECKING:
    from PIL import Image

    from tlcli.core.classifier.classifier import Classifier, Engine
    from tlcli.core.images.decoding import Source

__all__ = ["ActivationMapper", "Explanation", "GraphExplainer", "NoActivationMapError", "overlay"]

# How much of the colour shows through where the map is highest.
HEAT_STRENGTH = 0.65
# From cold to warm; even steps in lightness, so it also reads in grey.
_HEAT = np.array(
    [(13, 8, 90), (84, 2, 163), (158, 25, 157), (212, 72, 121), (245, 126, 77), (252, 200, 60)],
    dtype=np.float32,
)

# Longest side of the picture of an explanation, in pixels.
_SIDE = 384


@dataclass(frozen=True, repr=False)
class Explanation:
    """Where in an image a network sees a label.

    Attributes:
        image: as in a prediction.
        label: that is explained.
        score: of the label.
        heat_map: float32 [h, w], the part of each region in the label's logit; the mean over the
            regions plus a bias is the logit. Positive regions speak for the label.
        picture: the image in RGB, upright as the network saw it, at most 384 pixels on a side,
            with the heat map laid over it.
    """

    image: str
    label: str
    score: float
    heat_map: Floats
    picture: Image.Image

    def __repr__(self) -> str:
        return f"<Explanation of {self.label} in {self.image}: score {self.score:.3f}>"

    def _repr_html_(self) -> str:
        title = f"{self.image}: {self.label} ({percent(self.score)})"
        return block(title, end=picture_html(self.picture, title))


class GraphExplainer(Closing):
    """Makes the explanations of a classifier.

    The maps are prepared at the first call: that reads the graph's file again.

    Args:
        classifier: loaded from a file.
        options: those of `tlcli.load` that it was loaded with.
    """

    def __init__(self, classifier: Classifier, options: Mapping[str, Any]) -> None:
        self._classifier, self._options = classifier, options
        self._mapper: ActivationMapper | None = None
        self._lock = threading.Lock()

    def __call__(self, name: str, source: Source, label: str | None) -> Explanation:
        """Return the explanation of one image; see `Classifier.explain`."""
        from tlcli.core.images.thumbnails import picture

        classifier = self._classifier
        ((_, scores, error),) = classifier.probabilities([source])
        shown = picture(source, _SIDE, upright=classifier.preprocessing.turns_upright)
        if scores is None or shown is None:
            raise ImageError(f"{name}: {error or 'cannot be shown'}")
        index = int(scores.argmax()) if label is None else classifier.labels.index(label)
        with self._lock:
            if self._mapper is None:
                self._mapper = ActivationMapper.for_classifier(
                    classifier, self._options, allow_tensorflow=True
                )
            (heat_map,) = self._mapper.maps(classifier.read(source), [index])
        return Explanation(
            name,
            classifier.labels[index],
            float(str(scores[index])),
            heat_map,
            overlay(shown, heat_map),
        )

    def close(self) -> None:
        """Release the graph."""
        with self._lock:
            if self._mapper is not None:
                self._mapper.close()
                self._mapper = None


class ActivationMapper(Closing):
    """Gives activation maps of images, to several threads at once where LiteRT runs the graph.

    Attributes:
        label_count: L; None where the scores are the averaged features themselves.
        any_batch: False when it takes one image at a time, which `maps` sees to.
    """

    def __init__(
        self,
        graph: Any,
        input: str,
        output: str,
        *,
        any_batch: bool = True,
        allow_tensorflow: bool = False,
    ) -> None:
        """Prepare the maps of a backbone or a whole classifier.

        Args:
            graph: a frozen ``GraphDef``, plain as exported or as `simplify` leaves it.
            input: name of its placeholder.
            output: name of its bottleneck or of its scores.
            any_batch: False when it takes one image at a time.
            allow_tensorflow: import TensorFlow (seconds) for a graph that LiteRT cannot run.

        Raises:
            NoActivationMapError: the output is not linear in averaged features, or not to be run.
        """
        end = find_linear_end(graph, output)
        self._window, self._weights = end.window, end.weights
        self._engine = _engine(graph, input, end.features, allow_tensorflow)
        self.label_count = None if end.weights is None else end.weights.shape[1]
        self.any_batch = any_batch

    @classmethod
    def for_classifier(
        cls,
        classifier: Classifier,
        options: Mapping[str, Any] | None = None,
        *,
        allow_tensorflow: bool = False,
    ) -> ActivationMapper:
        """Return the mapper of a loaded classifier; feed it what ``classifier.read`` gives.

        The graph's file is read again: a frozen graph, a Keras file, a SavedModel that holds its
        weights, or a .tflite file next to the frozen graph that its card names.

        Args:
            classifier: of any generation.
            options: those of `tlcli.load` that it was loaded with.
            allow_tensorflow: import TensorFlow (seconds) for a graph that LiteRT cannot run.

        Raises:
            NoActivationMapError: it has no such maps.
            GraphError: the file cannot be read any more.
        """
        given = options or {}
        graph, input, output, any_batch = _read(classifier.graph, given)
        own = classifier.spec is None or classifier.spec.origin == "tlcli"
        if not (own or given.get("trust")):
            _try(graph, input, output, str(classifier.graph))
        mapper = cls(graph, input, output, any_batch=any_batch, allow_tensorflow=allow_tensorflow)
        if mapper.label_count == len(classifier.labels):
            return mapper
        mapper.close()
        if mapper.label_count is None:
            raise NoActivationMapError("its scores come from no linear layer")
        raise NoActivationMapError("its final layer does not fit its labels")

    def maps(self, batch: Array, labels: Sequence[int] | None = None) -> Array:
        """Return how much each place speaks for a label.

        Args:
            batch: float32 [n, height, width, 3] in the range that the graph takes, for graphs
                made by tlcli [0, 1].
            labels: the index of one label for each image; None: all labels of each.

        Returns:
            float32 [n, gh, gw], or [n, gh, gw, L] for all labels. The mean over the places
            plus the label's bias is the label's logit. Without a linear layer: the features,
            [n, gh, gw, D].

        Raises:
            NoActivationMapError: what was averaged is no map of all places.
            GraphError: the graph cannot be run.
        """
        parts = [batch] if self.any_batch else [batch[i : i + 1] for i in range(len(batch))]
        features = np.concatenate([np.asarray(self._engine.run(part)) for part in parts])
        if (
            features.ndim != 4
            or self._window not in (None, features.shape[1:3])
            or (self._weights is not None and features.shape[-1] != len(self._weights))
        ):
            # A pooled map that was flattened, not averaged, has more values than channels.
            raise NoActivationMapError(
                f"its feature map of the shape {list(features.shape[1:])} is not averaged as a "
                "whole"
            )
        if self._weights is None:
            return features
        if labels is None:
            return np.asarray(features @ self._weights, np.float32)
        columns = self._weights[:, np.asarray(labels, np.intp)]  # [D, n]
        found: Array = np.einsum("nhwd,dn->nhw", features, columns)
        return found.astype(np.float32, copy=False)

    def close(self) -> None:
        """Release the graph; no maps afterwards."""
        self._engine.close()


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
    level = Image.fromarray(np.rint(np.clip(np.asarray(scaled), 0, 1) * 255).astype(np.uint8))
    # By tables of 256 levels: in NumPy this takes as long as running a small network.
    *channels, alpha = _heat_tables()
    colour = Image.merge("RGB", [level.point(table) for table in channels])
    grey = image.convert("L")
    return Image.composite(colour, Image.merge("RGB", [grey] * 3), level.point(alpha))


@functools.cache
def _heat_tables() -> tuple[list[int], list[int], list[int], list[int]]:
    """Return red, green, blue and opacity, 0 to 255, of the heat levels 0 to 255."""
    level = np.arange(256) / 255
    steps = np.linspace(0, 1, len(_HEAT))
    red, green, blue = (np.rint(np.interp(level, steps, _HEAT[:, i])) for i in range(3))
    # Even the coldest place keeps a little colour, so that the map is seen to cover the image.
    alpha = np.rint(255 * HEAT_STRENGTH * (0.25 + 0.75 * level))
    return tuple(table.astype(int).tolist() for table in (red, green, blue, alpha))


def _engine(graph: Any, input: str, features: str, allow_tensorflow: bool) -> Engine:
    """Return what runs the part of ``graph`` before the average."""
    from tlcli.litert.pool import LiteRTPool
    from tlcli.litert.writer import write_model
    from tlcli.runtime.tensorflow import GraphEngine

    try:
        return LiteRTPool(write_model(graph, input, features))
    except (GraphError, OutputError) as error:
        if not allow_tensorflow and "tensorflow" not in sys.modules:
            raise NoActivationMapError(f"LiteRT does not run it: {error}") from error
    return GraphEngine(graph, input, features)


def _try(graph: Any, input: str, output: str, name: str) -> None:
    """Run in a child what no trial of the whole foreign graph has run: its features in LiteRT."""
    from tlcli.core.classifier.trial import require_litert_pass
    from tlcli.litert.writer import write_model

    try:
        content = write_model(graph, input, find_linear_end(graph, output).features)
    except (GraphError, OutputError):
        return
    require_litert_pass(content, name)


def _read(path: Path, options: Mapping[str, Any]) -> tuple[Any, str, str, bool]:
    """Return a classifier's graph, plain, with its input, its output, and if it takes batches."""
    from tlcli.core.export.model_card import load_for
    from tlcli.core.model_spec.input_inference import examine
    from tlcli.core.model_spec.input_spec import InputOverrides
    from tlcli.core.model_spec.kinds import ModelKind, kind_of
    from tlcli.graph.safety import check_operations, read_graph, read_saved_model
    from tlcli.graph.simplify import simplify

    given = InputOverrides(*(options.get(field.name) for field in fields(InputOverrides)))
    card = load_for(path)
    if card is not None:
        given = replace(
            given,
            input_layer=given.input_layer or card.input.name,
            output_layer=given.output_layer or card.output,
        )
    kind, trust = kind_of(path), bool(options.get("trust"))
    if kind.is_keras:
        from tlcli.core.classifier.load_keras import keras_network

        network = keras_network(path, given, trust=trust)
    else:
        if kind is ModelKind.SAVED_MODEL:
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
    from tlcli.system.digests import sha256_file

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
