"""Choose the graph, signature, image input and output of a SavedModel, from its messages alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tlcli.core.model_spec.first_operations import GraphSteps
from tlcli.errors import TlcliError
from tlcli.graph.endpoints import image_size, is_image_shape
from tlcli.graph.nodes import DataType, shape_dims

_SERVE = "serve"
_NO_NUMBERS = (DataType.STRING, DataType.BOOL)


@dataclass(frozen=True)
class Purpose:
    """What a SavedModel is read for, and how messages about it are worded.

    Attributes:
        signatures: names that are preferred, best first.
        outputs: keys of outputs that are preferred, best first.
        input_types: data types that an input of images may have where the user named none.
        output_types: data types that an output may have where the user named none.
        first_signature: without a preferred one, take the first by name; else ask.
        input_option: names the input.
        output_option: names the output.
        error: raised where nothing fits.
        unknown: raised where the user named what is not there.
        feeds_others: inputs besides the one of images are fed: switches, and keys of images.
        labels: how many there are, where that is known; settles which output has the scores.
    """

    signatures: tuple[str, ...]
    outputs: tuple[str, ...]
    input_types: frozenset[DataType]
    output_types: frozenset[DataType]
    first_signature: bool
    input_option: str
    output_option: str
    error: type[TlcliError]
    unknown: type[TlcliError]
    feeds_others: bool = False
    labels: int | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where images go into a SavedModel and results come out.

    Attributes:
        tags: of the graph inside the SavedModel.
        key: of the input in its signature.
        input: name of the input tensor, "NAME:0".
        output: name of the output tensor.
        dtype: number of the input's data type.
        shape: of the input; None or () where the signature has none.
        output_shape: of the output; None or () where the signature has none.
    """

    tags: tuple[str, ...]
    key: str
    input: str
    output: str
    dtype: int
    shape: tuple[int | None, ...] | None
    output_shape: tuple[int | None, ...] | None

    @property
    def size(self) -> tuple[int | None, int | None]:
        """The height and width that the signature declares."""
        return image_size(self.shape)

    @property
    def batch(self) -> int | None:
        """The number of images that the signature takes at once; None: any."""
        if self.shape is None:
            return None
        return self.shape[0] if self.shape else 1


def inference_graph(model: Any, what: str, purpose: Purpose) -> Any:
    """Return the ``MetaGraphDef`` of a SavedModel that is for inference.

    The one tagged "serve" goes first, then one without tags, as in modules of TensorFlow 1.

    Args:
        model: a ``SavedModel`` message.
        what: the model, for messages.
        purpose: carries the error to raise where there is none.
    """
    by_tags: dict[tuple[str, ...], Any] = {}
    for meta in model.meta_graphs:
        by_tags.setdefault(tuple(sorted(meta.meta_info_def.tags)), meta)
    for tags in ((_SERVE,), ()):
        if tags in by_tags:
            return by_tags[tags]
    usable = [tags for tags in by_tags if "train" not in tags]
    served = [tags for tags in usable if _SERVE in tags]
    if served or len(usable) == 1:
        return by_tags[(served or usable)[0]]
    raise purpose.error(
        f"{what} has no graph for inference (no tag {_SERVE!r}), only graphs with the tags "
        f"{'; '.join(' '.join(tags) or 'none' for tags in by_tags)}; export it again"
    )


def find_endpoint(
    meta: Any, what: str, purpose: Purpose, input_name: str | None, output_name: str | None
) -> Endpoint:
    """Return where images go into a graph of a SavedModel and results come out.

    Args:
        meta: see `inference_graph`.
        what: the model, for messages.
        purpose: preferences and errors.
        input_name: as the user named the input: its key in a signature, or its tensor.
        output_name: as the user named a signature, or an output in one of these ways.
    """
    signatures = {
        name: signature
        for name, signature in meta.signature_def.items()
        if not name.startswith("__")  # TensorFlow's own
    }
    if not signatures:
        raise purpose.error(
            f"{what} has no signature, so the input for images is unknown; save it again with "
            "tf.saved_model.save(model, folder, signatures=...)"
        )
    preferred = [name for name in purpose.signatures if name in signatures]
    names = preferred + sorted(set(signatures) - set(preferred))
    if output_name in signatures:
        names, output_name = [output_name], None
    elif output_name is not None:
        having = [name for name in names if _named(signatures[name].outputs, output_name)]
        if not having:
            outputs = sorted({key for name in names for key in signatures[name].outputs})
            raise purpose.unknown(
                f"{what} has no signature or output {output_name!r}; its signatures are "
                f"{_listed(names)}, their outputs {_listed(outputs)}"
            )
        names = having
    images = {
        name: key
        for name in names
        if (key := _image_key(signatures[name], purpose, input_name)) is not None
    }
    if not images:
        raise _no_image_input({name: signatures[name] for name in names}, what, purpose, input_name)
    name = next(iter(images))
    if not (len(images) == 1 or name in preferred or output_name or purpose.first_signature):
        raise purpose.error(
            f"{what} has the signatures {_listed(images)}; choose one with {purpose.output_option}"
        )
    source = signatures[name].inputs[images[name]]
    where = f"the signature {name!r} of {what}"
    target = _output(meta, signatures[name], where, purpose, output_name)
    return Endpoint(
        tags=tuple(sorted(meta.meta_info_def.tags)),
        key=images[name],
        input=source.name,
        output=target.name,
        dtype=source.dtype,
        shape=shape_dims(source.tensor_shape),
        output_shape=shape_dims(target.tensor_shape),
    )


