"""SavedModels in a TensorFlow session, with the values of all their variables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tlcli.runtime.tensorflow import import_tensorflow


def load_into(session: Any, tags: Sequence[str], folder: Path) -> Any:
    """Load a SavedModel into a session; return its ``MetaGraphDef``.

    The restore operation of a model that Keras 3 wrote by ``tf.saved_model.save`` sets copies of
    the variables, not those that the signatures read; these are set here.

    Args:
        session: of an empty graph. The default graph must not be one of TensorFlow 1.
        tags: of the graph to load.
        folder: of the SavedModel, which was checked.

    Raises:
        Exception: whatever TensorFlow raises; a model from elsewhere can make it raise anything.
    """
    tf = import_tensorflow()
    with session.graph.as_default():
        meta = tf.compat.v1.saved_model.load(session, list(tags), str(folder))
        handles = [each for each in session.graph.get_operations() if each.type == "VarHandleOp"]
        states = [tf.raw_ops.VarIsInitializedOp(resource=each.outputs[0]) for each in handles]
    unset = {
        each.name for each, is_set in zip(handles, session.run(states), strict=True) if not is_set
    }
    if unset and meta.HasField("object_graph_def"):
        model = tf.saved_model.load(str(folder), list(tags))
        for handle, variable in _captured(session.graph, meta, model):
            if handle.op.name in unset:
                unset.discard(handle.op.name)
                dtype = handle.op.get_attr("dtype")
                value = tf.raw_ops.ReadVariableOp(resource=variable, dtype=dtype).numpy()
                with session.graph.as_default():
                    assign = tf.raw_ops.AssignVariableOp(resource=handle, value=tf.constant(value))
                session.run(assign)
    return meta


def _captured(graph: Any, meta: Any, model: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each variable that a signature reads: in ``graph``, and in the loaded ``model``."""
    for key, signature in meta.signature_def.items():
        if key not in model.signatures:
            continue
        captured = model.signatures[key].captured_inputs
        for name in {each.name.split(":")[0] for each in signature.outputs.values()} - {""}:
            # The call of the signature's function: its arguments, then what it captures.
            inputs = list(graph.get_operation_by_name(name).inputs)
            if captured and len(inputs) >= len(captured):
                for mine, theirs in zip(inputs[-len(captured) :], captured, strict=True):
                    if mine.op.type == "VarHandleOp":
                        yield mine, theirs
