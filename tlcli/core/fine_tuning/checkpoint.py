"""A fine-tuning in progress or done, in the cache: the same command goes on where it stopped."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.arrays import Array
from tlcli.core.fine_tuning.trainable_network import Values
from tlcli.system.cache_folders import tuned_folder
from tlcli.system.file_cache import FileCache

SAVE_SECONDS = 0.2
"""Least seconds between saves; they are farther apart where a save takes long."""
# Part of the time that saves may take.
_SAVING = 0.05
# What decides how a training goes on.
_SOURCES = ("core/fine_tuning",)


@dataclass(frozen=True)
class State:
    """A training after some steps.

    Attributes:
        steps_done: how many.
        values: of the network's variables.
        moments: of the optimiser; empty after the last step, which makes the file a third as large.
    """

    steps_done: int
    values: Values
    moments: Values


def training_digest(facts: Sequence[Any], arrays: Sequence[Array]) -> str:
    """Return a SHA-256 (hex) over all that decides a training, and nothing of paths or times."""
    digest = hashlib.sha256(repr(list(facts)).encode())
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


class FineTuningCheckpoint:
    """The kept state of one training.

    Args:
        digest: of all that decides it; see `training_digest`.
        fingerprint: of the backbone, by which `tlcli cache` finds its name.
        folder: where the file is or will be; None: in the cache folder.
        clock: seconds.
    """

    def __init__(
        self,
        digest: str,
        fingerprint: str = "",
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = FileCache(tuned_folder() if folder is None else folder, _SOURCES)
        self._key, self._fingerprint = ("fine-tuning", digest), fingerprint
        self._clock = clock
        self._saved_at, self._took = clock(), 0.0

    @property
    def steps_done(self) -> int:
        """How many steps the kept state has; 0 where there is none."""
        found = self._files.find(self._key)
        return 0 if found is None else int(found.facts["steps"])

    def load(self, like: Values) -> State | None:
        """Return the kept state, or None to begin; its arrays have the shapes of ``like``."""
        found = self._files.find(self._key, read=True)
        if found is None:
            return None
        content = np.frombuffer(found.content, "<f4")
        count = sum(each.size for each in like)
        if content.size not in (count, 3 * count) or not np.isfinite(content).all():
            return None
        arrays: Values = []
        start = 0
        for each in (*like, *like, *like)[: len(like) * content.size // count]:
            arrays.append(content[start : start + each.size].reshape(each.shape).copy())
            start += each.size
        return State(int(found.facts["steps"]), arrays[: len(like)], arrays[len(like) :])

    def is_due(self) -> bool:
        """Return whether the last save is `SAVE_SECONDS` ago, or longer, as saves take time."""
        return self._clock() - self._saved_at >= max(SAVE_SECONDS, self._took / _SAVING)

    def save(self, state: State) -> None:
        """Keep a state; where the cache cannot be written, nothing happens."""
        begun = self._clock()
        parts = [
            np.ascontiguousarray(each, "<f4").tobytes() for each in (*state.values, *state.moments)
        ]
        facts = {"steps": state.steps_done, "fingerprint": self._fingerprint}
        self._files.store(self._key, facts, *parts)
        self._saved_at = self._clock()
        self._took = self._saved_at - begun
