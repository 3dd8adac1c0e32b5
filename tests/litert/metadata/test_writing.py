"""Signature and metadata of LiteRT files, read back by LiteRT and by its schema."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.core.export.test_tflite import graph
from tlcli.core.export import tflite
from tlcli.errors import GraphError
from tlcli.litert.interpreter import LiteRTEngine
from tlcli.litert.metadata.writing import Metadata, count_scores, metadata_before
from tlcli.litert.safety import check_litert

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

METADATA = Metadata("Flowers", "Tells flowers apart.", "labels.txt")


def add_metadata(content: bytes, metadata: Metadata) -> bytes:
    return metadata_before(content, metadata) + content


@pytest.fixture(scope="module")
def model() -> bytes:
    return tflite.convert(graph())


def unpacked(content: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def packed(model: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def quantised(kind: str) -> bytes:
    """Return a file whose input takes integers and whose output gives them."""
    model = unpacked(tflite.convert(graph()))
    tensors = model.subgraphs[0].tensors
    for index in (model.subgraphs[0].inputs[0], model.subgraphs[0].outputs[0]):
        tensors[index].type = getattr(schema.TensorType, kind)
        tensors[index].quantization = schema.QuantizationParametersT()
        tensors[index].quantization.scale = [1 / 255]
        tensors[index].quantization.zeroPoint = [-128 if kind == "INT8" else 0]
    return packed(model)


def test_the_signature_runs_the_network(model: bytes) -> None:
    from ai_edge_litert.interpreter import Interpreter

    content = add_metadata(model, METADATA)
    check_litert(content, "it")
    image = np.random.default_rng(0).random((1, 8, 10, 3), np.float32)
    interpreter = Interpreter(model_content=content)
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["prediction"]}
    }
    found = interpreter.get_signature_runner("serving_default")(image=image)["prediction"]
    np.testing.assert_array_equal(found, LiteRTEngine(model).run(image))
    np.testing.assert_array_equal(found, LiteRTEngine(content).run(image))


def test_what_was_in_the_file_stays_as_it_was(model: bytes) -> None:
    content = add_metadata(model, METADATA)
    # LiteRT reads constants in place, so their alignment must not change.
    assert content.endswith(model)
    assert (len(content) - len(model)) % 16 == 0
    old, new = unpacked(model), unpacked(content)
    assert len(new.buffers) == len(old.buffers) + 1
    assert [each.name for each in new.metadata] == [b"TFLITE_METADATA"]
    assert new.buffers[new.metadata[0].buffer].data.tobytes()[4:8] == b"M001"


def test_the_same_file_gives_the_same_bytes(model: bytes) -> None:
    assert add_metadata(model, METADATA) == add_metadata(model, METADATA)


@pytest.mark.parametrize("kind", ["INT8", "UINT8"])
def test_quantised_files_get_them_too(kind: str) -> None:
    content = add_metadata(quantised(kind), METADATA)
    assert unpacked(content).signatureDefs[0].signatureKey == b"serving_default"
    assert count_scores(content) == 3


def test_other_metadata_and_signatures_are_kept_and_older_ones_replaced(model: bytes) -> None:
    made = unpacked(model)
    made.buffers += [schema.BufferT(), schema.BufferT()]
    made.metadata, made.signatureDefs = [], []
    for name in ("min_runtime_version", "TFLITE_METADATA"):
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(made.buffers) - 1
        made.metadata.append(entry)
    for key in ("serving_default", "train"):
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.inputs, signature.outputs = key, [], []
        made.signatureDefs.append(signature)
    found = unpacked(add_metadata(packed(made), METADATA))
    assert [each.name for each in found.metadata] == [b"min_runtime_version", b"TFLITE_METADATA"]
    assert found.metadata[1].buffer == len(found.buffers) - 1
    assert [each.signatureKey for each in found.signatureDefs] == [b"train", b"serving_default"]


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\xff\xff\xff\x7fTFL3"])
def test_no_model_is_one_sentence(content: bytes) -> None:
    with pytest.raises(GraphError, match="can be given no metadata"):
        add_metadata(content, METADATA)


def test_constants_elsewhere_or_two_inputs_are_refused(model: bytes) -> None:
    outside, two = unpacked(model), unpacked(model)
    outside.buffers[1].offset, outside.buffers[1].size = 4096, 16
    two.subgraphs[0].inputs = [0, 1]
    for made, reason in ((outside, "outside its tables"), (two, "2 inputs")):
        with pytest.raises(GraphError, match=reason):
            add_metadata(packed(made), METADATA)
