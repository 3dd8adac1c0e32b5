"""One LiteRT model for many images at once: one interpreter per thread.

An interpreter with a thread of its own computes more images a second than one with all
threads, because none waits for another at the end of each layer; of a single image the one
with all threads is quicker. Whoever has images decodes each of them in the thread that then
runs it: nothing is handed over, and no more threads compute than there are processors.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tlcli.arrays import Array
from tlcli.errors import GraphError
from tlcli.litert.interpreter import LiteRTEngine, Scale, litert_content
from tlcli.system.cpus import available_cpus

WEIGHTS_IN_MEMORY = 512 << 20
"""Bytes of weights in all interpreters: each has its own, arranged for its processor."""
FEW_IMAGES = 16
"""Images on which interpreters save about as much time as making them takes."""


class LiteRTPool:
    """Interpreters of one .tflite model; threads may run it at the same time.

    Each image is run alone, so that its result does not depend on the others. More
    interpreters than the first are made when images have had to wait.

    Args:
        source: path or content of the file.
        processors: how many to use; default: the available ones.
        many: there will be many images, so the first interpreter is one of several.
        mapped: leave a file's content in the file, for one that nobody will write into.
        trust: load a file whatever its operators are (see `safety`).

    Attributes:
        workers: how many images run at once at most.
        input_name: of the tensor that takes images.
        input_type: its type, by its NumPy name.
        input_shape: its sizes, None where free.
        outputs: name and sizes of each tensor that comes out, None where a size is free.
        output: index of the one that is returned.

    Raises:
        GraphError: the file cannot be read or is no LiteRT model with one input.
    """

    def __init__(
        self,
        source: Path | str | bytes,
        processors: int | None = None,
        many: bool = False,
        mapped: bool = False,
        trust: bool = False,
    ) -> None:
        processors = processors or available_cpus()
        # Read once: interpreters share it.
        self._source = source if mapped else litert_content(source, trust)
        self._mapped = mapped
        self.workers = min(processors, max(1, WEIGHTS_IN_MEMORY // max(1, _size(self._source))))
        self._threads = max(1, processors // self.workers)
        name = None if isinstance(source, bytes) else str(source)
        threads = self._threads if many else processors
        first = LiteRTEngine(self._source, threads, mapped, name, trust)
        self.input_name, self.input_type = first.input_name, first.input_type
        self.input_shape = first.input_shape
        self.outputs, self.output = first.outputs, 0
        several = many and self.workers > 1
        # The interpreter with all threads, which is all there is for a large model.
        self._wide: LiteRTEngine | None = None if several else first
        self._engines = [first]
        self._free = [first] if several else []
        self._wide_is_free = not several
        self._made = int(several)
        self._waited = FEW_IMAGES if several else 0
        self._changed = threading.Condition()
        self._executor = ThreadPoolExecutor(self.workers, "tlcli-litert")
        self._closed = False

    @property
    def output_name(self) -> str:
        """Name of the output that is returned."""
        return self.outputs[self.output][0]

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Sizes of the output that is returned, None where free."""
        return self.outputs[self.output][1]

    def use_output(self, index: int) -> None:
        """Return the output with that index from now on."""
        self.output = index
        for engine in self._engines:
            engine.output = index

    def run_one(self, image: Array, crowded: bool = True, scale: Scale | None = None) -> Array:
        """Return the output [1, ...] for one image [1, ...]; typed as by `LiteRTEngine.run`.

        Args:
            image: may be changed by the caller afterwards.
            crowded: other images are waiting.
            scale: what makes of the image what the model takes, as for `LiteRTEngine.run`.

        Raises:
            GraphError: the model cannot be run on it.
        """
        with self._lent(crowded) as engine:
            return engine.run(image, scale)

    def run(self, batch: Array, crowded: bool = False) -> Array:
        """Return the outputs for a batch, several of its images at once.

        Args:
            batch: [n, ...].
            crowded: other batches are waiting.

        Raises:
            GraphError: the model cannot be run on it.
        """
        images = batch[:, np.newaxis]
        if len(batch) < 2 or self.workers < 2:
            with self._lent(crowded) as engine:
                rows = [engine.run(image) for image in images]
                return np.concatenate(rows) if rows else engine.run(batch)
        self._check_open()
        return np.concatenate(list(self._executor.map(self.run_one, images)))

    def close(self) -> None:
        """Release the interpreters; nothing can be run afterwards."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._executor.shutdown()
        for engine in self._engines:
            engine.close()

    @contextmanager
    def _lent(self, crowded: bool) -> Iterator[LiteRTEngine]:
        engine = self._take(crowded)
        try:
            yield engine
        finally:
            with self._changed:
                if engine is self._wide:
                    self._wide_is_free = True
                else:
                    self._free.append(engine)
                self._changed.notify()

    def _take(self, crowded: bool) -> LiteRTEngine:
        with self._changed:
            if self.workers > 1 and (crowded or not self._wide_is_free):
                self._waited += 1
            while True:
                self._check_open()
                several = self._wide is None or self._waited > FEW_IMAGES
                if self._wide is not None and self._wide_is_free and not (crowded and several):
                    self._wide_is_free = False
                    return self._wide
                if several and self._free:
                    return self._free.pop()
                if several and self._made < self.workers:
                    self._made += 1
                    break
                self._changed.wait()
        return self._another()

    def _check_open(self) -> None:
        if self._closed:
            raise GraphError("the LiteRT model was closed")

    def _another(self) -> LiteRTEngine:
        try:
            # The first one was checked.
            engine = LiteRTEngine(self._source, self._threads, self._mapped, trust=True)
            engine.output = self.output
        except BaseException:
            with self._changed:
                self._made -= 1
                self._changed.notify_all()
            raise
        with self._changed:
            self._engines.append(engine)
        return engine


def _size(source: Path | str | bytes) -> int:
    if isinstance(source, bytes):
        return len(source)
    try:
        return Path(source).stat().st_size
    except OSError:  # reported when it is opened
        return 0
