from __future__ import annotations

import pytest

from tlcli.backbones.keras_hub.addresses import is_preset_address, preset_address
from tlcli.backbones.keras_hub.known import known_presets
from tlcli.backbones.keras_hub.licences import DINOV3, licence_of, notice
from tlcli.errors import BackboneError


@pytest.mark.parametrize(
    ("module", "host", "handle"),
    [
        ("keras_hub:dinov2_small", "kaggle", "keras/dinov2/keras/dinov2_small/1"),
        ("kaggle://keras/vit/keras/vit_base/3", "kaggle", "keras/vit/keras/vit_base/3"),
        ("kaggle://keras/vit/keras/vit_base", "kaggle", "keras/vit/keras/vit_base"),
        ("hf://keras/dinov2_small", "hf", "keras/dinov2_small"),
    ],
)
def test_address(module: str, host: str, handle: str) -> None:
    assert is_preset_address(module)
    found = preset_address(module)
    assert (found.typed, found.host, found.handle) == (module, host, handle)


@pytest.mark.parametrize("module", ["efficientnet_lite0", "keras/x.keras", "https://hf.co/a/b"])
def test_other_modules(module: str) -> None:
    assert not is_preset_address(module)


@pytest.mark.parametrize(
    "module",
    [
        "kaggle://google/mobilenet-v2/tensorFlow2/140/1",
        "kaggle://keras/dinov2",
        "kaggle://keras/../keras/x",
        "hf://dinov2_small",
        "hf://../secret",
        "hf://a/b/c",
        "keras_hub:../dinov2",
    ],
)
def test_addresses_of_another_form(module: str) -> None:
    with pytest.raises(BackboneError, match=r"is no preset of keras-hub[:;] give"):
        preset_address(module)


def test_licences() -> None:
    assert licence_of("keras/dinov2/keras/dinov2_small/1") == "Apache-2.0"
    assert licence_of("keras/dinov3_vit_small_lvd1689m") == DINOV3
    assert licence_of("somebody/dinov2_small") == "unknown"
    assert licence_of("keras/vgg/keras/vgg_11_imagenet") == "unknown"
    assert "not open source" in DINOV3
    assert "https://" in str(notice(DINOV3, "it"))
    assert notice("Apache-2.0", "it") is None
    for preset in known_presets():
        assert preset.licence == licence_of(preset.kaggle)
