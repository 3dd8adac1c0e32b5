"""SavedModel folders made by anyone: the input spec of one, and what runs it."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlcli.arrays import Array
from tlcli.core.classifier.classifier import Classifier
from tlcli.core.classifier.load_frozen import classifier_of, convert
from tlcli.core.classifier.load_request import LoadRequest
from tlcli.core.classifier.outputs import count_scores
from tlcli.core.model_spec.facts import ModelFacts
from tlcli.core.model_spec.first_operations import GraphSteps
from tlcli.core.model_spec.input_inference import switch_value
from tlcli.core.model_spec.input_spec import InputOverrides
from tlcli.core.model_spec.kinds import ModelKind
from tlcli.core.model_spec.labels_file import count_labels
from tlcli.core.model_spec.signatures import Purpose, find_endpoint, inference_graph
from tlcli.errors import GraphError
from tlcli.graph.endpoints import DECODERS
from tlcli.graph.nodes import DataType
from tlcli.graph.safety import check_saved_model, every_node, read_saved_model
from tlcli.keras_files.augmentation import draws_random_numbers
from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.saved_model import load_into
from tlcli.runtime.tensorflow import SessionEngine, import_tensorflow
from tlcli.runtime.watchdog import first_line

if TYPE_CHECKING:
    from tlcli.core.model_spec.input_inference import FrozenNetwork

_log = logging.getLogger("tlcli")

_TYPES: dict[int, str] = {
    DataType.FLOAT: "float32",
    DataType.UINT8: "uint8",
    DataType.STRING: "string",
}
_LABELLING = Purpose(
    signatures=("serving_default",),
    outputs=(*("prediction", "predictions", "probabilities", "scores", "softmax", "final_result"),),
    input_types=frozenset({DataType.FLOAT, DataType.UINT8}),
    output_types=frozenset({DataType.FLOAT, DataType.HALF, DataType.DOUBLE}),
    first_signature=True,
    input_option="--input_layer",
    output_option="--output_layer",
    error=GraphError,
    unknown=GraphError,
    feeds_others=True,
)
_BOXES = frozenset({"detection_boxes", "detected_boxes"})


@dataclass(frozen=True)
class SavedModelEnds:
    """Where images enter a SavedModel and scores leave it.

    Attributes:
        tags: of the graph to load.
        input: tensor to feed, "NAME:0".
        output: tensor of the scores.
        facts: what the model shows of them.
        batch: number of images that it takes at once; None: any.
    """

    tags: tuple[str, ...]
    input: str
    output: str
    facts: ModelFacts
    batch: int | None = None


def load_saved_model(request: LoadRequest) -> Classifier:
    """Return the classifier of a SavedModel folder.

    Raises:
        DataError: a labels file that cannot be read.
        GraphError: it cannot be read or run, or has no labels that fit.
    """
    if not request.trust:
        check_saved_model(request.graph)
    count = count_labels(request.labels, request.graph)
    ends = examine_saved_model(request.graph, request.overrides, labels=count)
    if draws_random_numbers(read_saved_model(request.graph)):
        network = saved_model_network(request, ends)
        facts, engine = network.facts, convert(network)[0]
    else:
        facts, engine = ends.facts, SavedModelEngine(request.graph, ends)
    try:
        return classifier_of(request, facts, engine)
    except BaseException:
        engine.close()
        raise


def saved_model_network(request: LoadRequest, ends: SavedModelEnds) -> FrozenNetwork:
    """Return a SavedModel as a frozen network without the layers that change images at random.

    Args:
        request: of the folder, which was checked.
        ends: what was found in it; its input takes pixels.

    Raises:
        GraphError: TensorFlow cannot load it.
    """
    from tlcli.core.model_spec.input_inference import examine
    from tlcli.graph.messages import GraphDef
    from tlcli.graph.simplify import simplify
    from tlcli.graph.surgery import without_identity_n
    from tlcli.keras_files.augmentation import without_augmentation
    from tlcli.runtime.freezing import TensorFlowError, TracedInput, frozen_call, saved_model_call

    folder, given = request.graph, TracedInput("images", ends.facts.shape, ends.facts.dtype)
    try:
        call = saved_model_call(folder, ends.tags, ends.input, ends.output)
        frozen = frozen_call(call, given, "scores")
    except TensorFlowError as error:
        raise GraphError(f"TensorFlow cannot load {folder}: {first_line(error)}") from error
    graph = without_identity_n(GraphDef.FromString(frozen.graph))
    graph = simplify(graph, given.name, [frozen.output])
    graph, removed = without_augmentation(graph, given.name, frozen.output)
    if removed:
        _log.info("Left out of %s, as they change images at random: %s", folder, ", ".join(removed))
    overrides = replace(request.overrides, input_layer=given.name, output_layer=frozen.output)
    count = None if request.labels is None else len(request.labels.names)
    network = examine(graph, overrides, folder, labels=count)
    known = {name: getattr(ends.facts, name) for name in ("kind", "input", "output")}
    return replace(network, facts=replace(network.facts, **known))


def examine_saved_model(
    folder: Path, overrides: InputOverrides, *, labels: int | None = None
) -> SavedModelEnds:
    """Return where images enter a SavedModel and what it shows of them, by its signatures.

    ``--input_layer`` and ``--output_layer`` name a signature's key or its tensor.

    Args:
        folder: of the model.
        overrides: go before what is inferred.
        labels: how many there are, where that is known.

    Raises:
        GraphError: no SavedModel, or something cannot be inferred.
    """
    meta = inference_graph(read_saved_model(folder), str(folder), _LABELLING)
    if any(_BOXES & set(each.outputs) for each in meta.signature_def.values()):
        raise GraphError(f"{folder} gives boxes, not labels: it detects objects; give a classifier")
    purpose = replace(_LABELLING, labels=labels)
    if any(node.op in DECODERS for node in every_node(meta.graph_def)):
        # It takes encoded images where it has no signature that takes pixels.
        purpose = replace(purpose, input_types=purpose.input_types | {DataType.STRING})
    found = find_endpoint(meta, str(folder), purpose, overrides.input_layer, overrides.output_layer)
    dtype = _TYPES.get(found.dtype)
    if dtype is None:
        raise GraphError(
            f"the input {found.key!r} of {folder} takes neither float32 nor uint8, so it takes no "
            "pixels; name another with --input_layer"
        )
    shown = GraphSteps(meta.graph_def)
    facts = ModelFacts(
        path=folder,
        kind=ModelKind.SAVED_MODEL,
        input=found.key,
        output=found.output.split(":")[0],
        shape=found.shape or (None, None, None, 3) if dtype != "string" else found.shape or (),
        dtype=dtype,
        scores=None if found.output_shape is None else count_scores(found.output_shape, folder),
        any_batch=found.batch is None,
        steps=tuple(shown.steps(found.input.split(":")[0])),
        activation=shown.activation(found.output),
    )
    return SavedModelEnds(found.tags, found.input, found.output, facts, found.batch)


class SavedModelEngine(SessionEngine):
    """A SavedModel in a TensorFlow session of its own; check it before (`tlcli.graph.safety`).

    Raises:
        GraphError: TensorFlow cannot load it.
    """

    def __init__(self, folder: Path, ends: SavedModelEnds) -> None:
        tf = import_tensorflow()
        config = tf.compat.v1.ConfigProto()
        config.gpu_options.allow_growth = True
        config.allow_soft_placement = True  # the device that it was made on may be absent
        try:
            with quiet_stderr(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                holder = tf.Graph()
                session = tf.compat.v1.Session(graph=holder, config=config)
                load_into(session, ends.tags, folder)
                tensors = [holder.get_tensor_by_name(name) for name in (ends.input, ends.output)]
        except Exception as error:
            raise GraphError(f"TensorFlow cannot load {folder}: {first_line(error)}") from error
        super().__init__(session, tensors, "the SavedModel")
        self._takes_one = ends.facts.dtype == "string" and not ends.facts.shape
        self._batch = ends.batch
        self._others = _other_inputs(holder, *tensors)

    def run(self, batch: Array) -> Array:
        """Return the scores for a batch, as `SessionEngine.run` does."""
        if self._takes_one:
            return super().run(batch.reshape(()))
        if self._batch is None or self._batch <= len(batch):
            return super().run(batch)
        # It takes more images at once than there are.
        filled = np.concatenate([batch, *[batch[:1]] * (self._batch - len(batch))])
        return super().run(filled)[: len(batch)]

    def feeds(self, batch: Array) -> dict[Any, Any]:
        """Return what is fed for a batch: also switches, and keys that name the images."""
        others = {
            tensor: np.full(len(batch), b"") if value is None else value
            for tensor, value in self._others
        }
        return {**super().feeds(batch), **others}


def _other_inputs(graph: Any, fed: Any, output: Any) -> list[tuple[Any, Any]]:
    """Return the placeholders besides ``fed`` that an output needs, and their values.

    The value is None for the keys of AutoML's exports, of which each image has one.
    """
    if sum(each.type == "Placeholder" for each in graph.get_operations()) == 1:
        return []
    found: list[tuple[Any, Any]] = []
    seen, waiting = {fed.op}, [output.op]
    while waiting:
        operation = waiting.pop()
        if operation in seen:
            continue
        seen.add(operation)
        waiting += [tensor.op for tensor in operation.inputs]
        if operation.type != "Placeholder":
            continue
        tensor = operation.outputs[0]
        value = switch_value(operation.name, tensor.dtype.as_datatype_enum)
        if tensor.shape.rank in (0, None) and value is not None:
            found.append((tensor, value))
        elif tensor.shape.rank == 1 and tensor.dtype.as_datatype_enum == DataType.STRING:
            found.append((tensor, None))
    return found
