"""A fit in progress on disk, so that one that was cut short goes on where it stopped."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from pathlib import Path

import numpy as np

from tlcli.core.final_layer.samples import Samples
from tlcli.core.final_layer.sgd import SgdSettings, SgdState
from tlcli.system.atomic_files import write_bytes
from tlcli.text import counted

LOG = logging.getLogger("tlcli")
FORMAT = 1
# A save takes milliseconds; once a second loses little and costs less than a hundredth.
SAVE_SECONDS = 1.0
_ROWS_HASHED = 1024


def fit_digest(training: Samples, label_count: int, settings: SgdSettings) -> str:
    """Return a SHA-256 (hex) over all that decides the steps of a fit.

    The number of steps is left out, so that a finished fit may be given more of them, and so is
    what only measures: validation and intervals.
    """
    digest = hashlib.sha256()
    rows, size = len(training), training.size
    digest.update(
        f"tlcli sgd {FORMAT}: {rows} x {size}, {label_count} labels, seed {settings.seed}, "
        f"rate {settings.learning_rate!r}, batch {settings.train_batch_size}\n".encode()
    )
    # In parts, so that the rows of a split are never copied all at once.
    for start in range(0, rows, _ROWS_HASHED):
        part = training.gathered(start, start + _ROWS_HASHED)
        digest.update(part.astype("<f4", copy=False).data)
    digest.update(training.labels.astype("<i8", copy=False).data)
    return digest.hexdigest()


class Checkpoint:
    """The file PREFIX.npz of one fit."""

    def __init__(self, prefix: Path | str, digest: str) -> None:
        """Name the checkpoint at ``prefix`` for the fit of ``digest`` (see `fit_digest`)."""
        # Not with_suffix: a prefix such as "run.1" keeps its own dot.
        self.path = Path(f"{prefix}.npz")
        self._digest = digest
        self._saved_at = time.monotonic()

    def load(self, steps: int, size: int, label_count: int) -> SgdState | None:
        """Return the state to go on from in a fit of ``steps`` steps, or None to start anew.

        A file that is damaged, of another fit or beyond ``steps`` is warned of and left to be
        overwritten. Args ``size`` (D) and ``label_count`` (L) are the shape that must be met.
        """
        if not self.path.exists():
            return None
        try:
            reason, state = self._read(size, label_count)
        except Exception as error:  # a damaged archive fails in zipfile, zlib and NumPy alike
            reason, state = f"it cannot be read ({type(error).__name__})", None
        if state is not None and state.steps_done > steps:
            asked = "was" if steps == 1 else "were"
            reason = f"it has {counted(state.steps_done, 'step')} and {steps} {asked} asked for"
            state = None
        if state is None:
            LOG.warning(
                "training starts from the first step: checkpoint %s does not fit: %s",
                self.path,
                reason,
            )
        return state

    def _read(self, size: int, label_count: int) -> tuple[str, SgdState | None]:
        with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as archive:
            if int(archive["format"]) != FORMAT:
                return "it was written by another version", None
            if str(archive["digest"]) != self._digest:
                return "it is of other images, labels, seed, learning rate or batch size", None
            state = SgdState(int(archive["steps_done"]), archive["weights"], archive["biases"])
        arrays = (state.weights, state.biases)
        if (
            state.steps_done < 0
            or [array.shape for array in arrays] != [(size, label_count), (label_count,)]
            or any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays)
        ):
            return "its content is damaged", None
        return "", state

    def save(self, state: SgdState) -> None:
        """Write ``state``.

        Raises:
            OutputError: the file cannot be written.
        """
        buffer = io.BytesIO()
        np.savez(
            buffer,
            format=np.int64(FORMAT),
            digest=np.str_(self._digest),
            steps_done=np.int64(state.steps_done),
            weights=np.ascontiguousarray(state.weights),
            biases=state.biases,
        )
        write_bytes(self.path, buffer.getvalue())
        self._saved_at = time.monotonic()

    def save_now_and_then(self, state: SgdState) -> None:
        """Write ``state`` when the last save is `SAVE_SECONDS` ago; call it after every step."""
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save(state)
