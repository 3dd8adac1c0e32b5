"""SavedModel folders: both Hub formats, Keras exports, and any other with a signature.

All are read the same way: the graph with its functions, the variables filled by the model's
own restore operation, then frozen. That way nothing of the folder runs but what was checked.
Both Hub formats take images in [0, 1] by convention; ``--input_mean`` and ``--input_std``
are for models with another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.backbone import Backbone, BackboneGraph
from tlcli.backbones.freezing import (
    UNIT,
    Scaling,
    chosen_scaling,
    chosen_size,
    fingerprint,
    first_line,
    freeze,
    sha256_of,
)
from tlcli.backbones.model_options import AS_IT_SAYS, ModelOptions
from tlcli.errors import BackboneError, UsageError
from tlcli.graph.nodes import DataType

# Part of the fingerprint: raise it when the graphs below change any vector.
_GRAPH_VERSION = 1
# The one for bottlenecks comes first; modules that classify have both.
_SIGNATURES = ("image_feature_vector", "default", "serving_default", "serve")
_OUTPUTS = ("default", "feature_vector", "features")
_RESERVED = "__saved_model_init_op"
# The Hub's TensorFlow 1 modules keep their image size in an attachment of this name.
_ATTACHMENTS = "hub_module_attachments"
_IMAGE_INFO = b"image_module_info"


@dataclass(frozen=True)
class Endpoint:
    """Where images go into a SavedModel and vectors come out.

    Attributes:
        tags: of the graph inside the SavedModel.
        input: name of the input tensor.
        output: name of the output tensor.
        dtype: number of the input's data type.
        batch: 1 for a model that takes one image at a time, None otherwise.
        height: of the images, None where the model does not say.
        width: likewise.
        fixed: the model takes no other size.
    """

    tags: tuple[str, ...]
    input: str
    output: str
    dtype: int
    batch: int | None
    height: int | None
    width: int | None
    fixed: bool


def find(
    folder: Path,
    options: ModelOptions = AS_IT_SAYS,
    *,
    name: str | None = None,
    size_hint: tuple[int, int] | None = None,
    licence: str = "unknown",
    source: str | None = None,
) -> Backbone:
    """Return the backbone of a SavedModel folder, without importing TensorFlow.

    Args:
        folder: holds ``saved_model.pb``.
        options: the usual signature and output, and images in [0, 1], where they say nothing.
        name: as the user typed it, the folder by default.
        size_hint: height and width where nothing else tells.
        licence: of the weights.
        source: where it came from, for people.

    Raises:
        GraphError: no SavedModel, or it holds operations that inference does not need.
        BackboneError: it has no output that can be told to be the bottleneck.
        UsageError: nothing tells the size, or the options do not fit.
    """
    from tlcli.graph.safety import check_saved_model

    folder = Path(folder)
    what = f"the SavedModel {folder}"
    endpoint = _endpoint(folder, what, options)
    if not options.trust:
        check_saved_model(folder)
    known = (endpoint.height, endpoint.width)
    if None in known and size_hint is not None:
        known = size_hint
    height, width = chosen_size(known, options, what=what, fixed=endpoint.fixed)
    scaling = chosen_scaling(options, UNIT)
    key = fingerprint(
        "saved_model",
        _GRAPH_VERSION,
        *_contents(folder),
        endpoint.tags,
        endpoint.input,
        endpoint.output,
        height,
        width,
        scaling.key,
    )

    def load_graph() -> BackboneGraph:
        return _load(folder, endpoint, height, width, scaling, what, options.trust)

    return Backbone(
        name=name or str(folder),
        source=source or f"SavedModel {folder}",
        licence=licence,
        height=height,
        width=width,
        fingerprint=key,
        bottleneck_size=None,
        load_graph=load_graph,
    )


def _contents(folder: Path) -> Iterator[str]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield f"{path.relative_to(folder).as_posix()} {sha256_of(path)}"


def _endpoint(folder: Path, what: str, options: ModelOptions) -> Endpoint:
    from tlcli.graph.safety import read_saved_model

    meta = _inference_graph(read_saved_model(folder), what)
    signatures = {
        key: signature for key, signature in meta.signature_def.items() if key != _RESERVED
    }
    if not signatures:
        raise BackboneError(
            f"{what} has no signature, so nothing tells where images go in; save it again with "
            "tf.saved_model.save(model, folder, signatures=...)"
        )
    name, output = _choose(signatures, options.bottleneck_layer, what)
    signature = signatures[name]
    image = _image_input(signature, options.input_layer, f"the signature {name!r} of {what}")
    dims = [dim.size for dim in image.tensor_shape.dim]
    height, width = (dims[1], dims[2]) if len(dims) == 4 else (-1, -1)
    fixed = height > 0 and width > 0
    if not fixed:
        height, width = _attached_size(meta) or (height, width)
    return Endpoint(
        tags=tuple(sorted(meta.meta_info_def.tags)),
        input=image.name,
        output=signature.outputs[output].name,
        dtype=image.dtype,
        batch=1 if len(dims) == 4 and dims[0] == 1 else None,
        height=height if height > 0 else None,
        width=width if width > 0 else None,
        fixed=fixed,
    )


def _inference_graph(model: Any, what: str) -> Any:
    by_tags = {frozenset(meta.meta_info_def.tags): meta for meta in model.meta_graphs}
    for tags in (frozenset({"serve"}), frozenset[str]()):
        if tags in by_tags:
            return by_tags[tags]
    usable = [meta for tags, meta in by_tags.items() if "train" not in tags]
    if len(usable) == 1:
        return usable[0]
    raise BackboneError(
        f"{what} has no graph for inference, only graphs with the tags "
        + "; ".join(" ".join(sorted(tags)) or "none" for tags in by_tags)
    )


def _choose(signatures: dict[str, Any], wanted: str | None, what: str) -> tuple[str, str]:
    """Return the names of the signature and of its output."""
    preferred = [name for name in _SIGNATURES if name in signatures]
    order = preferred + sorted(set(signatures) - set(preferred))
    if wanted is None and not preferred and len(order) > 1:
        raise BackboneError(
            f"{what} has the signatures {', '.join(order)}; choose one with --module_output"
        )
    if wanted is not None and wanted not in signatures:
        for name in order:
            if wanted in signatures[name].outputs:
                return name, wanted
        outputs = sorted({key for name in order for key in signatures[name].outputs})
        raise UsageError(
            f"{what} has no signature or output {wanted!r}; its signatures are "
            f"{', '.join(order)}, their outputs {', '.join(outputs)}"
        )
    name = wanted if wanted is not None else order[0]
    outputs = sorted(signatures[name].outputs)
    if len(outputs) == 1:
        return name, outputs[0]
    for output in _OUTPUTS:
        if output in outputs:
            return name, output
    raise BackboneError(
        f"the signature {name!r} of {what} has the outputs {', '.join(outputs) or '(none)'}; "
        "choose one with --module_output"
    )


def _image_input(signature: Any, wanted: str | None, what: str) -> Any:
    inputs = dict(signature.inputs)
    if wanted is not None:
        for key, tensor in inputs.items():
            if wanted in (key, tensor.name, tensor.name.partition(":")[0]):
                return tensor
        raise UsageError(
            f"{what} has no input {wanted!r}; its inputs are {', '.join(sorted(inputs))}"
        )
    images = [tensor for tensor in inputs.values() if _takes_images(tensor)]
    if len(images) != 1 or len(inputs) != 1:
        raise BackboneError(
            f"{what} has the inputs {', '.join(sorted(inputs)) or '(none)'}, where one input of "
            "images [?, height, width, 3] is needed; choose another signature with --module_output"
        )
    return images[0]


def _takes_images(tensor: Any) -> bool:
    if tensor.dtype not in (DataType.FLOAT, DataType.UINT8, DataType.HALF):
        return False
    dims = [dim.size for dim in tensor.tensor_shape.dim]
    return tensor.tensor_shape.unknown_rank or (len(dims) == 4 and dims[3] in (3, -1))


def _attached_size(meta: Any) -> tuple[int, int] | None:
    """Return the image size that a TensorFlow 1 module of the Hub carries as an attachment.

    ``ModuleAttachment`` {1: key, 2: value}; ``ImageModuleInfo`` {1: {1: height, 2: width}}.
    """
    if _ATTACHMENTS not in meta.collection_def:
        return None
    collection = meta.collection_def[_ATTACHMENTS].SerializeToString()
    for values in _fields(collection).get(2, []):
        for attachment in _fields(values).get(1, []):
            fields = _fields(attachment)
            if fields.get(1) == [_IMAGE_INFO]:
                for info in _fields(fields.get(2, [b""])[0]).get(1, []):
                    size = _fields(info)
                    height, width = size.get(1, [0])[0], size.get(2, [0])[0]
                    if isinstance(height, int) and isinstance(width, int) and height and width:
                        return height, width
    return None


def _fields(message: Any) -> dict[int, list[Any]]:
    """Return the fields of a small protobuf message: numbers and byte strings only."""
    result: dict[int, list[Any]] = {}
    if not isinstance(message, bytes):
        return result
    position = 0

    def number() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    try:
        while position < len(message):
            field, kind = divmod(number(), 8)
            if kind == 0:
                result.setdefault(field, []).append(number())
            elif kind == 2:
                size = number()
                result.setdefault(field, []).append(message[position : position + size])
                position += size
            else:
                return result
    except IndexError:
        return result
    return result


def _load(
    folder: Path,
    endpoint: Endpoint,
    height: int,
    width: int,
    scaling: Scaling,
    what: str,
    trust: bool,
) -> BackboneGraph:
    from tlcli.runtime.tensorflow import import_tensorflow

    tf = import_tensorflow()
    frozen = _frozen(tf, folder, endpoint, what)

    def call(images: Any) -> Any:
        if endpoint.dtype == DataType.UINT8:
            images = tf.round(images)
        if endpoint.dtype != DataType.FLOAT:
            images = tf.cast(images, tf.dtypes.as_dtype(endpoint.dtype))
        name = endpoint.input if ":" in endpoint.input else f"{endpoint.input}:0"
        return tf.import_graph_def(
            frozen, input_map={name: images}, return_elements=[endpoint.output], name="module"
        )

    return freeze(call, height, width, scaling, what=what, batch=endpoint.batch, trust=trust)


def _frozen(tf: Any, folder: Path, endpoint: Endpoint, what: str) -> Any:
    """Return the ``tf.GraphDef`` of the endpoint, its variables as constants."""
    import warnings

    from tlcli.runtime.native_stderr import quiet_stderr

    with quiet_stderr(), warnings.catch_warnings(), tf.Graph().as_default():
        warnings.simplefilter("ignore")
        with tf.compat.v1.Session() as session:
            try:
                loaded = tf.compat.v1.saved_model.load(session, list(endpoint.tags), str(folder))
                return tf.compat.v1.graph_util.convert_variables_to_constants(
                    session,
                    _without_devices(loaded.graph_def),
                    [re.sub(r":\d+$", "", endpoint.output)],
                )
            except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
                raise BackboneError(f"{what} cannot be loaded: {first_line(error)}") from error


def _without_devices(graph: Any) -> Any:
    # A device of the machine that saved it would be looked for on this one.
    for node in graph.node:
        node.device = ""
    return graph
