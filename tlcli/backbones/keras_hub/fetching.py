"""Fetch presets of keras-hub from Kaggle and Hugging Face, by the clients of these sites.

Only the files that a backbone needs are downloaded: no tokenizers, no classifiers. They arrive in
a folder beside the preset's own and move there when all of them are complete, so that a preset is
whole or absent. Access to models that ask for consent (DINOv3) is what the clients were given:
``KAGGLE_API_TOKEN`` or ``~/.kaggle``, ``HF_TOKEN`` or ``huggingface-cli login``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tlcli.backbones.keras_hub.addresses import PresetAddress
from tlcli.backbones.keras_hub.library import require_keras_hub
from tlcli.backbones.keras_hub.places import (
    CONFIG,
    CONVERTER,
    FOLDER,
    OF_TRANSFORMERS,
    SHARDS,
    WEIGHTS,
    is_of_transformers,
    is_whole,
    on_this_machine,
    shard_names,
)
from tlcli.errors import TlcliError

_OFFLINE = (
    "without a network give the path of a preset's folder, or use --module efficientnet_lite0"
)
# What the sites answer where a file is not there.
_ABSENT = ("EntryNotFoundError", "RemoteEntryNotFoundError", "LocalEntryNotFoundError")

_log = logging.getLogger("tlcli")


class _NoSuchFile(Exception):
    """The preset has no file of that name."""


def fetch(address: PresetAddress, folders: Sequence[Path]) -> Path:
    """Return the folder of a preset, downloaded unless it is on this machine.

    Args:
        address: of the preset.
        folders: where models may be, in this order; a download goes to the first.

    Raises:
        BackboneError: keras-hub, which brings the clients, is not installed.
        DownloadError: it cannot be fetched; one sentence.
    """
    found = on_this_machine(address, folders)
    if found is not None:
        return found
    require_keras_hub()
    return _download(address, folders[0] / FOLDER / address.host / address.handle)


def _download(address: PresetAddress, target: Path) -> Path:
    from tlcli.backbones.download.http import RemoteFile, check_reachable, explained, only_one

    get, url = (_kaggle if address.host == "kaggle" else _hugging_face)(address)
    remote = RemoteFile(url, f"the preset {address.typed}", _OFFLINE)
    with only_one(target), explained(remote):
        if is_whole(target):
            return target
        check_reachable(url)
        _log.info("downloading %s from %s", remote.what, url)
        # Under the lock: what a run that was killed left there is completed.
        partial = target.with_name(f"{target.name}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        try:
            with _bars_for_people():
                _get_all(get, partial)
        except _NoSuchFile as error:
            reason = f"it has no {error}, so it is no preset of keras-hub"
            if is_of_transformers(partial):
                reason = f"it is {OF_TRANSFORMERS}"
            raise remote.failed(reason) from error
        except TlcliError:
            raise
        except Exception as error:  # each client has its own kinds
            if isinstance(error, OSError) and not hasattr(error, "response"):
                raise  # of a file, or of the connection
            raise remote.failed(_reason(error)) from error
        for left in partial.glob(".*.part"):
            shutil.rmtree(left, ignore_errors=True)
        if target.exists():  # incomplete, and not by this: whole ones were found above
            raise remote.failed(f"{target} is in the way; remove it")
        partial.rename(target)
    return target


@contextlib.contextmanager
def _bars_for_people() -> Iterator[None]:
    """Keep the clients' progress bars out of logs."""
    with contextlib.ExitStack() as stack:
        if sys.stderr is None or not sys.stderr.isatty():
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield


def _get_all(get: Callable[[str, Path], None], folder: Path) -> None:
    """Fetch the files that a backbone needs into ``folder``."""
    get(CONFIG, folder)
    with contextlib.suppress(_NoSuchFile):
        get(CONVERTER, folder)
    try:
        get(WEIGHTS, folder)
        return
    except _NoSuchFile:
        get(SHARDS, folder)
    for name in shard_names(folder / SHARDS):
        get(name, folder)


def _kaggle(address: PresetAddress) -> tuple[Callable[[str, Path], None], str]:
    """Return what fetches a file from Kaggle, and the server's address."""
    from kagglesdk.kaggle_env import get_endpoint, get_env

    def get(name: str, folder: Path) -> None:
        import kagglehub

        if (folder / name).is_file():
            return
        from kagglehub.exceptions import KaggleApiHTTPError

        holder = folder / f".{name}.part"
        holder.mkdir(exist_ok=True)
        try:
            with _settings(KAGGLEHUB_CACHE=str(holder), KAGGLEHUB_VERBOSITY="error"):
                found = Path(kagglehub.model_download(address.handle, path=name))
        except KaggleApiHTTPError as error:
            if getattr(error.response, "status_code", 0) == 404:
                raise _NoSuchFile(name) from error
            raise
        except ValueError as error:
            if "is not present in the model files" in str(error):
                raise _NoSuchFile(name) from error
            raise
        found.replace(folder / name)
        shutil.rmtree(holder, ignore_errors=True)

    return get, get_endpoint(get_env())


def _hugging_face(address: PresetAddress) -> tuple[Callable[[str, Path], None], str]:
    """Return what fetches a file from Hugging Face, and the server's address."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")

    def get(name: str, folder: Path) -> None:
        if (folder / name).is_file():
            return
        import huggingface_hub

        holder = folder / f".{name}.part"
        try:
            found = huggingface_hub.hf_hub_download(
                address.handle, name, local_dir=holder, endpoint=endpoint
            )
        except Exception as error:
            if type(error).__name__ in _ABSENT and _is_answer(error):
                raise _NoSuchFile(name) from error
            raise
        Path(found).replace(folder / name)
        shutil.rmtree(holder, ignore_errors=True)

    return get, endpoint


def _is_answer(error: BaseException) -> bool:
    """Return whether the server said so: without a network the client raises the same kind."""
    return getattr(error, "response", None) is not None


@contextlib.contextmanager
def _settings(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _reason(error: BaseException) -> str:
    """Return in a few words why one of the clients failed."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return (
            "the server asks for a login or for consent: accept the model's terms on its page and "
            "set KAGGLE_API_TOKEN or HF_TOKEN"
        )
    if status is not None:
        return f"the server answers {status}"
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return first.rstrip(".") or type(error).__name__
