"""Trial runs: what nobody has checked is loaded and run once in a child process before it is used.

Kernels of TensorFlow and LiteRT trust what a file says of itself, and some end the process or
never return. A child that does so costs one sentence. What passed is remembered in the cache, by
its content and by the versions of all that ran it, so that the next run needs no child.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcli import errors
from tlcli.errors import GraphError, OutputError, TlcliError
from tlcli.system.atomic_files import temporary_folder
from tlcli.system.cache_folders import trial_folder
from tlcli.system.digests import sha256_bytes
from tlcli.system.file_cache import FileCache

if TYPE_CHECKING:
    from tlcli.runtime.child_process import Ending

LITERT_SECONDS = 60.0
"""For a child without TensorFlow: it starts in a third of a second and runs three images."""
TENSORFLOW_SECONDS = 240.0
"""For a child that imports TensorFlow, which takes half a minute on a slow disk."""

CLASSIFIER_TARGET = "tlcli.core.classifier.trial_child:run_trial"
"""What tries a model file that labels images."""

# Part of the key with their versions, which are in the names of their metadata.
_RUNTIMES = ("ai_edge_litert", "h5py", "keras", "numpy", "protobuf", "tensorflow", "tf_keras")
# Passes are small and many; those of 10,000 models fit.
_LARGEST_FOLDER = 4 << 20


@dataclass(frozen=True)
class Trial:
    """A model and what tries it.

    Attributes:
        name: what errors call the model, usually its path.
        target: run in the child; see `ChildProcess`.
        request: what it is given, as JSON can represent it.
        key: all that the outcome depends on besides code, such as the SHA-256 of the file.
        sources: folders of tlcli whose code loads and runs it.
        seconds: until the child is stopped.
    """

    name: str
    target: str
    request: dict[str, Any]
    key: tuple[Any, ...]
    sources: tuple[str, ...]
    seconds: float


def require_pass(trial: Trial, meanwhile: Callable[[], object] | None = None) -> None:
    """Return if a model was loaded and run in a child, now or before.

    Args:
        trial: the model.
        meanwhile: called while a child runs; imports what will be needed next.

    Raises:
        TlcliError: what loading or running it raised, or that it died or did not end.
    """
    passed = FileCache(trial_folder(), trial.sources, _LARGEST_FOLDER)
    key = (*trial.key, *runtime_versions())
    if passed.find(key) is not None:
        return
    from tlcli.runtime.child_process import ChildProcess

    try:
        with ChildProcess(trial.target, trial.request, trial.seconds) as child:
            if meanwhile is not None:
                meanwhile()
            ending = child.wait()
    except (OSError, OutputError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise GraphError(
            f"{trial.name} was not run: a process for its trial run cannot be started ({reason}); "
            "add --trust to run it without one if you trust its maker"
        ) from error
    failed = failure(trial.name, ending)
    if failed is not None:
        raise failed
    passed.store(key, {})


def require_litert_pass(content: bytes, name: str) -> None:
    """Return if a LiteRT model in memory was run in a child, now or before.

    Args:
        content: of a model, written from a graph that nobody has checked.
        name: what errors call it.

    Raises:
        TlcliError: as `require_pass`.
    """
    from tlcli.runtime.child_process import temporary_place

    with temporary_folder(temporary_place()) as folder:
        path = folder / "model.tflite"
        path.write_bytes(content)
        given = {"options": {"input_height": None, "input_width": None}}
        trial = Trial(
            name=name,
            target=CLASSIFIER_TARGET,
            request={"graph": str(path), "litert": True, **given},
            key=("content", sha256_bytes(content)),
            sources=("core/classifier", "litert", "runtime"),
            seconds=LITERT_SECONDS,
        )
        require_pass(trial)


def failure(name: str, ending: Ending) -> TlcliError | None:
    """Return what is wrong with a model by the end of its child; None: it passed."""
    answer = ending.answer
    if answer is None and ending.in_time:
        return GraphError(
            f"{name} was not run: a trial run of it crashed ({ending.reason}); get the file again "
            "from its source, or export the model again"
        )
    if answer is None:
        return GraphError(
            f"{name} was not run: a trial run of it {ending.reason}; add --trust to run it however "
            "long it takes if you trust its maker"
        )
    if "error" not in answer:
        return None
    kind = getattr(errors, str(answer["error"]), GraphError)
    if not (isinstance(kind, type) and issubclass(kind, TlcliError)):
        kind = GraphError
    return kind(str(answer.get("text")))


@functools.cache
def runtime_versions() -> tuple[str, ...]:
    """Return names and versions of what runs models, as "numpy-2.4.6.dist-info".

    By the names of folders: reading the metadata itself would take longer than all else here.
    """
    found: set[str] = set()
    for folder in sys.path:
        with suppress(OSError):
            found.update(
                name
                for name in os.listdir(folder or ".")  # noqa: PTH208 - names are enough
                if name.startswith(_RUNTIMES) and name.endswith((".dist-info", ".egg-info"))
            )
    return tuple(sorted(found))


def digest_model(path: Path, digest_of: Callable[[Path], str]) -> list[tuple[str, str]]:
    """Return name and SHA-256 of every file that a model consists of.

    Args:
        path: a file, or a folder with all that is below it.
        digest_of: returns the SHA-256 of a file.

    Raises:
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        return [("", digest_of(path))]
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return [(each.relative_to(path).as_posix(), digest_of(each)) for each in files]
