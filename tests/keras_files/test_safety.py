from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.keras_files.models import image_input, layer, sequential, write_hdf5, write_zip
from tlcli.errors import GraphError
from tlcli.keras_files.config import read_keras_file
from tlcli.keras_files.safety import check_config, check_keras_file, check_old_config


def _check(*layers: dict[str, Any]) -> None:
    check_config(sequential(image_input(), *layers), "the model")


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("subprocess", "Popen"),
        ("keras.utils", "get_file"),
        ("keras.src.utils.file_utils", "get_file"),
        ("keras.saving", "load_model"),
        ("kerasx.layers", "Dense"),
        ("builtins", "eval"),
        ("keras.src.ops.numpy", "add"),
        ("keras.src.ops.core", "Map"),
        ("keras.src.ops.operation", "Operation"),
        ("tf_keras.src.engine.data_adapter", "DataHandler"),
        ("tf_keras.src.utils.data_utils", "get_file"),
        (["keras"], "Dense"),
    ],
)
def test_what_is_no_part_of_a_network_is_refused(module: Any, kind: str) -> None:
    with pytest.raises(GraphError, match=r"no part of a network"):
        _check({"module": module, "class_name": kind, "config": {}})


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("keras.src.ops.numpy", "TrueDivide"),
        ("keras.src.ops.nn", "Softmax"),
        ("keras.src.models.functional", "Functional"),
        ("tf_keras.src.engine.functional", "Functional"),
        ("keras.src.engine.sequential", "Sequential"),
        ("builtins", "function"),
        ("keras", "DTypePolicy"),
    ],
)
def test_parts_of_networks_are_let_through(module: str, kind: str) -> None:
    _check({"module": module, "class_name": kind, "config": {}})


@pytest.mark.parametrize(
    "kind", ["Lambda", "SlicingOpLambda", "ClassMethod", "TFSMLayer", "StringLookup"]
)
def test_layers_that_act_are_refused_by_name(kind: str) -> None:
    with pytest.raises(GraphError, match=rf"{kind} layer.*other files"):
        _check(layer(kind, "acts"))


def test_functions_of_tensorflow_are_checked_by_name() -> None:
    """How Keras 2 saved arithmetic on tensors."""
    _check(layer("TFOpLambda", "scale", function="math.truediv"))

    for function in ("io.gfile.copy", "io.read_file", ["math.truediv"], None):
        with pytest.raises(GraphError, match="TFOpLambda"):
            _check(layer("TFOpLambda", "acts", function=function))


def test_the_outermost_object_is_looked_at() -> None:
    with pytest.raises(GraphError, match=r"os\.system"):
        check_config({"module": "os", "class_name": "system", "config": {}}, "the model")


@pytest.mark.parametrize("dtype", ["O", "object", "S8", 7, {"a": 1}])
def test_an_array_of_objects_is_refused(dtype: Any) -> None:
    value = {"class_name": "__numpy__", "config": {"value": ["x"], "dtype": dtype}}
    with pytest.raises(GraphError, match="array of the type"):
        _check(layer("Rescaling", "scale", scale=value))


def test_how_a_model_was_compiled_does_not_matter() -> None:
    loss = {"module": "mine", "class_name": "Loss", "config": {}}
    check_config({**sequential(image_input()), "compile_config": {"loss": loss}}, "the model")


def test_keras_2_calls_no_function_that_a_file_names(tmp_path: Path) -> None:
    """It has no safe mode for HDF5 files, and is asked where Keras 3 knows a layer not."""
    keras = pytest.importorskip("tf_keras")
    config = sequential(image_input(), layer("SlicingOpLambda", "copy", function="io.gfile.copy"))

    with pytest.raises(GraphError, match="SlicingOpLambda"):
        check_keras_file(read_keras_file(write_hdf5(tmp_path / "old.h5", config)))
    # The second look, for names that the first one does not know.
    other = {"class_name": "OpaqueThing", "config": {}}
    with pytest.raises(GraphError, match="OpaqueThing, which is no part of a network"):
        check_old_config(sequential(image_input(), other), keras, "the model")


def test_damaged_weights_are_one_sentence(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.keras", sequential(image_input()), model__weights__h5=b"no")
    with pytest.raises(GraphError, match="its weights are damaged"):
        check_keras_file(read_keras_file(path))
