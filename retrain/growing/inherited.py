"""The options that a run takes over from the model card of an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from retrain.arguments.options import RetrainOptions
from retrain.presets.choice import PRESETS, STEP_OPTIONS, original_option
from tlcli.core.export.model_card import ModelCard, card_path, read
from tlcli.errors import DataError, UsageError
from tlcli.storage.locations import is_url, shown

# What a run writes, who computes, and what it may execute are said by each run itself.
_OWN = {
    *("output_graph", "output_labels", "saved_model_dir", "output_tflite", "output_report"),
    *("no_report", "export", "intermediate_output_graphs_dir", "intermediate_store_frequency"),
    *("summaries_dir", "export_bottlenecks", "checkpoint_path", "trust", "from_card"),
    *("print_misclassified_test_images", "runner", "address", "num_shards", "shard_index"),
}
# Only one of them lists the images.
_SOURCES = ("image_dir", "manifest", "import_bottlenecks")
# Paths were relative to the current folder of the earlier run.
_PATHS = (*_SOURCES, "bottleneck_dir", "model_dir", "label_weights")
_KINDS: dict[str, tuple[type, ...]] = {
    **{"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,), "Path": (str,)}
}


def earlier_card(given: str | Path) -> tuple[Path, ModelCard]:
    """Return the path and the content of the model card of an earlier run.

    Args:
        given: the card, or the graph that it lies next to.

    Raises:
        DataError: there is no card, or it cannot be used.
    """
    path = Path(given)
    if is_url(path):
        raise UsageError(f"--from {shown(path)} is a URL; give a model card of this machine")
    if path.suffix != ".json":
        graph, path = path, card_path(path)
        if not path.is_file():
            raise DataError(
                f"--from {graph} has no model card, {path.name}, next to it; give the JSON file "
                "that tlcli retrain wrote with the graph"
            )
    try:
        card = read(path)
    except ValueError as error:
        raise DataError(
            f"--from {path} cannot be used: {error}; give the model card that tlcli retrain wrote "
            "next to its graph, such as output_graph.json"
        ) from error
    if "preset" not in card.training:
        raise DataError(
            f"--from {path} cannot be used: it lists no options of a retraining; give the model "
            "card that tlcli retrain wrote next to its graph"
        )
    return path, card


def with_earlier(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given options, and those of the card in ``from_card`` that were not given.

    Args:
        given: options by name; None counts as not given.

    Raises:
        DataError: the card cannot be used.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("from_card") is None:
        return given
    path, card = earlier_card(given["from_card"])
    known = _values(path, card)
    preset = str(known.pop("preset"))
    settings = {**_DEFAULTS, **PRESETS[preset].settings}
    taken = {
        name: value
        for name, value in known.items()
        if value is not None and value != settings.get(name)
    }
    if given.get("preset") is not None:
        # The recipe replaces what decided the earlier one.
        for name in ("solver", "layers", "fine_tune"):
            taken.pop(name, None)
        if PRESETS[preset].joins:
            taken.pop("module", None)
    elif original_option({**taken, **given}) is None or preset == "original":
        taken["preset"] = preset
    recipe = PRESETS.get(str(given.get("preset") or taken.get("preset")), PRESETS["original"])
    solver = given.get("solver") or taken.get("solver") or recipe.settings["solver"]
    if solver != "sgd":
        for name in STEP_OPTIONS:
            taken.pop(name, None)
    if any(given.get(name) for name in _SOURCES):
        for name in _SOURCES:
            taken.pop(name, None)
    for name in ("architecture", "tfhub_module", "module"):
        if given.get(name) is not None:
            taken.pop("module", None)
    for name in _PATHS:
        if name in taken:
            found = _located(Path(taken[name]), path.parent)
            if found is not None:
                taken[name] = found
            elif name in ("bottleneck_dir", "model_dir"):
                del taken[name]
            elif name in _SOURCES:
                raise DataError(
                    f"--from {path}: its --{name} {taken[name]} is not here; give --image_dir with "
                    "the folder of images"
                )
    return {**taken, **given}


_DEFAULTS = {
    field.name: getattr(RetrainOptions, field.name)
    for field in fields(RetrainOptions)
    if hasattr(RetrainOptions, field.name)
}


def _values(path: Path, card: ModelCard) -> dict[str, Any]:
    """Return the options that a card lists and this version has."""
    found = {}
    for field in fields(RetrainOptions):
        if field.name in _OWN or field.name not in card.training:
            continue
        value = card.training[field.name]
        kinds = _KINDS[str(field.type).partition(" ")[0]]
        right = isinstance(value, kinds) and isinstance(value, bool) == (kinds == (bool,))
        if value is not None and not right:
            raise DataError(
                f"--from {path} cannot be used: its {field.name} is {value!r}; give the model card "
                "as tlcli retrain wrote it"
            )
        found[field.name] = value
    if found["preset"] not in PRESETS:
        raise DataError(
            f"--from {path} cannot be used: this version has no preset {found['preset']!r}; update "
            "tlcli, or leave --from out"
        )
    return found


def _located(path: Path, folder: Path) -> Path | None:
    """Return a path as it was given or next to the card, where it exists."""
    if is_url(path) or path.exists() or str(path) in ("balanced", "none"):
        return path
    beside = folder / path
    return beside if beside.exists() else None
