"""The classifier as a SavedModel, for TensorFlow Serving and everything that loads one.

Two signatures, each from a batch to ``prediction`` float32 [?, L], as retrain.py named it:

    serving_default   image        float32 [?, height, width, 3] in [0, 1]
    encoded           image_bytes  string [?], the content of JPEG, PNG, GIF or BMP files

TensorFlow Serving takes base64 over HTTP for inputs whose name ends in ``_bytes``. Both
have one output, so that its row format stays a plain list of probabilities.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlcli.backbone import INPUT
from tlcli.core.export.encoded_input import read_encoded
from tlcli.core.export.frozen_graph import ClassifierGraph, serialise, write_labels
from tlcli.core.export.model_card import SAVED_MODEL_CARD, ModelCard, file_digests
from tlcli.errors import OutputError
from tlcli.graph.surgery import copy_graph, data_inputs, needed_nodes, rename_nodes
from tlcli.runtime.native_stderr import quiet_stderr
from tlcli.runtime.tensorflow import import_tensorflow
from tlcli.system.atomic_files import atomic_path

IMAGE, IMAGE_BYTES, PREDICTION = "image", "image_bytes", "prediction"
ENCODED_INPUT = "encoded/image_bytes"
"""Name of the node that takes encoded images."""
LABELS_FILE = "assets.extra/labels.txt"
"""The labels in output order; TensorFlow ignores this subfolder."""


def write_saved_model(
    folder: Path,
    classifier: ClassifierGraph,
    labels: Sequence[str],
    card: ModelCard | None = None,
) -> None:
    """Write a SavedModel folder whole or not at all; an older one is replaced.

    Args:
        folder: the folder to write; ``saved_model.pb`` lies directly in it.
        classifier: its input is `INPUT`.
        labels: in output order; also written into the folder.
        card: written into the folder, with the SHA-256 of its ``saved_model.pb``.

    Raises:
        DataError: a label cannot be written on a line of its own.
        OutputError: the folder cannot be written.
    """
    combined = _with_encoded_branch(classifier)
    with atomic_path(Path(folder)) as temporary:
        _save(temporary, combined, classifier.output)
        write_labels(temporary / LABELS_FILE, labels)
        if card is not None:
            path = temporary / SAVED_MODEL_CARD
            files = [temporary / "saved_model.pb", temporary / LABELS_FILE]
            digests = file_digests(path, {file: file for file in files})
            replace(card, files=digests).write(path)


def _with_encoded_branch(classifier: ClassifierGraph) -> Any:
    """Return a TensorFlow ``GraphDef`` with both signatures' inputs and outputs.

    What depends on the image occurs twice, once for each input, and the constants once.
    """
    tf = import_tensorflow()
    from tensorflow.core.framework import graph_pb2

    height, width = classifier.height, classifier.width
    result = graph_pb2.GraphDef.FromString(serialise(classifier.graph))
    # A Graph of its own: nothing is left in the caller's.
    with tf.Graph().as_default() as decoding:
        data = tf.compat.v1.placeholder(tf.string, [None], name=ENCODED_INPUT)
        with tf.name_scope("encoded/"):
            images = tf.map_fn(
                tf.autograph.experimental.do_not_convert(
                    lambda item: read_encoded(item, height, width)
                ),
                data,
                fn_output_signature=tf.TensorSpec([height, width, 3], tf.float32),
            )
            # The name under which the copied nodes read their input.
            tf.identity(images, name=INPUT)
        branch = decoding.as_graph_def()
    result.library.MergeFrom(branch.library)
    result.versions.producer = max(result.versions.producer, branch.versions.producer)
    result.node.extend(branch.node)
    for copied in _dependent_copies(classifier.graph, classifier.output):
        result.node.add().ParseFromString(copied.SerializeToString())
    return result


def _dependent_copies(graph: Any, final_tensor_name: str) -> list[Any]:
    """Return copies, under ``encoded/``, of the nodes between the image and the output."""
    dependent: dict[str, Any] = {}
    for item in needed_nodes(graph, [final_tensor_name]):
        sources = {name for name, _ in data_inputs(item)}
        if item.name == INPUT or not sources.isdisjoint(dependent):
            dependent[item.name] = item
    copies = rename_nodes(copy_graph(graph, dependent.values()), "encoded/{}".format)
    return [copied for copied in copies.node if copied.name != f"encoded/{INPUT}"]


def _save(folder: Path, graph: Any, final_tensor_name: str) -> None:
    tf = import_tensorflow()
    v1 = tf.compat.v1
    with quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with tf.Graph().as_default() as target, v1.Session(graph=target) as session:
            tf.import_graph_def(graph, name="")
            signatures = {
                name: v1.saved_model.signature_def_utils.build_signature_def(
                    inputs={key: _tensor_info(tf, target, given)},
                    outputs={PREDICTION: _tensor_info(tf, target, result)},
                    method_name=v1.saved_model.signature_constants.PREDICT_METHOD_NAME,
                )
                for name, key, given, result in (
                    ("serving_default", IMAGE, INPUT, final_tensor_name),
                    ("encoded", IMAGE_BYTES, ENCODED_INPUT, f"encoded/{final_tensor_name}"),
                )
            }
            builder = v1.saved_model.Builder(str(folder))
            builder.add_meta_graph_and_variables(session, ["serve"], signatures)
            try:
                builder.save()
            except tf.errors.OpError as error:
                # TensorFlow's file system has its own errors, "PATH; No space left on device".
                reason = str(error.message).rpartition(";")[2].strip()
                raise OutputError(
                    f"cannot write the SavedModel: {reason}; choose another path or make room there"
                ) from error


def _tensor_info(tf: Any, graph: Any, name: str) -> Any:
    return tf.compat.v1.saved_model.utils.build_tensor_info(graph.get_tensor_by_name(f"{name}:0"))
