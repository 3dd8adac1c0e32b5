"""A fit in progress on disk, so that an interrupted one continues where it stopped."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Callable
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


def fit_digest(
    training: Samples, label_count: int, settings: SgdSettings, rows_at_once: int = 1024
) -> str:
    """Return a SHA-256 (hex) over all that decides the steps of a fit.

    The number of steps is left out, so that a finished fit can be continued, and so is what only
    measures: validation and intervals. Rows are copied ``rows_at_once`` at a time.
    """
    digest = hashlib.sha256()
    rows, size = len(training), training.size
    digest.update(
        f"tlcli sgd {FORMAT}: {rows} x {size}, {label_count} labels, seed {settings.seed}, "
        f"rate {settings.learning_rate!r}, batch {settings.train_batch_size}\n".encode()
    )
    for start in range(0, rows, rows_at_once):
        part = training.gathered(start, start + rows_at_once)
        digest.update(part.astype("<f4", copy=False).data)
    digest.update(training.labels.astype("<i8", copy=False).data)
    return digest.hexdigest()


class Checkpoint:
    """The file PREFIX.npz of one fit."""

    def __init__(
        self, prefix: Path | str, digest: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Name the checkpoint at ``prefix`` for the fit of ``digest`` (see `fit_digest`).

        ``clock`` returns seconds.
        """
        # Not with_suffix: a prefix such as "run.1" keeps its own dot.
        self.path = Path(f"{prefix}.npz")
        self._digest = digest
        self._clock = clock
        self._saved_at = self._clock()

    def load(self, steps: int, size: int, label_count: int) -> SgdState | None:
        """Return the state that a fit of ``steps`` steps continues from, or None to start again.

        A file that is damaged, of another fit or beyond ``steps`` gets a warning and will be
        overwritten. The weights must be of ``size`` (D) by ``label_count`` (L).
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
        self._saved_at = self._clock()

    def save_when_due(self, state: SgdState) -> None:
        """Write ``state`` when the last save is `SAVE_SECONDS` ago; call it after every step."""
        if self._clock() - self._saved_at >= SAVE_SECONDS:
            self.save(state)
