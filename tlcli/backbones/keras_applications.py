"""Keras Applications: architectures of Keras with ImageNet weights from a file.

Keras is asked for the network alone; the weights are found, fetched and checked here, so
that a failed download is one sentence and a file put there by hand is as good as a fetched one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tlcli.backbone import Backbone, BackboneGraph
from tlcli.backbones import catalogue
from tlcli.backbones.catalogue import Entry
from tlcli.backbones.download.http import RemoteFile, download
from tlcli.backbones.freezing import (
    NetworkInput,
    chosen_size,
    fingerprint,
    freeze,
    sha256_of,
)
from tlcli.backbones.model_options import DEFAULT_OPTIONS, ModelOptions
from tlcli.core.model_spec.input_spec import PIXELS, SIGNED, UNIT
from tlcli.errors import BackboneError
from tlcli.keras_files.loading import import_keras, make_groups_plain
from tlcli.progress import Progress
from tlcli.runtime.native_stderr import quietly
from tlcli.runtime.watchdog import first_line

# Part of the fingerprint: raise it when the graphs below change any vector.
_GRAPH_VERSION = 1
# Means of ImageNet's training images, red, green and blue.
_SCALINGS = {"tf": SIGNED, "pixels": PIXELS}
# Mean and standard deviation of red, green and blue in 0..255, by mode.
_CHANNELS = {
    "caffe": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
# EfficientNet B0 to B7 were trained with images divided by the variance where Keras's layer
# divides by the deviation; Keras adds what is missing only when it loads the weights itself.
_EFFICIENTNET_STD = (0.229, 0.224, 0.225)


def find(
    entry: Entry, options: ModelOptions = DEFAULT_OPTIONS, *, model_dir: Path | str | None = None
) -> Backbone:
    """Return the backbone of a catalogue entry, its weights fetched if they are absent.

    Args:
        entry: of the kind "keras".
        options: of which height and width are used.
        model_dir: folder of weights, None for the cache folder.

    Raises:
        UsageError: a size that the network cannot take.
        DownloadError: the weights are not on this machine and cannot be fetched.
    """
    height, width = chosen_size((entry.side, entry.side), options, what=entry.name)
    weights = fetch(entry, model_dir=model_dir)
    key = fingerprint(
        "keras_applications",
        _GRAPH_VERSION,
        entry.architecture,
        entry.alpha,
        entry.mode,
        sha256_of(weights),
        height,
        width,
    )

    def load_graph() -> BackboneGraph:
        return _load(entry, weights, height, width)

    return Backbone(
        name=entry.name,
        source=f"Keras Applications {entry.architecture}, weights {weights}",
        licence=entry.licence,
        height=height,
        width=width,
        fingerprint=key,
        bottleneck_size=entry.bottleneck_size,
        load_graph=load_graph,
        trainable=True,
    )


def fetch(
    entry: Entry, *, model_dir: Path | str | None = None, progress: Progress | None = None
) -> Path:
    """Return the weight file of ``entry``, downloaded unless it is on this machine.

    Raises:
        DownloadError: it cannot be fetched.
        OutputError: the model folder cannot be written.
    """
    found = catalogue.weight_file(entry, model_dir)
    if found is not None:
        return found
    path = catalogue.weight_path(entry, model_dir)
    offline = (
        f"without a network put {entry.file_name} into {path.parent} (or name its folder "
        "with --model_dir), or use --module efficientnet_lite0 or a model file of your own"
    )
    remote = RemoteFile(entry.url, f"the weights of {entry.name}", offline, entry.checksum)
    return download(remote, path, progress)


def _load(entry: Entry, weights: Path, height: int, width: int) -> BackboneGraph:
    with quietly():
        model = _build(entry, weights, height, width)

    def call(images: Any) -> Any:
        return model(_by_channel(images, entry.mode), training=False)

    scaling = _SCALINGS.get(entry.mode, UNIT)
    return freeze(call, NetworkInput(height, width, scaling), what=entry.name)


def _by_channel(images: Any, mode: str) -> Any:
    """Return ``images`` (a tensor in [0, 1]) normalised where a mode does so per channel."""
    if mode not in _CHANNELS:
        return images
    means, stds = _CHANNELS[mode]
    factors = [255.0 / std for std in stds]
    offsets = [-mean / std for mean, std in zip(means, stds, strict=True)]
    # A value per channel only where channels differ: simpler for every reader of the graph.
    return images * (factors[0] if len(set(factors)) == 1 else factors) + offsets


def _build(entry: Entry, weights: Path, height: int, width: int) -> Any:
    keras = import_keras()
    build = getattr(keras.applications, entry.architecture)
    options: dict[str, Any] = {} if entry.alpha is None else {"alpha": entry.alpha}
    try:
        model = build(
            weights=None,
            include_top=False,
            pooling="avg",
            input_shape=(height, width, 3),
            **options,
        )
    except ValueError as error:
        raise BackboneError(
            f"{entry.name} does not take images of {height} x {width}: {first_line(error)}"
        ) from error
    load_weights(model, weights)
    if entry.mode == "caffe":
        _take_rgb(model, keras)
    if entry.architecture.startswith("EfficientNetB"):
        _finish_normalisation(model, keras)
    make_groups_plain(model)
    return model


def load_weights(model: Any, path: Path) -> None:
    """Read weights into a Keras model, in the old format of ``.h5`` files or the new one.

    Raises:
        BackboneError: no weight file, or one of another network.
    """
    import h5py  # type: ignore[import-untyped]

    try:
        with h5py.File(path, "r") as file:
            old = "layer_names" in file.attrs or "model_weights" in file
        if old:
            model.load_weights(str(path))
            return
        # Keras tells the new format by the name alone.
        with tempfile.TemporaryDirectory(prefix="tlcli-") as folder:
            named = Path(folder) / "model.weights.h5"
            named.symlink_to(path.resolve())
            model.load_weights(str(named))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(
            f"{path} does not hold weights that fit {model.name}: {first_line(error)}; "
            "remove it to have it fetched again"
        ) from error


def _take_rgb(model: Any, keras: Any) -> None:
    """Turn the first convolution of a network for BGR images round, so that it takes RGB."""
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    kernel, *rest = first.get_weights()
    first.set_weights([kernel[:, :, ::-1, :], *rest])


def _finish_normalisation(model: Any, keras: Any) -> None:
    import numpy as np

    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            mean, variance, *rest = layer.get_weights()
            deviations = np.asarray(_EFFICIENTNET_STD, variance.dtype)
            # Divides by sqrt(variance) * sqrt(deviation), which Keras does in two layers.
            layer.set_weights([mean, variance * deviations, *rest])
            layer.finalize_state()
