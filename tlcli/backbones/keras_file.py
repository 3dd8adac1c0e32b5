"""Keras model files (``.keras``, ``.h5``) as backbones.

The bottleneck is what feeds the last ``Dense`` layer, also that of a model inside the model;
where no ``Dense`` comes last, it is the model's output, averaged where it is a map.
``--module_output`` names another layer, ``MODEL/LAYER`` one of a model inside.

Models for grey images get grey images. The range of pixels is decided as for labelling: by the
layers with which the model begins, the signs of its origin, or a convention, unless
``--input_mean`` or ``--input_std`` give it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.backbone import Backbone, BackboneGraph
from tlcli.backbones.bottleneck_layer import warn_of_scores
from tlcli.backbones.freezing import (
    NetworkInput,
    chosen_scaling,
    chosen_size,
    fingerprint,
    freeze,
    scaling_key,
    sha256_of,
)
from tlcli.backbones.model_options import DEFAULT_OPTIONS, ModelOptions
from tlcli.core.model_spec.adjacent_files import find_adjacent_files
from tlcli.core.model_spec.facts import ModelFacts
from tlcli.core.model_spec.input_spec import InputOverrides
from tlcli.core.model_spec.kinds import ModelKind
from tlcli.core.model_spec.labels_file import find_labels
from tlcli.core.model_spec.origins import specify
from tlcli.errors import BackboneError, GraphError, TlcliError
from tlcli.keras_files.config import (
    KerasFile,
    ModelInput,
    first_scaling,
    model_input,
    read_keras_file,
)
from tlcli.keras_files.safety import check_keras_file
from tlcli.litert.description import Step

# Part of the fingerprint: raise it when the graphs below change any vector.
_GRAPH_VERSION = 2
# What divides pixels by the deviation that photos usually have.
_DEVIATION = 1 / 58


def find(
    path: Path | str,
    options: ModelOptions = DEFAULT_OPTIONS,
    *,
    name: str | None = None,
) -> Backbone:
    """Return the backbone of a Keras model file, without importing Keras.

    Args:
        path: a ``.keras``, ``.h5`` or ``.hdf5`` file of a whole model.
        options: of which ``input_layer`` is not looked at.
        name: as the user typed it, the path by default.

    Raises:
        BackboneError: no Keras model, weights only, or it asks for Python code.
        UsageError: nothing tells the size, or the options do not fit.
    """
    path = Path(path)
    with _as_backbone_errors():
        file = read_keras_file(path)
        if not options.trust:
            check_keras_file(file)
    given = model_input(file.config)
    images = _network_input(file, given, options)
    layer = options.bottleneck_layer
    digest = sha256_of(path)
    key = fingerprint(
        "keras_file",
        _GRAPH_VERSION,
        digest,
        layer,
        images.height,
        images.width,
        scaling_key(images.scaling),
    )

    def load_graph() -> BackboneGraph:
        from tlcli.keras_files.layers import Calls
        from tlcli.keras_files.loading import ensure_built, load_model
        from tlcli.runtime.native_stderr import quietly

        with _as_backbone_errors():
            model = load_model(path, digest, trust=options.trust)
            ensure_built(model, (None, images.height, images.width, images.channels))
            call = _bottleneck(model, Calls(model), layer, file.what)
            with quietly():
                result = freeze(call, images, what=file.what, trust=options.trust)
        if layer is None:
            warn_of_scores(result, file.what)
        return result

    return Backbone(
        name=name or str(path),
        source=f"Keras model {path}",
        licence="unknown",
        height=images.height,
        width=images.width,
        fingerprint=key,
        bottleneck_size=None,
        load_graph=load_graph,
        trainable=True,
    )


@contextmanager
def _as_backbone_errors() -> Iterator[None]:
    try:
        yield
    except GraphError as error:
        raise BackboneError(str(error)) from error


def _network_input(file: KerasFile, given: ModelInput, options: ModelOptions) -> NetworkInput:
    """Return the images that a model takes.

    Raises:
        BackboneError: it takes no images.
        UsageError: nothing gives their size, or the options do not fit.
    """
    if given.shape is not None and given.channels not in (1, 3, None):
        raise BackboneError(
            f"{file.what} takes {given.shape[-1]} channels, neither colour nor grey images; "
            "give another model"
        )
    if given.shape is not None and len(given.shape) not in (3, 4):
        raise BackboneError(f"{file.what} takes {list(given.shape)}, no images; give another model")
    height, width = chosen_size(given.size, options, what=file.what, fixed=None not in given.size)
    chosen_scaling(options)  # checks the values
    overrides = InputOverrides(
        input_height=height,
        input_width=width,
        input_mean=options.input_mean,
        input_std=options.input_std,
    )
    spec = specify(_facts(file, given), overrides)
    return NetworkInput(
        height,
        width,
        spec.scaling,
        batch=1 if given.shape is not None and given.shape[0] == 1 else None,
        channels=1 if spec.channels == "grey" else 3,
        channel_axis=spec.has_channel_axis,
    )


def _facts(file: KerasFile, given: ModelInput) -> ModelFacts:
    """Return what the configuration of a file shows, and what is next to it."""
    try:
        indexed = find_labels(file.path).indexed
    except TlcliError:
        indexed = False  # a backbone needs no labels
    return ModelFacts(
        path=file.path,
        kind=ModelKind.KERAS_ZIP if file.is_zip else ModelKind.KERAS_HDF5,
        input=given.name,
        output="",
        shape=given.shape or (None, None, None, 3),
        dtype="float32",
        scores=None,
        any_batch=True,
        adjacent=find_adjacent_files(file.path),
        indexed_labels=indexed,
        steps=_steps(file),
    )


def _steps(file: KerasFile) -> tuple[Step, ...]:
    """Return the arithmetic on pixels with which a model begins."""
    found = first_scaling(file.config)
    if found is None:
        return ()
    # Normalization without another factor was adapted to the pixels of image files.
    factor = _DEVIATION if found.normalises and found.factor == 1 else found.factor
    return (("times", np.array([factor])), ("plus", np.array([found.offset])))


def _bottleneck(model: Any, calls: Any, layer: str | None, what: str) -> Any:
    """Return what gives the bottleneck for a tensor of images.

    Raises:
        BackboneError: it has several inputs or outputs.
        UsageError: it has no such layer.
    """
    from tlcli.keras_files.layers import one_tensor

    inputs = getattr(model, "inputs", None) or [None]
    if len(inputs) != 1:
        raise BackboneError(f"{what} has {len(inputs)} inputs; a backbone has one, the image")
    path = None if layer is None else calls.path_of(layer, what)

    def call(images: Any) -> Any:
        output = model(images, training=False)
        if path is not None:
            return calls.result_of(path, what)
        output = one_tensor(output, what)
        found = calls.before_scores(output)
        return output if found is None else found

    return call
