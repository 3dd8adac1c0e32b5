"""Fetch modules of Hub and Kaggle into a folder, through tensorflow_hub.

A module that was fetched before, or put there by hand, is found again without importing
TensorFlow or using the network.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli.backbones.download.hub_addresses import Address, address
from tlcli.core.data.archives import ArchiveRefused, unpack
from tlcli.errors import BackboneError, DownloadError

if TYPE_CHECKING:
    from tlcli.backbones.download.http import RemoteFile

FOLDER = "hub"
_OFFLINE = (
    "without a network give the path of an unpacked module's folder, or use "
    "--module efficientnet_lite0"
)

_log = logging.getLogger("tlcli")


def fetch(module: str, folders: Sequence[Path]) -> Path:
    """Return the folder of a module, downloaded unless it is on this machine.

    Args:
        module: see `hub_addresses.address`.
        folders: where modules may be, in this order; a download goes to the first.

    Raises:
        DownloadError: it cannot be fetched; one sentence, within seconds.
    """
    wanted = address(module)
    for path in _candidates(wanted, folders):
        if (path / "saved_model.pb").is_file():
            return path
    folder = folders[0] / FOLDER
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


def _candidates(wanted: Address, folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        for url in wanted.urls:
            yield folder / FOLDER / _key(url)
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
    from tlcli.backbones.download.http import RemoteFile, check_reachable, explained, only_one

    remote = RemoteFile(url, f"the module {module}", _OFFLINE)
    target = folder / _key(url)
    with only_one(target), explained(remote):
        if (target / "saved_model.pb").is_file():
            return target
        check_reachable(url)
        _log.info("downloading %s from %s", remote.what, url)
        # Under our own lock: these files were left by a run that was killed.
        for left in (*folder.glob(f"{target.name}.*.tmp"), folder / f"{target.name}.lock"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        _resolve(remote, folder)
    if not (target / "saved_model.pb").is_file():
        shutil.rmtree(target, ignore_errors=True)
        raise remote.failed("the archive that it sent holds no SavedModel")
    return target


def _resolve(remote: RemoteFile, folder: Path) -> None:
    hub = import_hub()
    from tlcli.backbones.download.http import cause
    from tlcli.runtime.native_stderr import quiet_stderr
    from tlcli.runtime.tensorflow import import_tensorflow

    tf = import_tensorflow()
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update({**_SETTINGS, "TFHUB_CACHE_DIR": str(folder)})
    try:
        with quiet_stderr(), _limited_hub():
            hub.resolve(remote.url)
    except ArchiveRefused as error:
        raise remote.failed(f"{error}, so it was refused") from error
    except tf.errors.OpError as error:
        reason = cause(error.__cause__ or OSError(str(error.message).splitlines()[0]))
        raise remote.failed(reason) from error
    except tarfile.ReadError as error:
        raise remote.failed("what it sent is not a tar archive") from error
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _limited_hub() -> Iterator[None]:
    """Let tensorflow_hub wait and unpack within limits, and close all connections that it opens.

    It has no limits of its own, and leaves connections open where an archive is damaged.
    """
    import urllib.request

    from tensorflow_hub.resolver import DownloadManager, HttpResolverBase

    from tlcli.backbones.download.http import READ_SECONDS

    opening = HttpResolverBase._call_urlopen
    unpacking = DownloadManager.download_and_uncompress
    answers = []

    def call(self: Any, request: Any) -> Any:
        answer = urllib.request.urlopen(request, timeout=READ_SECONDS, context=self._context)
        answers.append(answer)
        return answer

    def download_and_uncompress(_: Any, fileobj: Any, dst_path: str) -> None:
        unpack(fileobj, Path(dst_path))
        # An archive that was cut between two of its files looks like a whole one. What comes
        # after the end of one is padding, which is short.
        for _ in range(256):
            if not fileobj.read(1 << 18):
                break
        if getattr(fileobj, "length", 0):
            raise ArchiveRefused("it ended before all of it had arrived")

    HttpResolverBase._call_urlopen = call
    DownloadManager.download_and_uncompress = download_and_uncompress
    try:
        yield
    finally:
        HttpResolverBase._call_urlopen = opening
        DownloadManager.download_and_uncompress = unpacking
        for answer in answers:
            answer.close()


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
    from tlcli.runtime.native_stderr import quietly
    from tlcli.runtime.tensorflow import import_tensorflow

    import_tensorflow()
    try:
        with quietly():
            import tensorflow_hub
    except ImportError as error:
        raise BackboneError(
            f"tensorflow_hub cannot be imported ({error}); "
            "run: pip install 'tensorflow-hub>=0.16.1' 'setuptools<81' tf_keras"
        ) from error
    return tensorflow_hub
