"""What the loaders of all kinds of graphs get, and how it becomes a classifier."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tlcli.core.classifier.classifier import Classifier, Engine, ImageInput
from tlcli.core.export.model_card import ModelCard
from tlcli.core.images.decoding import Source
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.core.model_spec.input_spec import GIVEN, InputOverrides, InputSpec, Resizing, Scaling
from tlcli.core.model_spec.labels_file import Labels, fitting_labels
from tlcli.core.model_spec.origins import warn_if_assumed
from tlcli.core.unknown.model import UNKNOWN_SCORE
from tlcli.core.unknown.reading import UnknownReader
from tlcli.errors import DataError, GraphError
from tlcli.litert.pool import LiteRTPool
from tlcli.system.digests import sha256_file

# TensorFlow gains by batches of up to eight images (docs), LiteRT is fastest with one.
_TENSORFLOW_BATCH = 8
_LITERT_BATCH = 1
_CARD = "the model card"
_log = logging.getLogger("tlcli")


@dataclass(frozen=True)
class LoadRequest:
    """A graph to load, and what is known about it.

    Attributes:
        graph: its path.
        overrides: values given by the user, without those that equal the card.
        batch_size: images at a time; None chooses.
        trust: run it whatever operations it has.
        labels: None takes those next to the graph.
        card: its model card, if it has a valid one.
        digest_of: returns the SHA-256 of a file.
        run_trial: called before native code loads the graph; raises what a trial run ended with.
        unknown: predictions are to say how unlike the training images an image is.
        thresholds: of independent labels, in output order, that a file without a card states.
    """

    graph: Path
    overrides: InputOverrides
    batch_size: int | None = None
    trust: bool = False
    labels: Labels | None = None
    card: ModelCard | None = None
    digest_of: Callable[[Path], str] = sha256_file
    run_trial: Callable[[], None] = lambda: None
    unknown: bool = False
    thresholds: tuple[float, ...] = ()

    def classifier(
        self,
        spec: InputSpec,
        start_engine: Callable[[], Engine],
        *,
        tensorflow_decoder: bool = True,
    ) -> Classifier:
        """Return the classifier of a graph that was examined.

        Args:
            spec: what was found.
            start_engine: called when all else fits, as it may take long.
            tensorflow_decoder: decode as TensorFlow's label_image.py did, where the graph is
                preprocessed as that did.

        Raises:
            DataError: a labels file that cannot be read.
            GraphError: it cannot be run, or has no labels that fit.
        """
        pair = spec.activation != "softmax"
        labels = fitting_labels(self.labels, spec.labels, self.graph, pair=pair)
        preprocessing = self._preprocessing(spec)
        warn_if_assumed(spec, str(self.graph))
        engine = start_engine()
        batch_size = self.batch_size
        if batch_size is None:
            batch_size = _LITERT_BATCH if isinstance(engine, LiteRTPool) else _TENSORFLOW_BATCH
        images = ImageInput(
            preprocessing,
            spec.dtype,
            batch_size if spec.any_batch else 1,
            _reader(spec, preprocessing, tensorflow_decoder),
            spec.has_channel_axis,
        )
        classifier = Classifier(self.graph, labels.names, engine, images, spec.activation)
        shows_sigmoid = spec.activation == "sigmoid"
        if spec.activation is None:
            spec = replace(spec, activation=classifier.settle_scores())
        thresholds = self.thresholds if self.card is None else self.card.thresholds
        if len(thresholds) == len(labels.names):
            classifier.use_thresholds(thresholds)
        elif spec.activation == "sigmoid" and len(labels.names) > 2:
            _log.info(
                "The scores of %s do not depend on one another (sigmoid): several labels of an "
                "image may be right.",
                self.graph,
            )
            # What the values alone suggest is no reason to leave labels out.
            if shows_sigmoid:
                from tlcli.core.final_layer.multi_label.thresholds import NO_THRESHOLD

                classifier.use_thresholds([NO_THRESHOLD] * len(labels.names))
                _log.info("Labels count from a score of %g; --threshold changes it.", NO_THRESHOLD)
        classifier.spec, classifier.labels_source = spec, labels.source
        classifier.card = self.card
        if self.unknown:
            facts = {} if self.card is None else self.card.unknown
            classifier.unknown = UnknownReader.of_card(len(labels.names), facts)
        return classifier

    def without_unknown(self) -> GraphError:
        """Return the error for a graph that cannot tell unknown images."""
        return GraphError(
            f"{self.graph} cannot tell unknown images: it has no {UNKNOWN_SCORE}; name a frozen "
            "graph (.pb) that this version of tlcli retrain wrote, or do without --unknown"
        )

    def spec_of_card(self, labels: int | None, any_batch: bool) -> InputSpec:
        """Return the input specification that the model card and the overrides give.

        Args:
            labels: how many scores the graph gives.
            any_batch: it takes any number of images at once.

        Raises:
            GraphError: the card is of another version of tlcli.
        """
        assert self.card is not None
        trained = self._trained()
        given = {name: getattr(self.overrides, f"input_{name}") for name in ("height", "width")}
        sources = dict.fromkeys(
            ("input", "output", "height", "width", "scaling", "channels", "resizing"), _CARD
        )
        sources |= {name: GIVEN for name, value in given.items() if value is not None}
        scaling = Scaling(trained.mean, trained.std)
        changed = scaling.override(self.overrides.input_mean, self.overrides.input_std)
        if changed != scaling:
            sources["scaling"] = GIVEN
        return InputSpec(
            height=trained.height if given["height"] is None else given["height"],
            width=trained.width if given["width"] is None else given["width"],
            scaling=changed,
            # Its preprocessing gives real numbers, which the engine quantises by itself.
            dtype="float32",
            labels=labels,
            any_batch=any_batch,
            channels=self.overrides.channel_order or trained.channels,
            resizing=Resizing(trained.name, trained.filter, trained.crops, trained.turns_upright),
            activation=self.card.activation,
            input=self.card.input.name or "",
            output=self.card.output or "",
            origin="tlcli",
            sources=sources,
        )

    def _trained(self) -> Preprocessing:
        """Return what the graph of a model card was trained with."""
        assert self.card is not None
        assert self.card.input.preprocessing is not None
        try:
            return Preprocessing.from_dict(self.card.input.preprocessing)
        except DataError as error:
            raise GraphError(
                f"the model card does not fit this version of tlcli: {error}"
            ) from error

    def _preprocessing(self, spec: InputSpec) -> Preprocessing:
        if self.card is not None:
            return replace(
                self._trained(),
                height=spec.height,
                width=spec.width,
                mean=spec.scaling.mean,
                std=spec.scaling.std,
                channels=spec.channels,
            )
        resizing = spec.resizing
        return Preprocessing(
            resizing.name,
            spec.height,
            spec.width,
            spec.scaling.mean,
            spec.scaling.std,
            spec.channels,
            resizing.filter,
            resizing.crops,
            resizing.turns_upright,
        )


def _reader(
    spec: InputSpec, preprocessing: Preprocessing, tensorflow_decoder: bool
) -> Callable[[Source], Any] | None:
    """Return what reads an image in another way than ``preprocessing``, if there is one."""
    if spec.dtype == "string":
        from tlcli.core.images.encoded import read_encoded

        return read_encoded
    if not tensorflow_decoder or preprocessing.name != "label_image" or spec.channels == "grey":
        return None
    from tlcli.core.images.tensorflow_jpeg import label_image_reader

    read = label_image_reader(replace(preprocessing, channels="rgb"))
    return read if spec.channels == "rgb" else lambda source: preprocessing.arrange(read(source))
