"""SavedModels made by anyone: signatures by message alone, then real ones in TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlcli.core.classifier.load_saved_model import examine_saved_model
from tlcli.core.classifier.loading import load
from tlcli.core.model_spec.input_spec import InputOverrides, InputSpec, Scaling
from tlcli.core.model_spec.origins import specify
from tlcli.errors import GraphError
from tlcli.graph.messages import SavedModel
from tlcli.graph.nodes import DataType, shape_message
from tlcli.runtime.tensorflow import import_tensorflow

IMAGE = (DataType.FLOAT, (None, 8, 9, 3))
SCORES = (DataType.FLOAT, (None, 4))
BYTES = (DataType.STRING, (None,))

Tensors = dict[str, tuple[DataType, Any]]


def signature(message: Any, tensors: Tensors) -> None:
    for key, (dtype, shape) in tensors.items():
        message[key].name = f"node_{key}:0"
        message[key].dtype = int(dtype)
        message[key].tensor_shape.CopyFrom(shape_message(shape))


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(signatures: dict[str, tuple[Tensors, Tensors]], tag: str = "serve") -> Path:
        message = SavedModel()
        meta = message.meta_graphs.add()
        meta.meta_info_def.tags.append(tag)
        for name, (inputs, outputs) in signatures.items():
            signature(meta.signature_def[name].inputs, inputs)
            signature(meta.signature_def[name].outputs, outputs)
        (tmp_path / "saved_model.pb").write_bytes(message.SerializeToString())
        return tmp_path

    return write


def test_the_signature_of_retrain(write: Any) -> None:
    folder = write(
        {
            "encoded": ({"image_bytes": BYTES}, {"prediction": SCORES}),
            "serving_default": ({"image": IMAGE}, {"prediction": SCORES}),
        }
    )
    ends = examine_saved_model(folder, InputOverrides())
    assert (ends.tags, ends.input, ends.output) == (
        ("serve",),
        "node_image:0",
        "node_prediction:0",
    )
    found = specify(ends.facts, InputOverrides())
    assert (found.height, found.width, found.dtype, found.labels) == (8, 9, "float32", 4)
    assert (found.scaling, found.assumed, found.any_batch) == (Scaling(0.0, 255.0), False, True)


def spec_of(folder: Path, overrides: InputOverrides) -> InputSpec:
    return specify(examine_saved_model(folder, overrides).facts, overrides)


def test_an_image_signature_of_another_name_and_a_batch_of_one(write: Any) -> None:
    one = (DataType.UINT8, (1, 8, 9, 3))
    folder = write(
        {
            "serving_default": ({"examples": BYTES}, {"classes": BYTES}),
            "predict": ({"pixels": one}, {"classes": BYTES, "probabilities": SCORES}),
        }
    )
    ends = examine_saved_model(folder, InputOverrides())
    assert (ends.input, ends.output) == ("node_pixels:0", "node_probabilities:0")
    found = spec_of(folder, InputOverrides())
    assert (found.dtype, found.scaling, found.any_batch) == ("uint8", Scaling(0.0, 1.0), False)
    assert not found.assumed


def test_what_only_a_convention_supports_is_assumed(write: Any) -> None:
    folder = write({"serving_default": ({"pixels": IMAGE}, {"out": SCORES})})
    found = spec_of(folder, InputOverrides())
    assert (found.scaling, found.assumed) == (Scaling(0.0, 255.0), True)


def test_options_override(write: Any) -> None:
    folder = write({"serving_default": ({"image": IMAGE}, {"a": SCORES, "b": SCORES})})
    with pytest.raises(GraphError, match=r"outputs a, b; .*--output_layer"):
        examine_saved_model(folder, InputOverrides())
    for name in ("b", "node_b", "node_b:0"):
        given = InputOverrides("image", name, input_width=20, input_mean=0.0, input_std=1.0)
        found = spec_of(folder, given)
        assert (found.output, found.height, found.width) == ("node_b", 8, 20)
        assert found.scaling == Scaling(0.0, 1.0)
    with pytest.raises(GraphError, match=r"no signature or output 'c'; .*outputs a, b"):
        examine_saved_model(folder, InputOverrides(output_layer="c"))
    with pytest.raises(GraphError, match="leave --input_layer out"):
        examine_saved_model(folder, InputOverrides(input_layer="c"))


def test_what_takes_no_images_or_does_not_say_their_size(write: Any) -> None:
    folder = write({"serving_default": ({"text": BYTES}, {"out": SCORES})})
    with pytest.raises(GraphError, match="it has: serving_default"):
        examine_saved_model(folder, InputOverrides())
    write({"serving_default": ({"image": (DataType.FLOAT, None)}, {"out": SCORES})})
    with pytest.raises(GraphError, match="--input_height"):
        spec_of(folder, InputOverrides())
    write({"serving_default": ({"image": IMAGE}, {"out": SCORES})}, "train")
    with pytest.raises(GraphError, match="'serve'"):
        examine_saved_model(folder, InputOverrides())


def test_switches_and_keys_are_no_images(write: Any) -> None:
    switches = {"keep_prob": (DataType.FLOAT, ()), "training": (DataType.BOOL, None)}
    folder = write({"serving_default": ({"x": IMAGE, **switches}, {"out": SCORES})})
    assert examine_saved_model(folder, InputOverrides()).input == "node_x:0"
    folder = write({"serving_default": ({"x": IMAGE, "y": IMAGE}, {"out": SCORES})})
    with pytest.raises(GraphError, match=r"x \(float \[\?, 8, 9, 3\]\), y"):
        examine_saved_model(folder, InputOverrides())


def test_the_number_of_labels_settles_which_output_has_the_scores(write: Any) -> None:
    outputs = {"features": (DataType.FLOAT, (None, 7)), "logits": SCORES}
    folder = write({"serving_default": ({"x": IMAGE}, outputs)})
    found = examine_saved_model(folder, InputOverrides(), labels=4)
    assert (found.output, found.facts.scores) == ("node_logits:0", 4)


def test_scores_behind_sizes_of_one_and_a_fixed_batch(write: Any) -> None:
    images, scores = (DataType.FLOAT, (8, 8, 9, 3)), (DataType.HALF, (8, 4, 1, 1))
    found = examine_saved_model(
        write({"serving_default": ({"x": images}, {"out": scores})}), InputOverrides()
    )
    assert (found.batch, found.facts.scores, found.facts.any_batch) == (8, 4, False)


def test_what_cannot_be_fed_or_gives_no_scores_is_named(write: Any) -> None:
    first = (DataType.FLOAT, (None, 3, 8, 9))
    folder = write({"serving_default": ({"x": first}, {"out": SCORES})})
    with pytest.raises(GraphError, match=r"channels first.*export it with channels last"):
        examine_saved_model(folder, InputOverrides())
    folder = write({"serving_default": ({"x": IMAGE}, {"class": (DataType.INT64, (None,))})})
    with pytest.raises(GraphError, match=r"gives no real numbers.*no scores"):
        examine_saved_model(folder, InputOverrides())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of SavedModels that score by mean colour: old, modern and evil."""
    tf = import_tensorflow()
    folder = tmp_path_factory.mktemp("models")
    weights = np.eye(3, dtype=np.float32) * 4
    spec = tf.TensorSpec([None, 8, 8, 3], tf.float32, name="image")

    class Modern(tf.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable(weights)

        @tf.function(input_signature=[spec])  # type: ignore[untyped-decorator, unused-ignore]
        def score(self, image: Any) -> Any:
            return {"prediction": tf.nn.softmax(tf.reduce_mean(image, [1, 2]) @ self.weights)}

        @tf.function(input_signature=[spec])  # type: ignore[untyped-decorator, unused-ignore]
        def attack(self, image: Any) -> Any:
            tf.io.write_file(str(folder / "written"), "by the model")
            return self.score(image)

        @tf.function(  # type: ignore[untyped-decorator, unused-ignore]
            input_signature=[
                tf.TensorSpec([4, 8, 8, 3], tf.float32, name="image"),
                tf.TensorSpec([], tf.float32, name="keep_prob"),
            ]
        )
        def switched(self, image: Any, keep_prob: Any) -> Any:
            return self.score(image * keep_prob)

    modern = Modern()
    tf.saved_model.save(modern, str(folder / "switched"), signatures=modern.switched)
    tf.saved_model.save(modern, str(folder / "modern"), signatures=modern.score)
    tf.saved_model.save(modern, str(folder / "evil"), signatures=modern.attack)
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        image = v1.placeholder(tf.float32, [None, 8, 8, 3], name="Placeholder")
        variable = v1.get_variable("weights", initializer=weights, use_resource=False)
        scores = tf.nn.softmax(tf.reduce_mean(image, [1, 2]) @ variable, name="final_result")
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.saved_model.simple_save(
                session, str(folder / "old"), {"image": image}, {"prediction": scores}
            )
    (folder / "labels.txt").write_text("red\ngreen\nblue\n")
    Image.new("RGB", (20, 10), (0, 255, 0)).save(folder / "green.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["modern", "old", "switched"])
def test_savedmodels_of_both_formats(models: Path, name: str) -> None:
    with load(models / name) as classifier:
        found = classifier.label([models / "green.png"] * 3)
    best = np.exp(4) / (np.exp(4) + 2)
    assert [each.label for each in found] == ["green"] * 3
    assert found[2].score == pytest.approx(best, abs=1e-5)


def test_a_model_that_writes_files_runs_only_when_it_is_trusted(models: Path) -> None:
    with pytest.raises(GraphError, match=r"WriteFile.*--trust"):
        load(models / "evil")
    assert not (models / "written").exists()
    with load(models / "evil", trust=True) as classifier:
        assert classifier.label(models / "green.png")[0].label == "green"
    assert (models / "written").exists()


@pytest.mark.slow
def test_labels_that_do_not_fit(models: Path) -> None:
    with pytest.raises(GraphError, match=r"names 2 labels .*modern gives 3 scores"):
        load(models / "modern", labels=["a", "b"])


@pytest.mark.slow
def test_a_model_that_keras_3_saved_by_tensorflow_has_the_values_of_its_variables(
    tmp_path: Path,
) -> None:
    tf = import_tensorflow()
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.layers.Input((16, 16, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    for variable in model.variables:
        variable.assign(keras.random.uniform(variable.shape) + 0.1)
    tf.saved_model.save(model, str(tmp_path / "model"))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")

    with load(tmp_path / "model", labels=["a", "b"]) as classifier:
        (found,) = classifier.label(tmp_path / "photo.png")
    expected = np.asarray(model(pixels[None].astype(np.float32)))[0]
    scores = {each.label: each.score for each in found.scores}
    assert scores == pytest.approx({"a": expected[0], "b": expected[1]}, abs=1e-5)
