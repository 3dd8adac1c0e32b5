"""A selection of keras-hub's presets, for lists."""

from __future__ import annotations

from dataclasses import dataclass

from tlcli.backbones.keras_hub.licences import APACHE, DINOV3

NAMES = "keras_hub:"
"""Before the name of a preset in ``--module``."""
INSTALL = "pip install 'tlcli[hub]'"
"""How the extra is installed."""


@dataclass(frozen=True)
class KnownPreset:
    """A preset that ``tlcli modules`` lists.

    Attributes:
        name: in keras-hub.
        kaggle: its model and version on Kaggle: OWNER/MODEL/keras/NAME/VERSION.
        side: height and width of its images in pixels.
        bottleneck_size: D.
        parameters: those of the whole preset, as keras-hub states them.
        licence: of its weights.
    """

    name: str
    kaggle: str
    side: int
    bottleneck_size: int
    parameters: int
    licence: str


# name, model on Kaggle, version there, side, D, parameters, licence. Handles and parameters are
# those of keras-hub 0.32; sides are those of the checkpoints that the presets were converted from.
_PRESETS = f"""
dinov2_small dinov2 1 518 768 22582656 {APACHE}
dinov2_base dinov2 1 518 1536 87632640 {APACHE}
dinov2_with_registers_small dinov2 1 518 768 22584192 {APACHE}
dinov2_with_registers_base dinov2 1 518 1536 87635712 {APACHE}
dinov3_vit_small_lvd1689m dinov3 1 224 768 21600000 {DINOV3}
dinov3_vit_base_lvd1689m dinov3 1 224 1536 86000000 {DINOV3}
siglip_base_patch16_224 siglip 1 224 768 203156230 {APACHE}
siglip2_base_patch16_224 siglip 1 224 768 375188230 {APACHE}
vit_base_patch16_224_imagenet21k vit 3 224 768 85798656 {APACHE}
hgnetv2_b4_ssld_stage2_ft_in1k hgnetv2 1 224 2048 13599072 {APACHE}
mobilenet_v3_large_100_imagenet_21k mobilenetv3 1 224 960 2996352 {APACHE}
"""


def known_presets() -> tuple[KnownPreset, ...]:
    """Return the presets that ``tlcli modules`` lists."""
    found = []
    for line in _PRESETS.strip().splitlines():
        name, model, version, side, size, parameters, licence = line.split(maxsplit=6)
        kaggle = f"keras/{model}/keras/{name}/{version}"
        found.append(KnownPreset(name, kaggle, int(side), int(size), int(parameters), licence))
    return tuple(found)
