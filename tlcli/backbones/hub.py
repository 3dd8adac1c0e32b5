"""Hub and Kaggle handles and addresses: into a folder, through tensorflow_hub.

tfhub.dev closed in 2024 and its modules moved to Kaggle. The rules below say where the
image modules went; they follow Kaggle's own redirects. A module that was fetched once, or
placed by hand, is found again without importing TensorFlow or touching the network.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import tarfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcli.backbones.archives import ArchiveRefused, unpack
from tlcli.backbones.base import Backbone
from tlcli.backbones.catalogue import search_folders
from tlcli.errors import BackboneError, DownloadError

_KAGGLE = "https://www.kaggle.com/models/"
_TFHUB = "https://tfhub.dev/"
_FRAMEWORKS = {"tensorflow1": "tensorFlow1", "tensorflow2": "tensorFlow2"}
_FOLDER = "hub"
_OFFLINE = (
    "without a network give the path of an unpacked module's folder, or use "
    "--module efficientnet_lite0"
)

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

_log = logging.getLogger("tlcli")


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
    if "://" in module:
        return True
    return bool(_kaggle_path(module) or _old_path(module))


def address(module: str) -> Address:
    """Return where ``module`` is to be had today.

    Takes ``https://www.kaggle.com/models/...`` in both spellings, ``OWNER/MODEL/FRAMEWORK/
    VARIATION[/VERSION]``, ``https://tfhub.dev/...``, its path alone, and other addresses.

    Raises:
        BackboneError: a scheme that is not http, https or gs.
    """
    if "://" not in module:
        kaggle = _kaggle_path(module)
        if kaggle:
            return Address(module, kaggle, (_KAGGLE + kaggle,))
        return _moved(module, _old_path(module) or module)
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
    """Return OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION] in one spelling, or ""."""
    parts = [part for part in path.strip("/").split("/") if part]
    if len(parts) >= 6 and parts[2].lower() == "frameworks" and parts[4].lower() == "variations":
        parts = [*parts[:2], parts[3], parts[5], *parts[7:8]]
    if len(parts) not in (4, 5) or parts[2].lower() not in _FRAMEWORKS:
        return ""
    if len(parts) == 5 and not parts[4].isdigit():
        return ""
    parts[2] = _FRAMEWORKS[parts[2].lower()]
    return "/".join(parts)


def _old_path(module: str) -> str:
    """Return ``module`` if it is a path of tfhub.dev without the host, or ""."""
    if re.fullmatch(r"(google|tensorflow)/[\w.\-]+(/[\w.\-]+)+/\d+", module):
        return module
    return ""


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


def find(
    module: str, *, model_dir: Path | None = None, trust: bool = False, **options: Any
) -> Backbone:
    """Return the backbone of a handle or address, fetched unless it is on this machine.

    Args:
        module: see `address`.
        model_dir: where fetched modules lie, None for the cache folder.
        trust: see `saved_model.find`.
        options: the other options of `saved_model.find`.

    Raises:
        DownloadError: it is not on this machine and cannot be fetched.
        BackboneError: see `saved_model.find`.
    """
    from tlcli.backbones import saved_model

    wanted = address(module)
    folder = fetch(module, model_dir=model_dir)
    # Kaggle states this licence for what these two owners moved there from tfhub.dev.
    known = wanted.kaggle.startswith(("google/", "tensorflow/")) and moved_family(wanted.kaggle)
    return saved_model.find(
        folder,
        name=module,
        source=f"Hub module {wanted.urls[0]}",
        licence="Apache-2.0" if known else "unknown",
        size_hint=size_hint(wanted.kaggle),
        trust=trust,
        **options,
    )


def moved_family(kaggle: str) -> bool:
    """Return whether a Kaggle handle is one of the families that the rules here know."""
    model = kaggle.split("/")[1]
    return model == "efficientnet" or any(model == name for _, name, _ in _FAMILIES)


def fetch(module: str, *, model_dir: Path | None = None) -> Path:
    """Return the folder of a module, downloaded unless it is on this machine.

    Raises:
        DownloadError: it cannot be fetched; one sentence, within seconds.
    """
    wanted = address(module)
    found = on_this_machine(wanted, model_dir)
    if found is not None:
        return found
    folder = search_folders(model_dir)[0] / _FOLDER
    for number, url in enumerate(wanted.urls):
        try:
            return _download(url, folder, module)
        except DownloadError as error:
            # The next address helps only where this server answered that it has no such module.
            gone = "server answers 4" in str(error)
            if number + 1 == len(wanted.urls) or not gone:
                raise
            _log.info("%s; trying %s", error, wanted.urls[number + 1])
    raise AssertionError("an address has at least one url")


def on_this_machine(wanted: Address, model_dir: Path | None = None) -> Path | None:
    """Return the folder of a module that was fetched before or placed by hand, or None."""
    for place in _places(wanted, model_dir):
        if (place / "saved_model.pb").is_file():
            return place
    return None


def _places(wanted: Address, model_dir: Path | None) -> Iterator[Path]:
    folders = search_folders(model_dir)
    for folder in folders:
        for url in wanted.urls:
            yield folder / _FOLDER / _key(url)
        if wanted.kaggle:
            yield folder / wanted.kaggle
    shared = os.environ.get("TFHUB_CACHE_DIR")
    if shared:
        for url in dict.fromkeys((wanted.typed, *wanted.urls)):
            yield Path(shared) / _key(url)
    if wanted.kaggle:
        root = os.environ.get("KAGGLEHUB_CACHE")
        kagglehub = Path(root) if root else Path.home() / ".cache" / "kagglehub"
        yield kagglehub / "models" / wanted.kaggle


def _key(url: str) -> str:
    """Return the folder name that tensorflow_hub gives to an address."""
    return hashlib.sha1(url.encode("utf-8"), usedforsecurity=False).hexdigest()


def _download(url: str, folder: Path, module: str) -> Path:
    # Imported here: it brings http and ssl along, and nearly every run downloads nothing.
    from tlcli.backbones.downloads import check_reachable, explained, failed, only_one

    what = f"the module {module}"
    target = folder / _key(url)
    with only_one(target), explained(what, url, _OFFLINE):
        if (target / "saved_model.pb").is_file():
            return target
        check_reachable(url)
        _log.info("downloading %s from %s", what, url)
        # Under our own lock: what lies here was left by a run that was killed.
        for left in (*folder.glob(f"{target.name}.*.tmp"), folder / f"{target.name}.lock"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        _resolve(url, folder, what)
    if not (target / "saved_model.pb").is_file():
        shutil.rmtree(target, ignore_errors=True)
        raise failed(what, url, "the archive that it sent holds no SavedModel", _OFFLINE)
    return target


def _resolve(url: str, folder: Path, what: str) -> None:
    hub = import_hub()
    from tlcli.backbones.downloads import bounded_sockets, cause, failed
    from tlcli.core.engines import import_tensorflow, quiet_stderr

    tf = import_tensorflow()
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update({**_SETTINGS, "TFHUB_CACHE_DIR": str(folder)})
    try:
        with quiet_stderr(), bounded_sockets(), _closed_answers(), _own_unpacking():
            hub.resolve(url)
    except ArchiveRefused as error:
        raise failed(what, url, f"{error}, so it was refused", _OFFLINE) from error
    except tf.errors.OpError as error:
        reason = cause(error.__cause__ or OSError(str(error.message).splitlines()[0]))
        raise failed(what, url, reason, _OFFLINE) from error
    except tarfile.ReadError as error:
        raise failed(what, url, "what it sent is not a tar archive", _OFFLINE) from error
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _closed_answers() -> Iterator[None]:
    """Close the connections that tensorflow_hub leaves open where an archive is damaged."""
    from tensorflow_hub.resolver import HttpResolverBase

    opening = HttpResolverBase._call_urlopen
    answers = []

    def call(self: Any, request: Any) -> Any:
        answers.append(opening(self, request))
        return answers[-1]

    HttpResolverBase._call_urlopen = call
    try:
        yield
    finally:
        HttpResolverBase._call_urlopen = opening
        for answer in answers:
            answer.close()


@contextmanager
def _own_unpacking() -> Iterator[None]:
    """Let `archives.unpack` do what tensorflow_hub does without limits."""
    from tensorflow_hub import resolver

    usual = resolver.DownloadManager.download_and_uncompress

    def download_and_uncompress(_: Any, fileobj: Any, dst_path: str) -> None:
        unpack(fileobj, Path(dst_path))

    resolver.DownloadManager.download_and_uncompress = download_and_uncompress
    try:
        yield
    finally:
        resolver.DownloadManager.download_and_uncompress = usual


# The compressed form is the one that leaves a folder to look into before it runs.
_SETTINGS = {
    "TFHUB_CACHE_DIR": "",
    "TFHUB_MODEL_LOAD_FORMAT": "COMPRESSED",
    "TFHUB_DOWNLOAD_PROGRESS": "",
}


def import_hub() -> Any:
    """Return the module ``tensorflow_hub``, imported quietly.

    Raises:
        BackboneError: it cannot be imported here.
    """
    import warnings

    from tlcli.core.engines import import_tensorflow, quiet_stderr

    import_tensorflow()
    try:
        with quiet_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow_hub
    except ImportError as error:
        raise BackboneError(
            f"tensorflow_hub cannot be imported ({error}); "
            "run: pip install 'tensorflow-hub>=0.16.1' 'setuptools<81' tf_keras"
        ) from error
    return tensorflow_hub
