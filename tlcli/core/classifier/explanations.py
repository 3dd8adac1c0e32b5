"""Explanations of an image by a loaded classifier: the heat maps of its labels."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.arrays import Floats
from tlcli.core.heat_maps.activation_maps import ActivationMapper, note_of_layers
from tlcli.core.heat_maps.linear_head import NoActivationMapError, find_linear_end
from tlcli.core.heat_maps.overlay import overlay
from tlcli.errors import GraphError, ImageError, OutputError
from tlcli.notebook import block, percent, picture_html
from tlcli.system.closing import Closing

if TYPE_CHECKING:
    from PIL import Image

    from tlcli.core.classifier.classifier import Classifier
    from tlcli.core.images.decoding import Source

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
        note: the layers whose shares the heat map has, in a sentence; "" where there is one layer.
    """

    image: str
    label: str
    score: float
    heat_map: Floats
    picture: Image.Image
    note: str = ""

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
                self._mapper = classifier_maps(classifier, self._options, allow_tensorflow=True)
            (heat_map,) = self._mapper.maps(classifier.read(source), [index])
            note = note_of_classifier(classifier, self._mapper)
        return Explanation(
            name,
            classifier.labels[index],
            float(str(scores[index])),
            heat_map,
            overlay(shown, heat_map),
            note,
        )

    def close(self) -> None:
        """Release the graph."""
        with self._lock:
            if self._mapper is not None:
                self._mapper.close()
                self._mapper = None


def classifier_maps(
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
    # Metadata alone may be anyone's; a card has a checksum of the whole file.
    own = classifier.spec is None or classifier.card is not None
    if not (own or given.get("trust")):
        _try(graph, input, output, str(classifier.graph))
    mapper = ActivationMapper(
        graph, input, output, any_batch=any_batch, allow_tensorflow=allow_tensorflow
    )
    if mapper.label_count == len(classifier.labels):
        return mapper
    mapper.close()
    if mapper.label_count is None:
        raise NoActivationMapError("its scores come from no linear layer")
    raise NoActivationMapError("its final layer does not fit its labels")


def note_of_classifier(classifier: Classifier, mapper: ActivationMapper) -> str:
    """Return the layers whose shares its heat maps have; see `note_of_layers`."""
    card = classifier.card
    layers = [] if card is None else card.backbone.get("layers", [])
    # A card may be written by anyone.
    known = isinstance(layers, list) and all(isinstance(each, dict) for each in layers)
    names = [str(each.get("name", "?")) for each in layers] if known else []
    return note_of_layers(mapper.shown, names)


def _try(graph: Any, input: str, output: str, name: str) -> None:
    """Run in a child what no trial of the whole foreign graph has run: its features in LiteRT."""
    from tlcli.core.classifier.trial import require_litert_pass
    from tlcli.core.heat_maps.feature_maps import litert_content

    maps = find_linear_end(graph, output).maps
    features = [each.features for each in maps if each.features is not None]
    try:
        content = litert_content(graph, input, features)
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
