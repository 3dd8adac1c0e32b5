"""Bottleneck vectors of images: each content and view computed once, ever.

Threads read and decode while the engine runs the batch before; the queue between them is
bounded, and each batch is stored as soon as it is there, so a run that is killed loses a
second of work at most.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlcli.backbones.base import Backbone, BackboneGraph
from tlcli.core.distortions import Distortions
from tlcli.core.engine_choice import BATCH_SIZE, BackboneEngine, backbone_engine
from tlcli.core.engines import available_cpus
from tlcli.core.files import sha256_bytes
from tlcli.core.images import Preprocessing
from tlcli.core.store import BottleneckStore
from tlcli.errors import BackboneError, GraphError, ImageError

logger = logging.getLogger("tlcli")

Array = np.ndarray[Any, Any]
Progress = Callable[[str, int, int], None]
Key = tuple[str, "int | None"]

STAGE = "bottlenecks"
# Whole files are held while they are decoded.
LARGEST_FILE = 1 << 30


@dataclass(frozen=True)
class Request:
    """One vector that is wanted.

    Attributes:
        path: a file that holds the image.
        content: SHA-256 of its content, as `BottleneckStore.contents` returned it.
        view: number of the distorted view; None for the plain image.
    """

    path: Path
    content: str
    view: int | None = None


@dataclass
class Bottlenecks:
    """What `compute` found.

    Attributes:
        vectors: float32 [D] by (content, view).
        failures: why, by path of each image that has no vector.
        hits: how many vectors came out of the cache.
        computed: how many were computed now.
    """

    vectors: dict[Key, Array] = field(default_factory=dict)
    failures: dict[Path, str] = field(default_factory=dict)
    hits: int = 0
    computed: int = 0


@dataclass(frozen=True)
class _Job:
    """One vector to compute, and the files that hold its image."""

    content: str
    view: int | None
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class _Unreadable:
    reason: str
    remember: bool


def compute(
    backbone: Backbone,
    requests: Sequence[Request],
    store: BottleneckStore,
    distortions: Distortions | None = None,
    progress: Progress | None = None,
) -> Bottlenecks:
    """Return the vectors of all requests, computing only what the store lacks.

    Args:
        backbone: its graph is loaded only if something is missing.
        requests: in any order; the same content and view may come more than once.
        store: where vectors are looked up and put.
        distortions: needed for requests with a view.
        progress: called with ("bottlenecks", done, total), in distinct vectors.

    Raises:
        BackboneError: the backbone cannot be loaded or run, or gives no proper vectors.
        CacheError: the store cannot be read or written.
    """
    paths: dict[Key, list[Path]] = {}
    for request in requests:
        paths.setdefault((request.content, request.view), []).append(request.path)
    result = Bottlenecks()
    _look_up(backbone, paths, store, distortions, result)
    result.hits = len(result.vectors)
    jobs = [
        _Job(content, view, tuple(dict.fromkeys(paths[content, view])))
        for content, view in paths
        if (content, view) not in result.vectors
    ]
    known = store.failures(job.content for job in jobs)
    for job in jobs:
        if job.content in known:
            _fail(result, job, known[job.content])
    jobs = [job for job in jobs if job.content not in known]
    if progress is not None:
        progress(STAGE, len(paths) - len(jobs), len(paths))
    if jobs:
        extraction = _Extraction(backbone, store, distortions, result)
        try:
            extraction.run(jobs, len(paths), progress)
        finally:
            extraction.close()
    return result


def _view_key(distortions: Distortions | None, view: int | None) -> str | None:
    if view is None:
        return None
    if distortions is None:
        raise ValueError("a view is asked for without distortions")
    return distortions.view_key(view)


def _look_up(
    backbone: Backbone,
    paths: Mapping[Key, Sequence[Path]],
    store: BottleneckStore,
    distortions: Distortions | None,
    result: Bottlenecks,
) -> None:
    by_view: dict[int | None, list[str]] = {}
    for content, view in paths:
        by_view.setdefault(view, []).append(content)
    for view, contents in by_view.items():
        found = store.get(backbone.fingerprint, _view_key(distortions, view), contents)
        for content, vector in found.items():
            result.vectors[content, view] = vector


def _fail(result: Bottlenecks, job: _Job, reason: str) -> None:
    for path in job.paths:
        result.failures[path] = reason


def _read_file(job: _Job) -> bytes:
    """Return the job's content out of whichever of its files still holds it.

    Raises:
        ImageError: none does.
    """
    reason = "no such file"
    for path in job.paths:
        try:
            if path.stat().st_size > LARGEST_FILE:
                reason = f"larger than {LARGEST_FILE >> 20} MB"
                continue
            data = path.read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            continue
        # A vector is stored under its content, so what is decoded must be that content.
        if sha256_bytes(data) == job.content:
            return data
        reason = "the file was changed while it was read"
    raise ImageError(reason)


class _Extraction:
    """One run of a backbone over images; nothing is loaded before the first batch."""

    def __init__(
        self,
        backbone: Backbone,
        store: BottleneckStore,
        distortions: Distortions | None,
        result: Bottlenecks,
    ) -> None:
        self._backbone = backbone
        self._store = store
        self._distortions = distortions
        self._result = result
        self._preprocessing = Preprocessing("tlcli-1", backbone.height, backbone.width)
        self._graph: BackboneGraph | None = None
        self._engine: BackboneEngine | None = None
        self._count = 0

    def run(self, jobs: Sequence[_Job], total: int, progress: Progress | None) -> None:
        done = total - len(jobs)
        self._count = len(jobs)
        waiting: list[tuple[_Job, Array]] = []
        for job, pixels in self._decoded(jobs):
            done += 1
            if isinstance(pixels, _Unreadable):
                _fail(self._result, job, pixels.reason)
                if pixels.remember:
                    self._store.record_failure(job.content, pixels.reason)
            else:
                waiting.append((job, pixels))
                if len(waiting) < self._batch_size():
                    continue
                self._finish(waiting)
                waiting = []
            if progress is not None:
                progress(STAGE, done - len(waiting), total)
        if waiting:
            self._finish(waiting)
            if progress is not None:
                progress(STAGE, done, total)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _batch_size(self) -> int:
        return BATCH_SIZE if self._engine is None else self._engine.batch_size

    def _decoded(self, jobs: Sequence[_Job]) -> Iterator[tuple[_Job, Array | _Unreadable]]:
        """Yield the pixels of each job in order, a bounded number of them ahead."""
        workers = available_cpus()
        ahead = 2 * BATCH_SIZE + workers
        queue: deque[tuple[_Job, Future[Array | _Unreadable]]] = deque()
        pool = ThreadPoolExecutor(workers, "tlcli-decode")
        try:
            for job in jobs:
                queue.append((job, pool.submit(self._decode, job)))
                if len(queue) >= ahead:
                    first, future = queue.popleft()
                    yield first, future.result()
            while queue:
                first, future = queue.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _decode(self, job: _Job) -> Array | _Unreadable:
        try:
            data = _read_file(job)
        except ImageError as error:
            return _Unreadable(str(error), remember=False)
        except MemoryError:
            return _Unreadable("not enough memory to read it", remember=False)
        height, width = self._preprocessing.height, self._preprocessing.width
        try:
            if job.view is None:
                return self._preprocessing.read(data)
            assert self._distortions is not None
            return self._distortions.read(data, job.content, job.view, height, width)
        except ImageError as error:
            # Too little memory says nothing about the image.
            return _Unreadable(str(error), not isinstance(error.__cause__, MemoryError))
        except MemoryError:
            return _Unreadable("not enough memory to decode it", remember=False)
        except Exception as error:  # one image must not take the others with it
            logger.debug("decoding %s failed", job.paths[0], exc_info=True)
            return _Unreadable(f"cannot be decoded ({type(error).__name__})", remember=False)

    def _finish(self, waiting: Sequence[tuple[_Job, Array]]) -> None:
        """Run the waiting images and store their vectors."""
        engine = self._loaded()
        step = engine.batch_size
        for start in range(0, len(waiting), step):
            part = waiting[start : start + step]
            batch = self._preprocessing.scale(np.stack([pixels for _, pixels in part]))
            self._keep([job for job, _ in part], self._vectors(engine, batch))

    def _loaded(self) -> BackboneEngine:
        if self._graph is None:
            self._graph = self._backbone.load_graph()
        if self._engine is None:
            try:
                self._engine = backbone_engine(
                    self._graph, self._backbone.height, self._backbone.width, self._count
                )
            except GraphError as error:
                raise self._error(str(error)) from error
        return self._engine

    def _vectors(self, engine: BackboneEngine, batch: Array) -> Array:
        try:
            vectors = engine.run(batch)
        except GraphError as error:
            raise self._error(str(error)) from error
        size = self._backbone.bottleneck_size
        if self._graph is not None and size is None:
            size = self._graph.bottleneck_size
        if vectors.shape != (len(batch), size):
            raise self._error(
                f"it gave an output of shape {list(vectors.shape)} instead of {[len(batch), size]}"
            )
        if not np.isfinite(vectors).all():
            raise self._error("it gave values that are no numbers (NaN or infinity)")
        return vectors.astype(np.float32, copy=False)

    def _keep(self, jobs: Sequence[_Job], vectors: Array) -> None:
        by_view: dict[int | None, dict[str, Array]] = {}
        for job, vector in zip(jobs, vectors, strict=True):
            by_view.setdefault(job.view, {})[job.content] = vector
            # A copy, so that no row keeps the whole batch in memory.
            self._result.vectors[job.content, job.view] = vector.copy()
        for view, found in by_view.items():
            self._store.put(self._backbone.fingerprint, _view_key(self._distortions, view), found)
        self._result.computed += len(jobs)

    def _error(self, reason: str) -> BackboneError:
        return BackboneError(
            f"the backbone {self._backbone.name} cannot be used: {reason}; "
            "choose another with --module"
        )
