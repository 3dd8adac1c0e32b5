"""Extraction: what is computed, what is kept, and by which threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.core.bottlenecks.fake_backbone import (
    SIDE,
    SIZE,
    FakeEngine,
    backbone,
    picture,
    pictures,
    stored,
    wanted,
)
from tlcli.backbone import INPUT, BackboneGraph
from tlcli.core.bottlenecks import extraction
from tlcli.core.bottlenecks.cache import BottleneckStore
from tlcli.core.bottlenecks.engines import LiteRTBackbone, TensorFlowBackbone
from tlcli.core.bottlenecks.extraction import BATCH_SIZE, compute
from tlcli.core.images.augmentation import Augmentation
from tlcli.errors import BackboneError, GraphError
from tlcli.graph.nodes import const, new_graph, node, placeholder
from tlcli.litert.interpreter import Scale
from tlcli.litert.writer import write_model


def test_each_image_gets_its_own_vector(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    requests = pictures(tmp_path, 2 * BATCH_SIZE + 3)
    found = compute(backbone(), requests, store)
    assert found.found.all()
    assert found.vectors.dtype == np.float32
    for number, vector in enumerate(found.vectors):
        colour = np.array([number, 2 * number % 256, 255 - number], np.float32) / 255
        np.testing.assert_allclose(vector, colour, atol=1e-6)
    assert engine.batches == [BATCH_SIZE, BATCH_SIZE, 3]
    assert (found.hits, found.computed, found.failures) == (0, len(requests), {})
    assert (engine.opened, engine.closed) == (1, 1)


def test_a_second_run_loads_nothing(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    requests = pictures(tmp_path, 5)
    first = compute(backbone(), requests, store)
    for request in requests:
        request.path.unlink()  # not even read
    second = compute(backbone(), requests, store)
    assert (second.hits, second.computed) == (5, 0)
    assert engine.opened == 1
    np.testing.assert_array_equal(second.vectors, first.vectors)


def test_only_what_is_missing_is_computed(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    requests = pictures(tmp_path, 5)
    compute(backbone(), requests[:3], store)
    found = compute(backbone(), requests, store)
    assert (found.hits, found.computed) == (3, 2)
    assert engine.batches == [3, 2]


def test_identical_images_are_computed_once(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    requests = [wanted(tmp_path / f"{i}.png", picture(7)) for i in range(4)]
    requests[0].path.unlink()  # any of them will do
    found = compute(backbone(), requests, store)
    assert engine.batches == [1]
    assert (found.computed, found.failures) == (1, {})
    assert (found.vectors == found.vectors[0]).all()
    assert found.vectors.any()
    again = compute(backbone(), requests, store)
    np.testing.assert_array_equal(again.vectors, found.vectors)
    assert (again.hits, again.computed) == (1, 0)


def test_a_size_that_only_the_network_knows(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    requests = pictures(tmp_path, BATCH_SIZE + 1)
    for hits in (0, len(requests)):  # then the cache knows it
        found = compute(backbone(size=None), requests, store)
        assert found.vectors.shape == (len(requests), SIZE)
        assert found.found.all()
        assert found.hits == hits
    assert engine.opened == 1


def test_a_network_of_one_image_gets_one_at_a_time(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    found = compute(backbone(any_batch=False), pictures(tmp_path, BATCH_SIZE + 2), store)
    assert engine.batches == [1] * (BATCH_SIZE + 2)
    assert found.computed == BATCH_SIZE + 2


def test_views_are_cached_by_their_distortions(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    data = picture(40)
    requests = [wanted(tmp_path / "a.png", data, view) for view in (None, 0, 1)]
    dark = Augmentation(random_brightness=50)
    found = compute(backbone(), requests, store, dark)
    assert found.computed == 3
    assert len({vector.tobytes() for vector in found.vectors}) == 3
    assert compute(backbone(), requests, store, dark).hits == 3
    other = compute(backbone(), requests, store, Augmentation(random_brightness=50, seed=1))
    assert (other.hits, other.computed) == (1, 2)
    with pytest.raises(ValueError, match="without distortions"):
        compute(backbone(), requests, store)


def test_progress_counts_to_the_total(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    requests = pictures(tmp_path, 20)
    compute(backbone(), requests[:4], store)
    requests.insert(5, wanted(tmp_path / "bad.jpg", b"no image"))
    calls: list[tuple[str, int, int]] = []
    compute(backbone(), requests, store, progress=lambda *call: calls.append(call))
    assert {call[::2] for call in calls} == {("bottlenecks", 21)}
    steps = [done for _, done, _ in calls]
    assert steps[0] == 4
    assert steps[-1] == 21
    assert steps == sorted(steps)


def test_no_request_is_no_work(store: BottleneckStore, engine: type[FakeEngine]) -> None:
    assert compute(backbone(), [], store).vectors.shape == (0, SIZE)
    assert engine.opened == 0


def test_decoding_stays_a_bounded_way_ahead(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    decoded: list[bytes] = []
    original = extraction.Preprocessing.read

    def read(self: object, source: bytes) -> np.ndarray:
        decoded.append(source)
        return original(self, source)  # type: ignore[arg-type]

    furthest = 0

    def before(number: int) -> None:
        nonlocal furthest
        ends = time.monotonic() + 300
        while number == 0 and len(decoded) <= BATCH_SIZE and time.monotonic() < ends:
            time.sleep(0.001)  # a busy machine takes its time
        time.sleep(0.02)  # let the threads run as far as they may
        furthest = max(furthest, len(decoded) - number * BATCH_SIZE)

    monkeypatch.setattr(extraction, "available_cpus", lambda: 2)
    monkeypatch.setattr(extraction.Preprocessing, "read", read)
    monkeypatch.setattr(engine, "before", staticmethod(before))
    compute(backbone(), pictures(tmp_path, 12 * BATCH_SIZE), store)
    assert BATCH_SIZE < furthest <= 3 * BATCH_SIZE + 2


MEANS = new_graph(
    [
        placeholder(INPUT, np.float32, [None, SIDE, SIDE, SIZE]),
        const("axes", np.array([1, 2], np.int32)),
        node("out", "Mean", [INPUT, "axes"], T=np.float32, keep_dims=False),
    ]
)


class Pool:
    """Gives the mean of each channel; ``before`` gets the number of images so far."""

    before: Callable[[int], None] = staticmethod(lambda number: None)
    ran = 0
    counting = threading.Lock()

    def run_here(self, pictures: list[np.ndarray], scale: Scale) -> np.ndarray:
        with self.counting:
            type(self).ran += len(pictures)
            ran = self.ran
        type(self).before(ran)
        return super().run_here(pictures, scale)


class LiteRT(Pool, LiteRTBackbone):
    def __init__(self, *_: object) -> None:
        super().__init__(write_model(MEANS, INPUT, "out"), 2)


class TensorFlow(Pool, TensorFlowBackbone):
    def __init__(self, *_: object) -> None:
        super().__init__(BackboneGraph(MEANS, "out", SIZE))


@pytest.fixture(params=[LiteRT, TensorFlow])
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[Pool]:
    class Fresh(request.param):
        pass

    monkeypatch.setattr(extraction, "backbone_engine", Fresh)
    return Fresh


def test_threads_that_decode_run_the_network_too(
    tmp_path: Path, store: BottleneckStore, pool: type[Pool]
) -> None:
    requests = pictures(tmp_path, 80)
    requests.insert(40, wanted(tmp_path / "bad.png", picture(99)[:50]))
    found = compute(backbone(), requests, store)
    for number, row in enumerate([*range(40), *range(41, 81)]):
        mean = np.array([number, 2 * number % 256, 255 - number]) / 255
        np.testing.assert_allclose(found.vectors[row], mean, atol=1e-5)
    assert list(found.failures) == [str(tmp_path / "bad.png")]
    assert (found.computed, stored(store, requests)) == (80, 80)
    assert compute(backbone(), requests, store).hits == 80


def test_what_threads_computed_before_an_error_is_kept(
    tmp_path: Path, store: BottleneckStore, pool: type[Pool]
) -> None:
    raised: list[int] = []

    def before(number: int) -> None:
        # Once: another thread may still have images that come before.
        if number >= 50 and not raised:
            raised.append(number)
            raise GraphError("out of memory")

    pool.before = staticmethod(before)
    requests = pictures(tmp_path, 80)
    with pytest.raises(BackboneError, match="out of memory"):
        compute(backbone(), requests, store)
    assert 56 <= stored(store, requests) < 80


def test_threads_take_fewer_images_of_a_slow_network(
    tmp_path: Path, store: BottleneckStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[int] = []
    seconds = 0.0

    def work(images: int) -> None:
        """Take time, on a clock that runs for work alone: how busy the machine is says nothing."""
        nonlocal seconds
        if len(shares) < 30:
            time.sleep(0.005 * images)
            seconds += images

    class Slow(LiteRT):
        def run(self, batch: np.ndarray) -> np.ndarray:
            work(len(batch))
            return super().run(batch)

        def run_here(self, pictures: list[np.ndarray], scale: Scale) -> np.ndarray:
            shares.append(len(pictures))
            work(len(pictures))
            return super().run_here(pictures, scale)

    monkeypatch.setattr(extraction, "backbone_engine", Slow)
    monkeypatch.setattr(extraction, "available_cpus", lambda: 2)
    monkeypatch.setattr(extraction, "time", SimpleNamespace(monotonic=lambda: seconds))
    compute(backbone(), pictures(tmp_path, 200), store)
    # The first of each thread may come before the network was timed.
    assert shares[2:20] == [1] * 18
    assert max(shares) == Slow.thread_batch_size  # once it is quick
