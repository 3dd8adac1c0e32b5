"""Licences of the weights of keras-hub's presets, by the model they belong to."""

from __future__ import annotations

APACHE = "Apache-2.0"
DINOV3 = "DINOv3 License (not open source)"

# By the beginning of a preset's name. From the model cards of
# the checkpoints that the presets were converted from: facebook/dinov2-*, facebook/dinov3-*,
# google/siglip-*, google/siglip2-*, google/vit-*, facebook/deit-*, timm/mobilenetv3_*,
# timm/hgnetv2_*. What is not listed is "unknown".
_LICENCES = (
    ("dinov2", APACHE),
    ("dinov3", DINOV3),
    ("siglip", APACHE),
    ("vit_", APACHE),
    ("deit_", APACHE),
    ("mobilenet_v3_", APACHE),
    ("hgnetv2_", APACHE),
)
_PUBLISHERS = ("keras", "facebook", "google")
UNKNOWN = "unknown"
_TERMS = {DINOV3: "https://ai.meta.com/resources/models-and-libraries/dinov3-license/"}


def licence_of(handle: str) -> str:
    """Return the licence of a published preset; "unknown" where its owner may have other weights.

    Args:
        handle: OWNER/MODEL/keras/NAME[/VERSION] on Kaggle, OWNER/NAME on Hugging Face.
    """
    owner, *rest = handle.split("/")
    name = rest[2] if len(rest) > 2 else rest[0]
    if owner.lower() not in _PUBLISHERS:
        return UNKNOWN
    found = (licence for start, licence in _LICENCES if name.lower().startswith(start))
    return next(found, UNKNOWN)


def notice(licence: str, name: str) -> str | None:
    """Return a sentence for a licence that restricts what the weights may be used for."""
    if licence not in _TERMS:
        return None
    return (
        f"The weights of {name} have the {licence}: read its terms before you publish or sell "
        f"what you make with them ({_TERMS[licence]})."
    )
