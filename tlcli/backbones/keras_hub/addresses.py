"""Names and addresses of keras-hub's presets, read without importing keras-hub.

``keras_hub:NAME`` stands for what keras-hub itself downloads under that name;
``kaggle://OWNER/MODEL/keras/VARIATION[/VERSION]`` and ``hf://OWNER/NAME`` are its own addresses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tlcli.backbones.keras_hub.known import NAMES, known_presets
from tlcli.errors import BackboneError

KAGGLE, HUGGING_FACE = "kaggle://", "hf://"

Host = Literal["kaggle", "hf"]


@dataclass(frozen=True)
class PresetAddress:
    """Where a preset is to be had.

    Attributes:
        typed: as the user gave it.
        host: the site.
        handle: OWNER/MODEL/keras/VARIATION[/VERSION] on Kaggle, OWNER/NAME on Hugging Face.
    """

    typed: str
    host: Host
    handle: str


def is_preset_address(module: str) -> bool:
    """Return whether ``module`` names a preset of keras-hub by name or address."""
    return module.lower().startswith((NAMES, KAGGLE, HUGGING_FACE))


def preset_address(module: str) -> PresetAddress:
    """Return where the preset ``module`` is to be had.

    Raises:
        BackboneError: an address of another form, or a name that keras-hub does not have.
    """
    scheme, _, rest = module.partition(":")
    rest = rest.strip("/")
    if f"{scheme.lower()}:" == NAMES:
        return PresetAddress(module, "kaggle", _handle_of(rest))
    if f"{scheme.lower()}://" == KAGGLE:
        parts = rest.split("/")
        if len(parts) not in (4, 5) or parts[2].lower() != "keras" or not _plain(parts):
            raise BackboneError(
                f"{module} is no preset of keras-hub: give "
                "kaggle://OWNER/MODEL/keras/VARIATION[/VERSION]"
            )
        return PresetAddress(module, "kaggle", rest)
    if rest.count("/") != 1 or not _plain(rest.split("/")):
        raise BackboneError(f"{module} is no preset of keras-hub: give hf://OWNER/NAME")
    return PresetAddress(module, "hf", rest)


def _plain(parts: list[str]) -> bool:
    return all(re.fullmatch(r"\w[\w.\-]*", part) for part in parts)


def _handle_of(name: str) -> str:
    for preset in known_presets():
        if preset.name == name:
            return preset.kaggle
    if not re.fullmatch(r"\w[\w.\-]*", name):
        raise BackboneError(f"{NAMES}{name} is no preset of keras-hub; give {NAMES}dinov2_small")
    from tlcli.backbones.keras_hub.library import builtin_handle

    return builtin_handle(name)
