"""Which preset a run uses, and what the preset decides for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlcli.errors import UsageError
from tlcli.text import joined

if TYPE_CHECKING:
    from tlcli.backbones.catalogue import Entry


@dataclass(frozen=True)
class Preset:
    """What a preset stands for; an option that the user gives counts more.

    Attributes:
        settings: options by name.
        joins: the backbone is every EfficientNet-Lite that is installed, joined.
    """

    settings: Mapping[str, str]
    joins: bool = False


PRESETS = {
    # The recipe of retrain.py: its log lines, checkpoints and intermediate graphs need the steps.
    "original": Preset({"layers": "head", "solver": "sgd"}),
    "standard": Preset({"layers": "ms", "solver": "auto"}),
    "best": Preset({"layers": "ms", "solver": "auto", "fine_tune": "auto"}, joins=True),
    # The one solver that passes over the vectors only once.
    "fast": Preset({"layers": "head", "solver": "lda"}),
}

DEFAULT_PRESET = "standard"
"""The preset of a run that names none and asks for nothing of the original's own fit.

On photos and stored vectors, with 2, 5, 10 and all images per label, it was nowhere worse than
"original" by more than chance and better on average; docs/accuracy.md has the figures.
"""

STEP_OPTIONS = (
    *("how_many_training_steps", "learning_rate", "train_batch_size", "eval_step_interval"),
    *("validation_batch_size", "checkpoint_path"),
    *("intermediate_output_graphs_dir", "intermediate_store_frequency"),
)
"""Options that mean something only for SGD by steps, as retrain.py fits."""
# Summaries of a fit without steps have no curves, and are of use all the same.
_FIT_OPTIONS = (*STEP_OPTIONS, "summaries_dir")
# Options whose vectors are those of one layer.
_ONE_LAYER = {
    "import_bottlenecks": "brings vectors of one layer",
    "export_bottlenecks": "writes vectors of one layer, as the originals read them",
    "final_layer_only": "takes vectors of one layer",
    "module_output": "names one layer",
}
# Options beside which a network is not fine-tuned unless the user asks for it.
_FROZEN = {
    "import_bottlenecks": "--import_bottlenecks has no network to train",
    "final_layer_only": "--final_layer_only writes no network",
    "multi_label": "--multi_label trains final layers only",
}
# Vectors that come from somewhere else, or the layer alone, belong to no other backbone.
_OWN_BACKBONE = ("module", "import_bottlenecks", "final_layer_only")


@dataclass(frozen=True)
class Choice:
    """The options of a run with all that its preset decides.

    Attributes:
        options: by name: those that were given, and those of the preset.
        decided: names of the options that the preset decided.
        notes: lines for the log.
    """

    options: Mapping[str, Any]
    decided: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def choose(given: Mapping[str, Any], default: str = DEFAULT_PRESET) -> Choice:
    """Return the options of a run, completed by those of its preset.

    Without a named preset, an option of the original's own fit means "original", so that scripts
    of retrain.py get what they always got.

    Args:
        given: the options that the user gave, by name; None counts as not given.
        default: the preset of a run that names none and has no such option.

    Raises:
        UsageError: there is no such preset, or it leaves an option of SGD without effect.
    """
    given = {name: value for name, value in given.items() if value is not None}
    notes: list[str] = []
    name = given.get("preset")
    if name is None:
        option = original_option(given)
        name = default if option is None else "original"
        if name != default:
            notes.append(
                f"--{option} belongs to SGD as in the originals, so that this is --preset "
                f"original; without such options it would be {default}"
            )
    preset = _preset(name)
    decided = {key: value for key, value in preset.settings.items() if key not in given}
    settings, note = _of_one_layer(preset, given)
    decided.update(settings)
    notes += [note] if note else []
    reason = _frozen(given)
    if reason is not None and decided.get("fine_tune", "none") != "none":
        decided["fine_tune"] = "none"
        notes.append(f"--fine_tune none, as {reason}")
    if given.get("multi_label") and decided.get("solver") == "lda":
        decided["solver"] = "lbfgs"  # discriminant analysis is for labels that exclude each other
    _check_steps(name, {**decided, **given}, given)
    if preset.joins and not any(map(given.get, _OWN_BACKBONE)):
        decided["module"], note = joined_module()
        notes += [note] if note else []
    return Choice({**decided, **given, "preset": name}, frozenset(decided), tuple(notes))


def preset_settings(name: str) -> Mapping[str, str]:
    """Return what a preset decides in a run that gives none of these options.

    Raises:
        UsageError: there is no such preset.
    """
    return _preset(name).settings


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        *others, last = PRESETS
        raise UsageError(f"--preset is {name!r}; choose {', '.join(others)} or {last}")
    return PRESETS[name]


def original_option(given: Mapping[str, Any]) -> str | None:
    """Return an option of the original's own fit among the given ones, None without any."""
    if given.get("solver") == "sgd":
        return "solver sgd"
    return next((option for option in _FIT_OPTIONS if option in given), None)


def _of_one_layer(preset: Preset, given: Mapping[str, Any]) -> tuple[dict[str, str], str | None]:
    """Return what replaces a preset's several layers where the user's options leave one."""
    if preset.settings.get("layers", "head") == "head" or "layers" in given:
        return {}, None
    option = next((each for each in _ONE_LAYER if given.get(each)), None)
    if option is None:
        return {}, None
    return {"layers": "head"}, f"--layers head, as --{option} {_ONE_LAYER[option]}"


def _frozen(given: Mapping[str, Any]) -> str | None:
    """Return why a preset's fine-tuning has no use beside the user's options, None if it has."""
    if given.get("validation_percentage") == 0:
        return "no validation images would decide on it"
    return next((reason for option, reason in _FROZEN.items() if given.get(option)), None)


def _check_steps(name: str, chosen: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse an option of SGD beside a preset that fits otherwise.

    Raises:
        UsageError: there is one.
    """
    if name == "original" or chosen["solver"] == "sgd":
        return
    for option in STEP_OPTIONS:
        if option in given:
            raise UsageError(
                f"--{option} belongs to SGD, and --preset {name} fits with --solver "
                f"{chosen['solver']}; leave one of the two out, or add --solver sgd"
            )


def joined_module(is_here: Callable[[Entry], bool] | None = None) -> tuple[str, str | None]:
    """Return the EfficientNet-Lites of this machine as one module, and a note on missing ones.

    Args:
        is_here: whether a backbone can be used without a network; by default what the catalogue
            finds.
    """
    from tlcli.backbones import catalogue

    wheels = [entry for entry in catalogue.entries().values() if entry.kind == "wheel"]
    here = [entry.name for entry in wheels if (is_here or catalogue.on_this_machine)(entry)]
    missing = [entry.name for entry in wheels if entry.name not in here]
    if not missing:
        return "+".join(here), None
    are = "is" if len(missing) == 1 else "are"
    return "+".join(here), (
        f"{joined(missing)} {are} not installed, and --preset best goes without: "
        f"pip install 'tlcli[lite]' adds {'it' if len(missing) == 1 else 'them'}"
    )
