from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.keras_files.models import (
    SIDE,
    image_input,
    layer,
    sequential,
    write_hdf5,
    write_zip,
)
from tlcli.errors import GraphError
from tlcli.keras_files.config import first_scaling, model_input, output_name, read_keras_file

MODEL = sequential(image_input(), layer("Dense", "scores"))


def test_both_formats_are_read_whatever_their_name(tmp_path: Path) -> None:
    # Keras wrote HDF5 under the name .keras for years.
    zipped = read_keras_file(write_zip(tmp_path / "model.h5", MODEL))
    hdf5 = read_keras_file(write_hdf5(tmp_path / "model.keras", MODEL))

    assert zipped.is_zip
    assert not hdf5.is_zip
    assert zipped.config == hdf5.config == MODEL


def test_the_version_that_wrote_it_is_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.keras", MODEL, metadata__json=b'{"keras_version": "2.15.0"}')

    assert read_keras_file(path).version == "2.15.0"
    assert read_keras_file(write_zip(tmp_path / "b.keras", MODEL)).version == ""


@pytest.mark.parametrize("first", ["hdf5", "text"])
def test_two_files_in_one_are_refused(tmp_path: Path, first: str) -> None:
    """Keras tells them apart by their name: what was checked would not be what runs."""
    path, archive = tmp_path / "model.h5", write_zip(tmp_path / "a.keras", MODEL)
    path.write_bytes(b"text")
    if first == "hdf5":
        write_hdf5(path, MODEL)
    path.write_bytes(path.read_bytes() + archive.read_bytes())

    with pytest.raises(GraphError, match="two files in one"):
        read_keras_file(path)


def test_a_zip_with_a_model_in_front_of_it_is_refused(tmp_path: Path) -> None:
    hdf5 = write_hdf5(tmp_path / "model.h5", MODEL).read_bytes()
    path = write_zip(tmp_path / "model.keras", MODEL)
    path.write_bytes(hdf5 + path.read_bytes())

    with pytest.raises(GraphError, match="two files in one"):
        read_keras_file(path)


