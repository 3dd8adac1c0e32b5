from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from tlcli.errors import GraphError, UsageError
from tlcli.keras_files.layers import Calls
from tlcli.keras_files.loading import import_keras
from tlcli.runtime.freezing import TracedInput, frozen_call

SIDE = 8


@pytest.fixture(params=["keras", "tf_keras"])
def keras(request: pytest.FixtureRequest) -> Any:
    if request.param == "keras":
        keras = import_keras()
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            keras = pytest.importorskip("tf_keras")
    keras.utils.set_random_seed(1)
    return keras


def _base(keras: Any) -> Any:
    start = keras.layers.Input((SIDE, SIDE, 3))
    maps = keras.layers.Conv2D(5, 3, name="convolution")(start)
    return keras.Model(start, maps, name="base")


def _head(keras: Any, *ends: Any) -> Any:
    return keras.Sequential(
        [
            keras.layers.Input((5,)),
            keras.layers.Dense(4, activation="relu", name="dense"),
            *(ends or (keras.layers.Dense(2, activation="softmax", name="scores"),)),
        ],
        name="head",
    )


def _nested(keras: Any, *ends: Any) -> Any:
    inner = keras.Sequential(
        [
            keras.layers.Input((SIDE, SIDE, 3)),
            _base(keras),
            keras.layers.GlobalAveragePooling2D(name="pool"),
        ],
        name="features",
    )
    return keras.Sequential(
        [keras.layers.Input((SIDE, SIDE, 3)), inner, _head(keras, *ends)], name="whole"
    )


def _traced(model: Any, choose: Any) -> Any:
    """Return what ``choose`` returned inside a trace of the model, which frees no tensor."""
    calls, found = Calls(model), []

    def call(images: Any) -> Any:
        output = model(images, training=False)
        found.append(choose(calls, output))
        return output

    frozen_call(call, TracedInput("images", (None, SIDE, SIDE, 3)), "out")
    return found[0]


def test_paths_name_the_models_around_a_layer(keras: Any) -> None:
    paths = set(Calls(_nested(keras)).paths)

    assert {"features", "features/base", "features/base/convolution", "features/pool"} <= paths
    assert {"head", "head/dense", "head/scores"} <= paths


def test_what_feeds_the_last_dense_is_found_in_a_model_in_a_model(keras: Any) -> None:
    def shape(calls: Calls, output: Any) -> Any:
        return calls.before_scores(output).shape[-1]

    assert _traced(_nested(keras), shape) == 4
    ends = (
        keras.layers.Dropout(0.5),
        keras.layers.Dense(2, name="logits"),
        keras.layers.Activation("softmax"),
    )
    assert _traced(_nested(keras, *ends), shape) == 4


def test_a_model_without_dense_layer_has_no_scores(keras: Any) -> None:
    def found(calls: Calls, output: Any) -> Any:
        return calls.before_scores(output)

    assert _traced(_base(keras), found) is None


def test_the_result_of_a_model_in_the_model_is_a_layer(keras: Any) -> None:
    def shape(calls: Calls, output: Any) -> Any:
        return [calls.result_of(path, "it").shape[-1] for path in ("features", "head/dense")]

    assert _traced(_nested(keras), shape) == [5, 4]


def test_a_layer_is_named_by_its_path_or_its_end(keras: Any) -> None:
    calls = Calls(_nested(keras))

    assert calls.path_of("convolution", "it") == "features/base/convolution"
    assert calls.path_of("head/dense", "it") == "head/dense"
    with pytest.raises(UsageError, match=r"no layer 'absent'; its last layers are .*head"):
        calls.path_of("absent", "it")


def test_a_name_of_several_layers_is_refused_with_their_paths() -> None:
    keras = import_keras()
    twins = [
        keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(4, name="same")], name=name)
        for name in ("one", "two")
    ]
    calls = Calls(keras.Sequential([keras.layers.Input((4,)), *twins]))

    with pytest.raises(UsageError, match=r"2 layers called 'same'.*'one/same', 'two/same'"):
        calls.path_of("same", "it")


def test_a_layer_with_several_results_is_refused() -> None:
    keras = import_keras()
    start = keras.layers.Input((SIDE, SIDE, 3))
    pool = keras.layers.GlobalAveragePooling2D()(start)
    both = keras.Model(start, [pool, start], name="both")
    outer = keras.layers.Input((SIDE, SIDE, 3))
    model = keras.Model(outer, both(outer)[0])

    with pytest.raises(GraphError, match=r"layer 'both' of it has 2 outputs"):
        _traced(model, lambda calls, output: calls.result_of("both", "it"))


def test_noting_changes_no_result(keras: Any) -> None:
    model = _nested(keras)
    images = np.random.default_rng(1).random((2, SIDE, SIDE, 3), np.float32)
    before = np.asarray(model(images, training=False))
    Calls(model)

    np.testing.assert_array_equal(np.asarray(model(images, training=False)), before)
