"""Extraction: what is computed, what is kept, and what a bad image or a kill can do."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from tlcli.backbones.base import Backbone, BackboneGraph
from tlcli.core import bottlenecks, image_jobs
from tlcli.core.bottlenecks import BATCH_SIZE, Request, compute
from tlcli.core.distortions import Distortions
from tlcli.core.engine_choice import LiteRTBackbone
from tlcli.core.files import sha256_bytes
from tlcli.core.graph_nodes import const, new_graph, node, placeholder
from tlcli.core.litert_writer import write_model
from tlcli.core.store import BottleneckStore
from tlcli.errors import BackboneError, CacheError, GraphError, ImageError

SIDE, SIZE = 8, 3


class FakeEngine:
    """Gives the mean of each channel; ``before`` is called with the number of the batch."""

    before: Callable[[int], None] = staticmethod(lambda number: None)
    batches: ClassVar[list[int]] = []
    opened = closed = 0

    def __init__(self, graph: BackboneGraph, height: int, width: int, count: int) -> None:
        assert (graph.graph, graph.output, height, width) == ("graph", "out", SIDE, SIDE)
        assert count > 0
        self.batch_size = BATCH_SIZE if graph.any_batch else 1
        type(self).opened += 1

    def run(self, batch: np.ndarray) -> np.ndarray:
        type(self).before(len(self.batches))
        assert batch.dtype == np.float32
        assert 0 <= batch.min() <= batch.max() <= 1
        self.batches.append(len(batch))
        return batch.mean((1, 2))

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[FakeEngine]:
    class Engine(FakeEngine):
        batches: ClassVar[list[int]] = []

    monkeypatch.setattr(bottlenecks, "backbone_engine", Engine)
    return Engine


@pytest.fixture
def store(tmp_path: Path) -> BottleneckStore:
    return BottleneckStore(tmp_path / "cache")


def backbone(any_batch: bool = True, size: int | None = SIZE) -> Backbone:
    return Backbone(
        "fake", "nowhere", "unknown", SIDE, SIDE, "fingerprint", size,
        lambda: BackboneGraph("graph", "out", SIZE, any_batch),
    )  # fmt: skip


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (number, 2 * number % 256, 255 - number)).save(file, "PNG")
    return file.getvalue()


def wanted(path: Path, data: bytes, view: int | None = None) -> Request:
    path.write_bytes(data)
    return Request(path, sha256_bytes(data), view)


def pictures(folder: Path, count: int) -> list[Request]:
    return [wanted(folder / f"{i}.png", picture(i)) for i in range(count)]


def stored(store: BottleneckStore, requests: list[Request]) -> int:
    return len(store.get("fingerprint", None, [request.content for request in requests]))


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


def test_a_bad_image_takes_no_other_with_it(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    good = pictures(tmp_path, 10)
    bad = wanted(tmp_path / "bad.jpg", picture(3)[:45])
    copy = wanted(tmp_path / "copy.jpg", picture(3)[:45])
    absent = Request(tmp_path / "absent.jpg", sha256_bytes(b"absent"))
    found = compute(backbone(), [bad, *good, absent, copy], store)
    assert found.computed == 10
    assert found.found.tolist() == [False, *[True] * 10, False, False]
    assert set(found.failures) == {bad.path, copy.path, absent.path}
    assert "no such file" in found.failures[absent.path]
    assert store.failure(bad.content) == found.failures[bad.path]
    assert store.failure(absent.content) is None  # it may come back


def test_a_remembered_failure_is_not_decoded_again(
    tmp_path: Path,
    store: BottleneckStore,
    engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = wanted(tmp_path / "bad.jpg", b"no image")
    first = compute(backbone(), [bad], store)
    monkeypatch.setattr(image_jobs, "_read_file", lambda job: pytest.fail("read again"))
    assert compute(backbone(), [bad], store).failures == first.failures
    assert engine.opened == 0  # no network for no image


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("odd"), ZeroDivisionError()])
def test_an_accident_is_not_remembered(
    tmp_path: Path,
    store: BottleneckStore,
    engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    original = bottlenecks.Preprocessing.read
    requests = pictures(tmp_path, 3)
    data = requests[1].path.read_bytes()

    def read(self: object, source: bytes) -> np.ndarray:
        if source == data:
            raise error
        return original(self, source)  # type: ignore[arg-type]

    monkeypatch.setattr(bottlenecks.Preprocessing, "read", read)
    found = compute(backbone(), requests, store)
    assert list(found.failures) == [requests[1].path]
    assert store.failure(requests[1].content) is None
    assert found.computed == 2


def test_too_little_memory_inside_a_decoder_is_not_remembered(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def read(self: object, source: bytes) -> np.ndarray:
        raise ImageError("too large for the memory of this machine") from MemoryError()

    monkeypatch.setattr(bottlenecks.Preprocessing, "read", read)
    (request,) = pictures(tmp_path, 1)
    assert compute(backbone(), [request], store).failures
    assert store.failure(request.content) is None


def test_a_file_that_changed_meanwhile_is_not_stored_under_its_old_content(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    (request,) = pictures(tmp_path, 1)
    request.path.write_bytes(picture(99))
    found = compute(backbone(), [request], store)
    assert "changed" in found.failures[request.path]
    assert (stored(store, [request]), store.failure(request.content)) == (0, None)


def test_a_giant_file_is_not_taken_into_memory(
    tmp_path: Path,
    store: BottleneckStore,
    engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(image_jobs, "LARGEST_FILE", 10)
    (request,) = pictures(tmp_path, 1)
    assert "larger than" in compute(backbone(), [request], store).failures[request.path]


def test_views_are_cached_by_their_distortions(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine]
) -> None:
    data = picture(40)
    requests = [wanted(tmp_path / "a.png", data, view) for view in (None, 0, 1)]
    dark = Distortions(random_brightness=50)
    found = compute(backbone(), requests, store, dark)
    assert found.computed == 3
    assert len({vector.tobytes() for vector in found.vectors}) == 3
    assert compute(backbone(), requests, store, dark).hits == 3
    other = compute(backbone(), requests, store, Distortions(random_brightness=50, seed=1))
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


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine], number: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def run(self: FakeEngine, batch: np.ndarray) -> np.ndarray:
        values = batch.mean((1, 2))
        values[-1, -1] = number
        return values

    monkeypatch.setattr(engine, "run", run)
    requests = pictures(tmp_path, 3)
    with pytest.raises(BackboneError, match=r"fake.*NaN"):
        compute(backbone(), requests, store)
    assert stored(store, requests) == 0
    assert engine.closed == 1


@pytest.mark.parametrize("size", [SIZE + 1, None])
def test_an_output_of_another_shape_is_refused(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine], size: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if size is None:
        monkeypatch.setattr(engine, "run", lambda self, batch: batch)
    with pytest.raises(BackboneError, match="shape"):
        compute(backbone(size=size), pictures(tmp_path, 1), store)


def test_an_engine_that_fails_names_the_backbone(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def run(self: FakeEngine, batch: np.ndarray) -> np.ndarray:
        raise GraphError("out of memory")

    monkeypatch.setattr(engine, "run", run)
    with pytest.raises(BackboneError, match="backbone fake cannot be used: out of memory"):
        compute(backbone(), pictures(tmp_path, 1), store)


def test_an_interrupt_keeps_what_was_computed(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def before(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(engine, "before", staticmethod(before))
    requests = pictures(tmp_path, 5 * BATCH_SIZE)
    with pytest.raises(KeyboardInterrupt):
        compute(backbone(), requests, store)
    assert stored(store, requests) == 2 * BATCH_SIZE
    assert engine.closed == 1
    assert not [t for t in threading.enumerate() if t.name.startswith("tlcli-decode")]


def test_a_full_disk_is_one_sentence(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert store._database._connection is not None
    store._database._connection.execute("PRAGMA query_only=1")
    with pytest.raises(CacheError, match="--bottleneck_dir"):
        compute(backbone(), pictures(tmp_path, 1), store)


def test_decoding_stays_a_bounded_way_ahead(
    tmp_path: Path, store: BottleneckStore, engine: type[FakeEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    decoded: list[bytes] = []
    original = bottlenecks.Preprocessing.read

    def read(self: object, source: bytes) -> np.ndarray:
        decoded.append(source)
        return original(self, source)  # type: ignore[arg-type]

    furthest = 0

    def before(number: int) -> None:
        nonlocal furthest
        time.sleep(0.02)  # let the threads run as far as they may
        furthest = max(furthest, len(decoded) - number * BATCH_SIZE)

    monkeypatch.setattr(bottlenecks, "available_cpus", lambda: 2)
    monkeypatch.setattr(bottlenecks.Preprocessing, "read", read)
    monkeypatch.setattr(engine, "before", staticmethod(before))
    compute(backbone(), pictures(tmp_path, 12 * BATCH_SIZE), store)
    assert BATCH_SIZE < furthest <= 3 * BATCH_SIZE + 2


class Pool(LiteRTBackbone):
    """LiteRT that gives the mean of each channel; ``before`` gets the number of the image."""

    before: Callable[[int], None] = staticmethod(lambda number: None)
    ran = 0

    def __init__(self, *_: object) -> None:
        nodes = [
            placeholder("x", np.float32, [None, SIDE, SIDE, SIZE]),
            const("axes", np.array([1, 2], np.int32)),
            node("out", "Mean", ["x", "axes"], T=np.float32, keep_dims=False),
        ]
        super().__init__(write_model(new_graph(nodes), "x", "out"), 2)

    def run_one(self, image: np.ndarray, crowded: bool = True) -> np.ndarray:
        type(self).ran += 1
        type(self).before(self.ran)
        return super().run_one(image, crowded)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> type[Pool]:
    class Fresh(Pool):
        pass

    monkeypatch.setattr(bottlenecks, "backbone_engine", Fresh)
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
    assert list(found.failures) == [tmp_path / "bad.png"]
    assert (found.computed, stored(store, requests)) == (80, 80)
    assert compute(backbone(), requests, store).hits == 80


def test_what_threads_computed_before_an_error_is_kept(
    tmp_path: Path, store: BottleneckStore, pool: type[Pool]
) -> None:
    def before(number: int) -> None:
        if number == 50:
            raise GraphError("out of memory")

    pool.before = staticmethod(before)
    requests = pictures(tmp_path, 80)
    with pytest.raises(BackboneError, match="out of memory"):
        compute(backbone(), requests, store)
    assert 40 <= stored(store, requests) < 80


KILLED = """
import sys, time
from pathlib import Path
from tests.core import test_bottlenecks as t
from tlcli.core import bottlenecks
class Slow(t.FakeEngine):
    def run(self, batch):
        if len(self.batches) == 2:
            print("ready", flush=True)
            time.sleep(60)
        return super().run(batch)
bottlenecks.backbone_engine = Slow
folder = Path(sys.argv[1])
with bottlenecks.BottleneckStore(folder / "cache") as store:
    t.compute(t.backbone(), t.pictures(folder, 5 * t.BATCH_SIZE), store)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_kill_keeps_what_was_computed(tmp_path: Path, number: signal.Signals) -> None:
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.wait(timeout=60) == -number
    with BottleneckStore(tmp_path / "cache") as store:
        assert stored(store, pictures(tmp_path, 5 * BATCH_SIZE)) == 2 * BATCH_SIZE
