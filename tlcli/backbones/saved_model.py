"""SavedModel folders: both Hub formats, Keras exports, and any other with a signature.

All are read the same way: the graph with its functions, the variables filled by the model's
own restore operation, then frozen. That way nothing of the folder runs but what was checked.
Both Hub formats take images in [0, 1] by convention, other models as their first operations show;
``--input_mean`` and ``--input_std`` are for models with another range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from tlcli.backbone import INPUT, Backbone, BackboneGraph
from tlcli.backbones.bottleneck_layer import at_layer, before_scores, has_layer, named_layer
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
from tlcli.core.model_spec.first_operations import GraphSteps
from tlcli.core.model_spec.input_spec import UNIT, InputOverrides, Scaling, shown_range
from tlcli.core.model_spec.kinds import ModelKind
from tlcli.core.model_spec.labels_file import find_labels
from tlcli.core.model_spec.origins import ORIGINS, specify
from tlcli.core.model_spec.signatures import Endpoint, Purpose, find_endpoint, inference_graph
from tlcli.errors import BackboneError, TlcliError, UsageError
from tlcli.graph.nodes import DataType
from tlcli.runtime.freezing import TensorFlowError, saved_model_call
from tlcli.runtime.watchdog import first_line

# Part of the fingerprint: raise it when the graphs below change any vector.
_GRAPH_VERSION = 2
_PURPOSE = Purpose(
    # The one for bottlenecks comes first; modules that classify have both.
    signatures=("image_feature_vector", "default", "serving_default", "serve"),
    outputs=("default", "feature_vector", "features"),
    input_types=frozenset({DataType.FLOAT, DataType.UINT8, DataType.HALF}),
    output_types=frozenset(DataType) - {DataType.STRING, DataType.BOOL},
    first_signature=False,
    input_option="--module_input",
    output_option="--module_output",
    error=BackboneError,
    unknown=UsageError,
)
# The Hub's TensorFlow 1 modules store their image size in an attachment of this name.
_ATTACHMENTS = "hub_module_attachments"
_IMAGE_INFO = b"image_module_info"


@dataclass(frozen=True)
class ModuleInfo:
    """What is known about a SavedModel apart from its folder.

    Attributes:
        source: where it came from, for people; None: the folder.
        licence: of the weights.
        size: height and width of its images where the model itself declares none.
    """

    source: str | None = None
    licence: str = "unknown"
    size: tuple[int, int] | None = None


def find(
    folder: Path,
    options: ModelOptions = DEFAULT_OPTIONS,
    *,
    name: str | None = None,
    info: ModuleInfo = ModuleInfo(),
) -> Backbone:
    """Return the backbone of a SavedModel folder, without importing TensorFlow.

    Args:
        folder: contains ``saved_model.pb``.
        options: default to the usual signature and output, and to images in [0, 1].
        name: as the user typed it, the folder by default.
        info: what else is known about it.

    Raises:
        GraphError: no SavedModel, or it contains operations that inference does not need.
        BackboneError: its image input or its bottleneck cannot be inferred.
        UsageError: the image size is unknown, or the options do not fit.
    """
    from tlcli.graph.safety import check_saved_model, read_saved_model

    folder = Path(folder)
    what = f"the SavedModel {folder}"
    meta = inference_graph(read_saved_model(folder), what, _PURPOSE)
    layer = options.bottleneck_layer
    try:
        endpoint = find_endpoint(meta, what, _PURPOSE, options.input_layer, layer)
        inner = None
    except UsageError:
        if layer is None or not has_layer(meta.graph_def, layer):
            raise
        # No signature and no output: a layer inside the graph, which is looked up there.
        endpoint = find_endpoint(meta, what, _PURPOSE, options.input_layer, None)
        inner = layer
    if not options.trust:
        check_saved_model(folder)
    known = endpoint.size
    fixed = None not in known
    if not fixed:
        known = _attached_size(meta) or known
    if None in known and info.size is not None:
        known = info.size
    height, width = chosen_size(known, options, what=what, fixed=fixed)
    shape = endpoint.shape or (None,) * 4
    images = NetworkInput(
        height,
        width,
        chosen_scaling(options, UNIT),
        batch=1 if endpoint.batch == 1 else None,
        channels=1 if len(shape) == 3 or shape[3:] == (1,) else 3,
        channel_axis=len(shape) != 3,
    )
    given = options.input_mean is not None or options.input_std is not None
    key = fingerprint(
        "saved_model",
        _GRAPH_VERSION,
        *_contents(folder),
        endpoint.tags,
        endpoint.input,
        endpoint.output,
        inner,
        height,
        width,
        scaling_key(images.scaling) if given else "as it shows",
    )

    def load_graph() -> BackboneGraph:
        call = _caller(folder, endpoint, what)
        whole = freeze(call, images, what=what, trust=options.trust)
        found = None if given else _range(folder, endpoint, whole)
        if found is not None and found != UNIT:
            taken = replace(images, scaling=found)
            whole = freeze(call, taken, what=what, trust=options.trust)
        if inner is not None:
            tensor = named_layer(whole.graph, whole.output, inner, what)
            return at_layer(whole, tensor, images, what)
        return whole if layer is not None else before_scores(whole, images, what)

    return Backbone(
        name=name or str(folder),
        source=info.source or f"SavedModel {folder}",
        licence=info.licence,
        height=height,
        width=width,
        fingerprint=key,
        bottleneck_size=None,
        load_graph=load_graph,
    )


def _range(folder: Path, endpoint: Endpoint, whole: BackboneGraph) -> Scaling | None:
    """Return the range that a model shows, by its first operations or its origin, or None."""
    steps = tuple(GraphSteps(whole.graph).steps(INPUT))
    try:
        indexed = find_labels(folder).indexed
    except TlcliError:
        indexed = False  # a backbone needs no labels
    facts = ModelFacts(
        path=folder,
        kind=ModelKind.SAVED_MODEL,
        input=endpoint.key,
        output=endpoint.output,
        shape=endpoint.shape or (None, None, None, 3),
        dtype="float32",
        scores=None,
        any_batch=True,
        adjacent=find_adjacent_files(folder),
        indexed_labels=indexed,
        steps=steps,
    )
    if shown_range(steps) is None and not any(origin.fits(facts) for origin in ORIGINS):
        return None  # as the Hub's modules
    size = InputOverrides(input_height=1, input_width=1)
    found = specify(facts, size).scaling
    # Of several channels the middle; where colours differ is nothing to a backbone.
    return Scaling(float(np.mean(found.mean)), float(np.mean(found.std)))


def _contents(folder: Path) -> Iterator[str]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield f"{path.relative_to(folder).as_posix()} {sha256_of(path)}"


def _attached_size(meta: Any) -> tuple[int, int] | None:
    """Return the image size that a TensorFlow 1 module of the Hub carries as an attachment."""
    if _ATTACHMENTS not in meta.collection_def:
        return None
    from tlcli.graph.messages import ImageModuleInfo, ModuleAttachment

    try:
        for value in meta.collection_def[_ATTACHMENTS].bytes_list.value:
            attachment = ModuleAttachment.FromString(value)
            if attachment.key == _IMAGE_INFO:
                size = ImageModuleInfo.FromString(attachment.value).default_image_size
                if size.height and size.width:
                    return size.height, size.width
    except DecodeError:
        return None
    return None


def _caller(folder: Path, endpoint: Endpoint, what: str) -> Callable[[Any], Any]:
    """Return what runs the endpoint on a tensor of images, in TensorFlow."""
    from tlcli.runtime.tensorflow import import_tensorflow

    tf = import_tensorflow()
    try:
        run = saved_model_call(folder, endpoint.tags, endpoint.input, endpoint.output)
    except TensorFlowError as error:
        raise BackboneError(f"{what} cannot be loaded: {first_line(error)}") from error

    def call(images: Any) -> Any:
        if endpoint.dtype == DataType.UINT8:
            images = tf.round(images)
        if endpoint.dtype != DataType.FLOAT:
            images = tf.cast(images, tf.dtypes.as_dtype(endpoint.dtype))
        return run(images)

    return call