def test_weights_alone_are_named_as_such(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file.create_group("layers")

    with pytest.raises(GraphError, match="weights without a model"):
        read_keras_file(tmp_path / "model.weights.h5")


@pytest.mark.parametrize(
    "content", [b"", b"no model", b"\x89HDF\r\n\x1a\n" + bytes(64), b"PK\x03\x04" + bytes(64)]
)
def test_other_files_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(content)

    with pytest.raises(GraphError, match="not a Keras model file"):
        read_keras_file(path)
    with pytest.raises(GraphError, match="there is no Keras model"):
        read_keras_file(tmp_path / "absent.keras")


@pytest.mark.parametrize("value", [7, "[]", '{"config": 1}', '{"class_name": "x"}', "{"])
def test_a_configuration_of_another_kind_is_one_sentence(tmp_path: Path, value: Any) -> None:
    import h5py

    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = value
    if value == '{"config": 1}':
        assert model_input(read_keras_file(path).config).shape is None
        return
    with pytest.raises(GraphError, match="not a Keras model file"):
        read_keras_file(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.keras")
    with pytest.raises(GraphError, match="file: not a regular file;"):
        read_keras_file(tmp_path / "model.keras")


@pytest.mark.parametrize("depth", [300, 500_000])
def test_a_configuration_without_end_is_one_sentence(tmp_path: Path, depth: int) -> None:
    nested = b'{"config":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    with pytest.raises(GraphError, match="nested too deeply"):
        read_keras_file(write_zip(tmp_path / "deep.keras", nested))


@pytest.mark.parametrize(
    ("config", "name", "shape"),
    [
        (MODEL, "image", (None, SIDE, SIDE, 3)),
        (sequential(image_input(28, 28)), "image", (None, 28, 28)),
        (
            # Keras 2 names the input of a Sequential after its first layer.
            sequential(layer("Conv2D", "convolution", batch_input_shape=[None, None, 8, 1])),
            "convolution_input",
            (None, None, 8, 1),
        ),
        (
            sequential(sequential(image_input(), name="sequential_1"), name="outer"),
            "sequential_1_input",
            (None, SIDE, SIDE, 3),
        ),
        (
            {
                "class_name": "Functional",
                "config": {
                    "layers": [
                        layer("InputLayer", "other", batch_shape=[None, 4]),
                        image_input(),
                    ],
                    "input_layers": [["image", 0, 0]],
                },
            },
            "image",
            (None, SIDE, SIDE, 3),
        ),
        ({"class_name": "Mine", "config": {}}, "input", None),
    ],
)
def test_the_input_of_a_model(
    config: dict[str, Any], name: str, shape: tuple[int | None, ...] | None
) -> None:
    found = model_input(config)

    assert (found.name, found.shape) == (name, shape)


def _operation(kind: str, *operands: Any, **settings: Any) -> dict[str, Any]:
    tensor = {"class_name": "__keras_tensor__", "config": {"shape": [None, 8, 8, 3]}}
    nodes = [{"args": [tensor, *operands], "kwargs": {}}]
    return {**layer(kind, kind.lower(), **settings), "inbound_nodes": nodes}


def _function(name: str, operand: float) -> dict[str, Any]:
    nodes = [[["image", 0, 0, {"y": operand, "name": None}]]]
    return {**layer("TFOpLambda", name, function=name), "inbound_nodes": nodes}


@pytest.mark.parametrize(
    ("layers", "factor", "offset"),
    [
        ([layer("Rescaling", "r", scale=0.5, offset=-1.0)], 0.5, -1.0),
        ([layer("Rescaling", "r", scale=[0.5, 0.5, 0.5], offset=0)], 0.5, 0.0),
        ([_operation("TrueDivide", 127.5), _operation("Subtract", 1.0)], 1 / 127.5, -1.0),
        ([_function("math.truediv", 127.5), _function("math.subtract", 1.0)], 1 / 127.5, -1.0),
        (
            [
                sequential(layer("RandomFlip", "f"), layer("RandomRotation", "r")),
                layer("Resizing", "s"),
                layer("Rescaling", "r", scale=2),
            ],
            2.0,
            0.0,
        ),
    ],
)
def test_the_first_arithmetic_on_pixels(
    layers: list[dict[str, Any]], factor: float, offset: float
) -> None:
    found = first_scaling(sequential(image_input(), *layers, layer("Conv2D", "c")))

    assert found is not None
    assert (found.factor, found.offset) == pytest.approx((factor, offset))
    assert not found.normalises


def test_a_rescaling_behind_other_layers_is_not_the_first() -> None:
    behind = [layer("Conv2D", "c"), layer("Rescaling", "r", scale=0.5)]

    assert first_scaling(sequential(image_input(), *behind)) is None
    normalised = sequential(image_input(), layer("Normalization", "n"))
    assert getattr(first_scaling(normalised), "normalises", None)


@pytest.mark.parametrize("value", [None, 7, [], {}, "x", [[]], 10**30, {"class_name": 3}, True])
def test_values_of_other_types_are_passed_over(value: Any) -> None:
    """Found by changing the configurations of real files at random."""
    for key in ("class_name", "config", "module", "inbound_nodes"):
        config = sequential(image_input(), {**layer("Rescaling", "r", scale=value), key: value})
        assert model_input(config).name == "image"
        first_scaling(config)
    assert model_input(sequential(image_input(8, value, 3))).channels == 3


@pytest.mark.parametrize(
    ("outputs", "name"),
    [
        ([["scores", 0, 0]], "scores"),
        (["scores", 0, 0], "scores"),
        (None, "last"),
        ([["a", 0, 0], ["b", 0, 0]], None),
        ({"a": ["a", 0, 0], "b": ["b", 0, 0]}, None),
    ],
)
def test_the_name_of_the_output(outputs: Any, name: str | None) -> None:
    layers = [{"class_name": "Dense", "config": {"name": "last"}}]
    config = {"class_name": "Functional", "config": {"layers": layers, "output_layers": outputs}}
    assert output_name(config) == name
