"""What the loaders of all kinds of graphs get, and how it becomes a classifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tlcli.core.classifier.classifier import Classifier, Engine, ImageInput
from tlcli.core.classifier.input_spec import InputOverrides, InputSpec
from tlcli.core.classifier.labels_file import Labels, fitting_labels
from tlcli.core.export.model_card import ModelCard
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import DataError, GraphError
from tlcli.litert.pool import LiteRTPool
from tlcli.system.atomic_files import sha256_file

# TensorFlow gains by batches of up to eight images (docs), LiteRT is fastest with one.
_TENSORFLOW_BATCH = 8
_LITERT_BATCH = 1


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
    """

    graph: Path
    overrides: InputOverrides
    batch_size: int | None = None
    trust: bool = False
    labels: Labels | None = None
    card: ModelCard | None = None
    digest_of: Callable[[Path], str] = sha256_file

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
        labels = fitting_labels(self.labels, spec.labels, self.graph)
        preprocessing = self._preprocessing(spec)
        reader = None
        if tensorflow_decoder and preprocessing.name == "label_image":
            from tlcli.core.images.tensorflow_jpeg import label_image_reader

            reader = label_image_reader(preprocessing)
        engine = start_engine()
        batch_size = self.batch_size
        if batch_size is None:
            batch_size = _LITERT_BATCH if isinstance(engine, LiteRTPool) else _TENSORFLOW_BATCH
        return Classifier(
            self.graph,
            labels.names,
            engine,
            ImageInput(preprocessing, spec.dtype, batch_size if spec.any_batch else 1, reader),
        )

    def _preprocessing(self, spec: InputSpec) -> Preprocessing:
        """Return what the graph was trained with: the card's, else that of label_image.py."""
        if self.card is None or self.card.input.preprocessing is None:
            scaling = spec.scaling
            return Preprocessing("label_image", spec.height, spec.width, scaling.mean, scaling.std)
        try:
            trained = Preprocessing.from_dict(self.card.input.preprocessing)
        except DataError as error:
            raise GraphError(
                f"the model card does not fit this version of tlcli: {error}"
            ) from error
        names = ("height", "width", "mean", "std")
        given = {name: getattr(self.overrides, f"input_{name}") for name in names}
        return replace(
            trained, **{name: value for name, value in given.items() if value is not None}
        )
