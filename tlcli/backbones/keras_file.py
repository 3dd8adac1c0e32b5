"""Keras model files (``.keras``, ``.h5``) as backbones.

The bottleneck is what feeds the last ``Dense`` layer, also that of a model inside the model;
where no ``Dense`` comes last, it is the model's output, averaged where it is a map.
``--module_output`` names another layer, ``MODEL/LAYER`` one of a model inside.

Models for grey images get grey images. A model that scales pixels of 0..255 itself (``Rescaling``
or arithmetic with a factor below 0.1, ``Normalization``) gets those, others get 0..1, unless
``--input_mean`` or ``--input_std`` give another range.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tlcli.backbone import Backbone, BackboneGraph
from tlcli.backbones.bottleneck_layer import warn_of_scores
from tlcli.backbones.freezing import (
    PIXELS,
    UNIT,
    NetworkInput,
    chosen_scaling,
    chosen_size,
    fingerprint,
    freeze,
    scaling_key,
    sha256_of,
)
from tlcli.backbones.model_options import DEFAULT_OPTIONS, ModelOptions
from tlcli.errors import BackboneError, GraphError
from tlcli.keras_files.config import (
    KerasFile,
    ModelInput,
    first_scaling,
    model_input,
    read_keras_file,
)
from tlcli.keras_files.safety import check_keras_file

# Part of the fingerprint: raise it when the graphs below change any vector.
_GRAPH_VERSION = 2
# A model whose first factor is smaller takes pixels of 0..255.
_LARGEST_PIXEL_FACTOR = 0.1


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
        from tlcli.keras_files.loading import ensure_built, load_model, quietly

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
    return NetworkInput(
        height,
        width,
        chosen_scaling(options, PIXELS if _takes_pixels(file) else UNIT),
        batch=1 if given.shape is not None and given.shape[0] == 1 else None,
        channels=given.channels or 3,
        channel_axis=given.shape is None or len(given.shape) == 4,
    )


def _takes_pixels(file: KerasFile) -> bool:
    """Return whether a model brings pixels of 0..255 into its own range."""
    found = first_scaling(file.config)
    if found is None:
        return False
    return found.normalises or abs(found.factor) < _LARGEST_PIXEL_FACTOR


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
