"""Hub and Kaggle handles and addresses: what they name, and where it can be downloaded today.

tfhub.dev closed in 2024 and its modules moved to Kaggle. The rules below say where the
image modules went; they follow Kaggle's own redirects.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from tlcli.errors import BackboneError

_KAGGLE = "https://www.kaggle.com/models/"
_TFHUB = "https://tfhub.dev/"
_FRAMEWORKS = {"tensorflow1": "tensorFlow1", "tensorflow2": "tensorFlow2"}

# Families of google/imagenet on tfhub.dev: the beginning of the name, the model on Kaggle,
# the first version that was TensorFlow 2. Kaggle counts the versions of each format from 1.
_FAMILIES = (
    ("mobilenet_v1_", "mobilenet-v1", 4),
    ("mobilenet_v2_", "mobilenet-v2", 4),
    ("mobilenet_v3_", "mobilenet-v3", 5),
    ("inception_v1", "inception-v1", 4),
    ("inception_v2", "inception-v2", 4),
    ("inception_v3", "inception-v3", 4),
    ("inception_resnet_v2", "inception-resnet-v2", 4),
    ("resnet_v1_", "resnet-v1", 4),
    ("resnet_v2_", "resnet-v2", 4),
    ("nasnet_", "nasnet", 4),
    ("pnasnet_", "pnasnet", 4),
    ("efficientnet_v2_", "efficientnet-v2", 1),
)
# Sides of families whose names do not say them and whose modules take any size.
_SIDES = {
    "efficientnet/b": (224, 240, 260, 300, 380, 456, 528, 600),
    "efficientnet/lite": (224, 240, 260, 280, 300),
    "efficientnet-v2/b": (224, 240, 260, 300),
}
_NAMED_SIDES = (
    ("inception-v3", 299),
    ("inception-resnet-v2", 299),
    ("inception", 224),
    ("resnet", 224),
    ("nasnet/large", 331),
    ("pnasnet/large", 331),
    ("nasnet/mobile", 224),
    ("efficientnet-v2/s", 384),
    ("efficientnet-v2/m", 480),
    ("efficientnet-v2/l", 480),
    ("mobilenet", 224),
)


@dataclass(frozen=True)
class Address:
    """One module, wherever it is asked for.

    Attributes:
        typed: as the user gave it.
        kaggle: OWNER/MODEL/FRAMEWORK/VARIATION/VERSION, "" for other servers.
        urls: where to fetch it, the likeliest first.
    """

    typed: str
    kaggle: str
    urls: tuple[str, ...]


def is_handle(module: str) -> bool:
    """Return whether ``module`` is an address or a Hub or Kaggle handle."""
    return "://" in module or bool(_kaggle_path(module) or _is_old_path(module))


def address(module: str) -> Address:
    """Return where ``module`` is to be had today.

    Takes ``https://www.kaggle.com/models/...`` in both forms, ``OWNER/MODEL/FRAMEWORK/
    VARIATION[/VERSION]``, ``https://tfhub.dev/...``, its path alone, and other addresses.

    Raises:
        BackboneError: a scheme that is not http, https or gs.
    """
    if "://" not in module:
        kaggle = _kaggle_path(module)
        if kaggle:
            return Address(module, kaggle, (_KAGGLE + kaggle,))
        return _moved(module, module)
    parts = urllib.parse.urlsplit(module)
    host = (parts.hostname or "").removeprefix("www.")
    path = parts.path.strip("/")
    if host == "kaggle.com":
        kaggle = _kaggle_path(path.removeprefix("models/"))
        if kaggle:
            return Address(module, kaggle, (_KAGGLE + kaggle,))
    if host == "tfhub.dev":
        return _moved(module, path)
    if parts.scheme not in ("http", "https", "gs"):
        raise BackboneError(
            f"cannot fetch {module}: only https, http and gs addresses are known; "
            "give a path without a scheme for what is on this machine"
        )
    return Address(module, "", (module,))


def _moved(module: str, path: str) -> Address:
    kaggle = moved(path)
    # tfhub.dev itself still redirects some modules that no rule here knows.
    urls = ([_KAGGLE + kaggle] if kaggle else []) + [_TFHUB + path]
    return Address(module, kaggle, tuple(urls))


def _kaggle_path(path: str) -> str:
    """Return OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION] in one form, or ""."""
    parts = [part for part in path.strip("/").split("/") if part]
    if len(parts) >= 6 and parts[2].lower() == "frameworks" and parts[4].lower() == "variations":
        parts = [*parts[:2], parts[3], parts[5], *parts[7:8]]
    if len(parts) not in (4, 5) or parts[2].lower() not in _FRAMEWORKS:
        return ""
    if len(parts) == 5 and not parts[4].isdigit():
        return ""
    parts[2] = _FRAMEWORKS[parts[2].lower()]
    return "/".join(parts)


def _is_old_path(module: str) -> bool:
    """Return whether ``module`` is a path of tfhub.dev without the host."""
    return bool(re.fullmatch(r"(google|tensorflow)/[\w.\-]+(/[\w.\-]+)+/\d+", module))


def moved(path: str) -> str:
    """Return the Kaggle handle of a path of tfhub.dev, or "" where no rule tells.

    Example: ``google/imagenet/mobilenet_v2_100_224/feature_vector/5`` is now
    ``google/mobilenet-v2/tensorFlow2/100-224-feature-vector/2``.
    """
    parts = path.strip("/").split("/")
    if not parts[-1].isdigit():
        return ""
    version = int(parts[-1])
    head, tail = parts[:2], parts[2:-1]
    if head == ["google", "imagenet"] and len(tail) == 2:
        name, kind = tail[0], tail[1].replace("_", "-")
        for prefix, model, first in _FAMILIES:
            if name.startswith(prefix):
                rest = name[len(prefix) :].strip("_").replace("_", "-")
                variation = f"{rest}-{kind}" if rest else kind
                second = version >= first
                return (
                    f"google/{model}/tensorFlow{2 if second else 1}/{variation}/"
                    f"{version - first + 1 if second else version}"
                )
    if head == ["google", "tf2-preview"] and len(tail) == 2:
        model, kind = (part.replace("_", "-") for part in tail)
        return f"google/{model}/tensorFlow2/tf2-preview-{kind}/{version}"
    if head == ["tensorflow", "efficientnet"] and len(tail) == 2:
        name, kind = tail[0], tail[1].replace("_", "-")
        return f"tensorflow/efficientnet/tensorFlow2/{name}-{kind}/{version}"
    return ""


def size_hint(kaggle: str) -> tuple[int, int] | None:
    """Return the image size that a Kaggle handle tells by its name, or None."""
    parts = kaggle.split("/")
    if len(parts) < 4:
        return None
    model, variation = parts[1], parts[3]
    side = re.search(r"(?:^|-)\d{3}-(\d{2,3})-", variation)
    if side:
        return int(side[1]), int(side[1])
    name = re.sub(r"^imagenet\d+k-(21k-)?(ft1k-)?", "", variation)
    for key, sides in _SIDES.items():
        family, letter = key.split("/")
        found = re.match(rf"{letter}(\d)(-|$)", name)
        if model == family and found and int(found[1]) < len(sides):
            return sides[int(found[1])], sides[int(found[1])]
    for key, number in _NAMED_SIDES:
        if f"{model}/{name}".startswith(key):
            return number, number
    return None


def moved_family(kaggle: str) -> bool:
    """Return whether a Kaggle handle is one of the families that the rules here know."""
    model = kaggle.split("/")[1]
    return model == "efficientnet" or any(model == name for _, name, _ in _FAMILIES)
