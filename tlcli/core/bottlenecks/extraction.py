"""Bottleneck vectors of images: each content and view computed once, ever.

Where the network runs in LiteRT, each thread reads and decodes an image and runs it; otherwise
threads decode while the engine runs the batch before. The queue is bounded, and vectors are
stored as they come, so a run that is killed loses a second of work at most. All vectors of a
run are in one matrix, and an image whose vector is in the cache costs no object of its own.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tlcli.arrays import Array
from tlcli.backbone import Backbone
from tlcli.core.bottlenecks.decode_jobs import Job, Unreadable, decode, with_contents
from tlcli.core.bottlenecks.engine_choice import backbone_engine
from tlcli.core.bottlenecks.engines import BATCH_SIZE, BackboneEngine, Bfloat16Backbone
from tlcli.core.bottlenecks.vector_store import Allocate, VectorStore, in_memory, vector_size
from tlcli.core.images.augmentation import Augmentation
from tlcli.core.images.preprocessing import Preprocessing
from tlcli.errors import BackboneError, CacheError, GraphError
from tlcli.progress import Progress
from tlcli.runtime.prefetch import Prefetcher
from tlcli.storage.locations import shown
from tlcli.system.cpus import available_cpus
from tlcli.system.mapped_arrays import touched

STAGE = "bottlenecks"
# Vectors in one transaction, and how long the first of them may wait for the others.
STORED_AT_ONCE = 64
_STORED_SECONDS = 0.5
# A thread takes no more images at once than it can compute in about this time.
GROUP_SECONDS = 0.5


class Request(NamedTuple):
    """One vector to find or compute.

    Attributes:
        path: a file that contains the image.
        content: SHA-256 of its content, as `BottleneckStore.contents` returned it.
        view: number of the distorted view; None for the plain image.
    """

    path: Path | str
    content: str
    view: int | None = None


@dataclass
class Bottlenecks:
    """The result of `compute`.

    Attributes:
        vectors: float32 [N, D], row i for request i; undefined where there is no vector.
        found: whether each request has a vector, bool [N].
        failures: the reason, by path of each image that has no vector.
        hits: how many different vectors came from the cache.
        computed: how many were computed now.
    """

    vectors: npt.NDArray[np.float32]
    found: npt.NDArray[np.bool_]
    failures: dict[str, str] = field(default_factory=dict)
    hits: int = 0
    computed: int = 0


@dataclass(frozen=True)
class _Computed:
    vector: Array


_Outcome = _Computed | Unreadable | Array
"""The result of a job: its vector, or its pixels for the engine, or why neither."""


def compute(
    backbone: Backbone,
    requests: Sequence[Request],
    store: VectorStore,
    distortions: Augmentation | None = None,
    progress: Progress | None = None,
    *,
    allocate: Allocate = in_memory,
) -> Bottlenecks:
    """Return the vectors of all requests, computing only what the store lacks.

    Args:
        backbone: its graph is loaded only if something is missing. Of a joined one each part is
            looked up and computed for itself, at its own size.
        requests: in any order; the same content and view may come more than once.
        store: the cache of vectors.
        distortions: needed for requests with a view.
        progress: called with ("bottlenecks", done, total), in distinct vectors.
        allocate: makes the matrix of the vectors, such as one in a file.

    Raises:
        BackboneError: the backbone cannot be loaded or run, or returns no valid vectors.
        CacheError: the store cannot be read or written.
    """
    if backbone.parts:
        inputs = _PartInputs(requests, store, distortions, progress or _silent)
        return _compute_parts(backbone, inputs, allocate)
    store.mark_used(backbone.fingerprint, backbone.name)
    size = backbone.bottleneck_size or store.bottleneck_size(backbone.fingerprint) or 0
    found = np.zeros(len(requests), np.bool_)
    result = Bottlenecks(allocate((len(requests), size)), found)
    _look_up(backbone, requests, store, distortions, result)
    jobs = _missing(requests, result)
    total = result.hits + len(jobs)
    known = store.failures(job.content for job in jobs)
    for job in jobs:
        if job.content in known:
            _fail(result, job, known[job.content])
    jobs = [job for job in jobs if job.content not in known]
    report = progress or _silent
    report(STAGE, total - len(jobs), total)
    if jobs:
        with contextlib.closing(_Extraction(backbone, store, distortions, result)) as extraction:
            extraction.run(jobs, total, report)
    return result


@dataclass(frozen=True)
class _PartInputs:
    """What `compute` was given, for each part of a joined backbone."""

    requests: Sequence[Request]
    store: VectorStore
    distortions: Augmentation | None
    progress: Progress


def _compute_parts(backbone: Backbone, inputs: _PartInputs, allocate: Allocate) -> Bottlenecks:
    """Return the vectors of a joined backbone, which are those of its parts side by side.

    ``hits`` counts what needed no part, ``computed`` the images of the part that missed most.
    """
    found: list[Bottlenecks] = []
    whole: Array | None = None
    if allocate is not in_memory:  # such a matrix is not joined from others
        widths = [vector_size(part, inputs.store) for part in backbone.parts]
        whole = allocate((len(inputs.requests), sum(widths)))
        ends = np.cumsum(widths)
    for number, part in enumerate(backbone.parts):

        def report(stage: str, done: int, total: int, number: int = number) -> None:
            inputs.progress(stage, number * total + done, len(backbone.parts) * total)

        own = in_memory
        if whole is not None:
            columns = whole[:, ends[number] - widths[number] : ends[number]]

            def own(shape: tuple[int, int], columns: Array = columns) -> Array:
                return columns

        given = (inputs.requests, inputs.store, inputs.distortions, report)
        found.append(compute(part, *given, allocate=own))
    failures: dict[str, str] = {}
    for each in reversed(found):
        failures.update(each.failures)
    if whole is None:
        whole = np.concatenate([each.vectors for each in found], axis=1)
    return Bottlenecks(
        whole,
        np.logical_and.reduce([each.found for each in found]),
        failures,
        hits=min(each.hits for each in found),
        computed=max(each.computed for each in found),
    )


def _silent(stage: str, done: int, total: int) -> None:
    pass


def _view_key(distortions: Augmentation | None, view: int | None) -> str | None:
    if view is None:
        return None
    if distortions is None:
        raise ValueError("a view is asked for without distortions")
    return distortions.view_key(view)


def _look_up(
    backbone: Backbone,
    requests: Sequence[Request],
    store: VectorStore,
    distortions: Augmentation | None,
    result: Bottlenecks,
) -> None:
    rows_of: dict[int | None, list[int]] = {}
    for row, request in enumerate(requests):
        rows_of.setdefault(request.view, []).append(row)
    for view, rows in rows_of.items():
        contents = [requests[row].content for row in rows]
        key = _view_key(distortions, view)
        found = store.fill(backbone.fingerprint, key, contents, result.vectors, rows)
        result.found[rows] = found
        result.hits += len(set(compress(contents, found)))


def _missing(requests: Sequence[Request], result: Bottlenecks) -> list[Job]:
    rows_of: dict[tuple[str, int | None], list[int]] = {}
    for row in np.flatnonzero(~result.found).tolist():
        request = requests[row]
        rows_of.setdefault((request.content, request.view), []).append(row)
    return [
        Job(content, view, tuple(dict.fromkeys(requests[row].path for row in rows)), tuple(rows))
        for (content, view), rows in rows_of.items()
    ]


def _fail(result: Bottlenecks, job: Job, reason: str) -> None:
    for path in job.paths:
        result.failures[shown(path)] = reason


class _Extraction:
    """One run of a backbone over images; nothing is loaded before the first batch."""

    def __init__(
        self,
        backbone: Backbone,
        store: VectorStore,
        distortions: Augmentation | None,
        result: Bottlenecks,
    ) -> None:
        self._backbone = backbone
        self._store = store
        self._distortions = distortions
        self._result = result
        self._preprocessing = Preprocessing("tlcli-1", backbone.height, backbone.width)
        self._engine: BackboneEngine | None = None
        self._size = backbone.bottleneck_size
        self._count = 0
        self._computed: list[tuple[Job, Array]] = []
        self._stored = 0.0  # time of the last transaction
        self._pace = 0.0  # seconds that a thread takes for an image in the network

    def run(self, jobs: Sequence[Job], total: int, progress: Progress) -> None:
        self._count = len(jobs)
        prefetcher = Prefetcher(
            with_contents(jobs), self._work, available_cpus(), BATCH_SIZE, self._group
        )
        try:
            self._run(prefetcher, total, progress)
        except BaseException:
            # What threads computed ahead of an error or an interrupt is stored too.
            for job, outcome in prefetcher.stop():
                if isinstance(outcome, _Computed):
                    self._computed.append((job, outcome.vector))
            with contextlib.suppress(CacheError):
                self._store_computed()
            raise
        self._store_computed()

    def _run(self, prefetcher: Prefetcher[Job, _Outcome], total: int, progress: Progress) -> None:
        done = total - self._count
        waiting: list[tuple[Job, Array]] = []
        for job, outcome in prefetcher:
            done += 1
            if isinstance(outcome, Unreadable):
                _fail(self._result, job, outcome.reason)
                if outcome.remember:
                    self._store.record_failure(job.content, outcome.reason)
            elif isinstance(outcome, _Computed):
                self._computed.append((job, outcome.vector))
                late = time.monotonic() - self._stored > _STORED_SECONDS
                if late or len(self._computed) >= STORED_AT_ONCE:
                    self._store_computed()
            else:
                waiting.append((job, outcome))
                if len(waiting) < (self._engine.batch_size if self._engine else BATCH_SIZE):
                    continue
                self._finish(waiting)
                waiting = []
            progress(STAGE, done - len(waiting), total)
        if waiting:
            self._finish(waiting)
            progress(STAGE, done, total)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _group(self) -> int:
        """Return how many images a thread takes at once."""
        # Until the engine is loaded, pixels are collected for it.
        share = 0 if self._engine is None else self._engine.thread_batch_size
        return max(1, min(share, 1 + int(GROUP_SECONDS / max(self._pace, 1e-3))))

    def _work(self, jobs: Sequence[Job]) -> Iterator[_Outcome]:
        decoded = [decode(job, self._preprocessing, self._distortions) for job in jobs]
        pictures = [pixels for pixels in decoded if not isinstance(pixels, Unreadable)]
        engine = self._engine
        if engine is None or not engine.thread_batch_size or not pictures:
            yield from decoded
            return
        begun = time.monotonic()
        run = functools.partial(engine.run_here, pictures, self._preprocessing.scale)
        vectors = iter(self._vectors(run, len(pictures)))
        self._pace = (time.monotonic() - begun) / len(pictures)
        for found in decoded:
            yield found if isinstance(found, Unreadable) else _Computed(next(vectors))

    def _finish(self, waiting: Sequence[tuple[Job, Array]]) -> None:
        """Run the waiting images and store their vectors."""
        engine = self._loaded()
        step = engine.batch_size
        for start in range(0, len(waiting), step):
            part = waiting[start : start + step]
            batch = self._preprocessing.scale(np.stack([pixels for _, pixels in part]))
            begun = time.monotonic()
            vectors = self._vectors(functools.partial(engine.run, batch), len(part))
            self._pace = (time.monotonic() - begun) / len(part) * available_cpus()
            self._put([job for job, _ in part], vectors)

    def _loaded(self) -> BackboneEngine:
        if self._engine is None:
            backbone = self._backbone
            try:
                if backbone.int8:
                    from tlcli.core.bottlenecks.eight_bits.backbone import int8_engine

                    self._engine = int8_engine(backbone)
                    self._size = self._size or self._engine.output_shape[-1]
                    return self._engine
                graph = backbone.load_graph()
                if self._size is None:
                    self._size = graph.bottleneck_size
                if backbone.bfloat16 is not None:
                    self._engine = Bfloat16Backbone(graph, backbone.bfloat16)
                else:
                    self._engine = backbone_engine(
                        graph, backbone.height, backbone.width, self._count
                    )
            except GraphError as error:
                raise self._error(str(error)) from error
        return self._engine

    def _vectors(self, run: Callable[[], Array], count: int) -> Array:
        try:
            vectors = run()
        except GraphError as error:
            raise self._error(str(error)) from error
        expected = (count, self._size)
        if vectors.shape != expected:
            raise self._error(
                f"it returned an output of shape {list(vectors.shape)} instead of {list(expected)}"
            )
        if not np.isfinite(vectors).all():
            raise self._error("it returned NaN or infinity")
        return vectors.astype(np.float32, copy=False)

    def _store_computed(self) -> None:
        computed, self._computed = self._computed, []
        self._stored = time.monotonic()
        if computed:
            self._put([job for job, _ in computed], [vector for _, vector in computed])

    def _put(self, jobs: Sequence[Job], vectors: Sequence[Array] | Array) -> None:
        result = self._result
        size = len(vectors[0])
        # D was unknown before the network ran, or the store had a wrong one.
        if result.vectors.shape[1] != size and not result.found.any():
            result.vectors = in_memory((len(result.found), size))
        by_view: dict[int | None, dict[str, Array]] = {}
        for job, vector in zip(jobs, vectors, strict=True):
            by_view.setdefault(job.view, {})[job.content] = vector
            rows = list(job.rows)
            result.vectors[rows] = vector
            result.found[rows] = True
        touched(result.vectors, 4 * size * len(jobs))
        for view, found in by_view.items():
            self._store.put(self._backbone.fingerprint, _view_key(self._distortions, view), found)
        result.computed += len(jobs)

    def _error(self, reason: str) -> BackboneError:
        return BackboneError(
            f"the backbone {self._backbone.name} cannot be used: {reason}; "
            "choose another with --module"
        )