def _no_image_input(
    signatures: dict[str, Any], what: str, purpose: Purpose, input_name: str | None
) -> TlcliError:
    known = "; ".join(
        f"{name} with the input {_listed(_shown(key, s.inputs[key]) for key in sorted(s.inputs))}"
        for name, s in signatures.items()
    )
    if input_name is not None:
        return purpose.unknown(
            f"no signature of {what} takes images at {input_name!r} (it has: {known}); name "
            f"another input, or leave {purpose.input_option} out"
        )
    for signature in signatures.values():
        for key, tensor in sorted(signature.inputs.items()):
            dims = shape_dims(tensor.tensor_shape)
            if dims is not None and len(dims) == 4 and dims[1] in (1, 3):
                return purpose.error(
                    f"{what} takes images with channels first ({_shown(key, tensor)}); export it "
                    "with channels last"
                )
    return purpose.error(
        f"no signature of {what} takes one batch of images [?, height, width, 3] alone (it has: "
        f"{known}); give another model"
    )


def _shown(key: str, tensor: Any) -> str:
    """Return an input as messages show it: its key, data type and shape."""
    dims = shape_dims(tensor.tensor_shape)
    shape = "" if dims is None else f" [{', '.join('?' if d is None else str(d) for d in dims)}]"
    known = tensor.dtype in iter(DataType)
    return f"{key} ({DataType(tensor.dtype).name.lower() if known else '?'}{shape})"


def _image_key(signature: Any, purpose: Purpose, wanted: str | None) -> str | None:
    """Return the key of the input that takes images, if there is one."""
    if wanted is not None:
        key = _named(signature.inputs, wanted)
        taken = purpose.input_types if DataType.STRING in purpose.input_types else frozenset()
        fits = key is not None and (
            signature.inputs[key].dtype not in _NO_NUMBERS or signature.inputs[key].dtype in taken
        )
    else:
        keys = list(signature.inputs)
        if purpose.feeds_others and len(keys) > 1:
            keys = [key for key in keys if not _is_other(key, signature.inputs[key])]
        key = keys[0] if len(keys) == 1 else None
        fits = key is not None and signature.inputs[key].dtype in purpose.input_types
    if key is None or not fits:
        return None
    dims = shape_dims(signature.inputs[key].tensor_shape)
    if signature.inputs[key].dtype == DataType.STRING:  # encoded images, one or a batch
        return key if not dims or len(dims) == 1 else None
    return key if not dims or is_image_shape(dims) else None


def _is_other(key: str, tensor: Any) -> bool:
    """Return whether an input of several is no image: a switch, or the key that names an image."""
    if tensor.dtype == DataType.STRING:  # AutoML's exports return it with the scores
        return key in ("key", "keys")
    return tensor.dtype == DataType.BOOL or shape_dims(tensor.tensor_shape) == ()


def _output(meta: Any, signature: Any, what: str, purpose: Purpose, wanted: str | None) -> Any:
    outputs = signature.outputs
    if wanted is not None:
        return outputs[_named(outputs, wanted)]
    fitting = [key for key in outputs if outputs[key].dtype in purpose.output_types]
    if len(fitting) == 1:
        return outputs[fitting[0]]
    for key in purpose.outputs:
        if key in fitting:
            return outputs[key]
    shown = GraphSteps(meta.graph_def)
    softmaxes = [key for key in fitting if shown.activation(outputs[key].name) == "softmax"]
    counted = [
        key
        for key in softmaxes or fitting
        if purpose.labels and (shape_dims(outputs[key].tensor_shape) or (0,))[-1] == purpose.labels
    ]
    for candidates in (softmaxes, counted):
        if len(candidates) == 1:
            return outputs[candidates[0]]
    if not fitting:
        raise purpose.error(
            f"{what} gives no real numbers ({_listed(sorted(outputs))}), and so no scores; give a "
            f"model that ends in its scores"
        )
    raise purpose.error(
        f"{what} has the outputs {_listed(sorted(outputs))}; choose one with "
        f"{purpose.output_option}"
    )


def _named(tensors: Any, wanted: str) -> str | None:
    """Return the key of the tensor that is called ``wanted`` by key, tensor or node."""
    if wanted in tensors:
        return wanted
    names = ((key, tensors[key].name) for key in sorted(tensors))
    return next((key for key, name in names if wanted in (name, name.rpartition(":")[0])), None)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
